"""The program that serves a model, as its owner describes it: a part of ModelService."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from slipway.api.base import ApiModel, DnsName, Duration, Quantity, Refusal, Text, rules
from slipway.api.conditions import LIST_ATOMIC, list_map
from slipway.api.duration import parse_duration
from slipway.api.quantity import parse_quantity

DEFAULT_CPU_REQUEST: Final = "100m"
DEFAULT_MEMORY_REQUEST: Final = "256Mi"
DEFAULT_MEMORY_LIMIT: Final = "1Gi"

_DATA_HINT = "use letters, digits, '_', '-' and '.'"
_IMAGE_HINT = "write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:…"

ImageReference = Annotated[
    str, Text("[a-zA-Z0-9][a-zA-Z0-9._:/@-]*", "is not an image reference", most=512, hint=_IMAGE_HINT)
]
EnvName = Annotated[
    str,
    Text(
        "[-._a-zA-Z][-._a-zA-Z0-9]*",
        "is not the name of an environment variable",
        most=256,
        hint=f"{_DATA_HINT}, not beginning with a digit",
    ),
]
EnvPrefix = Annotated[
    str,
    Text("[-._a-zA-Z][-._a-zA-Z0-9]*", "cannot begin an environment variable's name", most=128, hint="example: DB_"),
]
DataKey = Annotated[str, Text("[-._a-zA-Z0-9]+", "is not a key of a ConfigMap or Secret", most=253, hint=_DATA_HINT)]


_RESOURCE_NAMES = ("cpu", "memory", "ephemeral-storage")


def _check_resource_names(amounts: dict[str, str]) -> dict[str, str]:
    for name in amounts:
        if name not in _RESOURCE_NAMES and not name.startswith("hugepages-") and "/" not in name:
            raise Refusal(
                f"{name!r} is not a resource",
                f"resources are {', '.join(_RESOURCE_NAMES)} and devices such as nvidia.com/gpu",
            )
    return amounts


Amounts = Annotated[dict[str, Quantity], Field(max_length=16), AfterValidator(_check_resource_names)]


class Resources(ApiModel):
    """What one replica may use."""

    requests: Amounts = Field(
        default_factory=dict,
        description=f"What the scheduler reserves. Without it: cpu {DEFAULT_CPU_REQUEST}, memory "
        f"{DEFAULT_MEMORY_REQUEST}, or the limit where that is lower.",
    )
    limits: Amounts = Field(
        default_factory=dict,
        description=f"What a replica cannot exceed. Without it: memory {DEFAULT_MEMORY_LIMIT}, "
        "or the request where that is higher.",
    )

    @model_validator(mode="after")
    def _requests_within_limits(self) -> Self:
        for name, amount in self.requests.items():
            limit = self.limits.get(name)
            if limit is not None and parse_quantity(amount) > parse_quantity(limit):
                raise Refusal(
                    f"requests.{name} ({amount}) is above limits.{name} ({limit})",
                    "raise the limit or lower the request",
                )
        return self


class KeyRef(ApiModel):
    """One key of a ConfigMap or Secret in the same namespace."""

    name: DnsName = Field(description="The name of the ConfigMap or Secret.")
    key: DataKey = Field(description="The key in its data.")


_ONE_SOURCE = "set exactly one of secretKeyRef and configMapKeyRef"


class EnvSource(ApiModel):
    """Where the value of a variable comes from."""

    model_config = ConfigDict(
        json_schema_extra=rules(("has(self.secretKeyRef) != has(self.configMapKeyRef)", _ONE_SOURCE))
    )

    secret_key_ref: KeyRef | None = Field(default=None, description="A key of a Secret.")
    config_map_key_ref: KeyRef | None = Field(default=None, description="A key of a ConfigMap.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.secret_key_ref is None) == (self.config_map_key_ref is None):
            raise Refusal(_ONE_SOURCE)
        return self


_ONE_VALUE = "set exactly one of value and valueFrom"


class EnvVar(ApiModel):
    """One environment variable."""

    model_config = ConfigDict(json_schema_extra=rules(("has(self.value) != has(self.valueFrom)", _ONE_VALUE)))

    name: EnvName = Field(description="The name of the variable.")
    value: Annotated[str, Text(most=32768, least=0)] | None = Field(
        default=None, description="Its value. Secrets do not belong here: use `valueFrom`."
    )
    value_from: EnvSource | None = Field(default=None, description="Where its value comes from.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.value is None) == (self.value_from is None):
            raise Refusal(_ONE_VALUE)
        return self


class NameRef(ApiModel):
    """An object in the same namespace."""

    name: DnsName = Field(description="Its name.")


_ONE_REF = "set exactly one of secretRef and configMapRef"


class EnvFrom(ApiModel):
    """A ConfigMap or Secret, all of whose keys become environment variables."""

    model_config = ConfigDict(json_schema_extra=rules(("has(self.secretRef) != has(self.configMapRef)", _ONE_REF)))

    prefix: EnvPrefix | None = Field(default=None, description="Put before each key.")
    secret_ref: NameRef | None = Field(default=None, description="A Secret.")
    config_map_ref: NameRef | None = Field(default=None, description="A ConfigMap.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.secret_ref is None) == (self.config_map_ref is None):
            raise Refusal(_ONE_REF)
        return self


FileName = Annotated[str, Text("[-._a-zA-Z0-9]+", "is not the name of a file", most=128, hint=_DATA_HINT)]
FileText = Annotated[str, Text(most=131072, least=0)]
LabelKey = Annotated[
    str,
    Text(
        "([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?",
        "is not the key of a label or annotation",
        most=317,
        hint="write NAME or PREFIX/NAME: example.com/team",
    ),
]
LabelValue = Annotated[
    str,
    Text(
        "([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?",
        "is not the value of a label",
        most=63,
        least=0,
        hint="use letters, digits, '-', '_' and '.', and put it in quotes",
    ),
]
AnnotationValue = Annotated[str, Text(most=32768, least=0)]
ResourceName = Annotated[
    str,
    Text(
        "[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?",
        "is not the name of a device",
        most=253,
        hint="write VENDOR/DEVICE: nvidia.com/gpu",
    ),
]
MigProfile = Annotated[
    str,
    Text(
        "mig-[1-9]g[.][0-9]{1,3}gb([.]me)?",
        "is not a MIG profile",
        most=32,
        hint="examples: mig-1g.10gb, mig-3g.40gb",
    ),
]
AbsolutePath = Annotated[
    str,
    Text("(/[A-Za-z0-9._-]+)+", "is not an absolute path", most=512, hint="it begins with '/': /dev/shm"),
]
RelativePath = Annotated[
    str,
    Text(
        "[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*",
        "is not a relative path",
        most=512,
        hint="write it without '/' at its beginning and without '..': models/v1",
    ),
]


class Gpu(ApiModel):
    """The accelerators of one replica."""

    count: int = Field(default=1, ge=1, le=16, description="How many.")
    resource: ResourceName = Field(
        default="nvidia.com/gpu", description="The name under which the device plugin of the nodes offers them."
    )
    profile: MigProfile | None = Field(
        default=None,
        description="A slice of a device that is partitioned (MIG) instead of a whole one; the vendor's part of "
        "`resource` stays: `nvidia.com/mig-1g.10gb`.",
    )


class StartupProbe(ApiModel):
    """How long a replica may take until it is ready for the first time."""

    timeout: Duration | None = Field(
        default=None,
        description="After this time the container is started again. Without it: 10m, or five times what the last "
        "revision took to load where that is longer, at most 2h.",
    )


class ReadinessProbe(ApiModel):
    """When a replica takes requests."""

    period: Duration = Field(default="5s", description="How often it is asked; whole seconds.")
    timeout: Duration = Field(default="5s", description="How long it may take to answer; whole seconds.")
    failure_threshold: int = Field(
        default=2, ge=1, le=100, description="After so many failures in a row it takes no requests."
    )


class LivenessProbe(ApiModel):
    """When a replica is started again."""

    period: Duration = Field(default="10s", description="How often it is asked; whole seconds.")
    timeout: Duration = Field(default="5s", description="How long it may take to answer; whole seconds.")
    failure_threshold: int = Field(
        default=3, ge=1, le=100, description="After so many failures in a row it is started again."
    )


class Probes(ApiModel):
    """How the kubelet asks the server how it is."""

    startup: StartupProbe = Field(default_factory=StartupProbe, description="Until it is ready for the first time.")
    readiness: ReadinessProbe = Field(default_factory=ReadinessProbe, description="Whether it takes requests.")
    liveness: LivenessProbe = Field(default_factory=LivenessProbe, description="Whether it is alive.")

    @model_validator(mode="after")
    def _whole_seconds(self) -> Self:
        for name, probe in (("readiness", self.readiness), ("liveness", self.liveness)):
            for field, value in (("period", probe.period), ("timeout", probe.timeout)):
                seconds = parse_duration(value)
                if seconds < 1 or seconds != int(seconds):
                    raise Refusal(f"{name}.{field} ({value}) is not a number of whole seconds", "the least is 1s")
        return self


Operator = Literal["Equal", "Exists"]
Effect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class Toleration(ApiModel):
    """A taint of nodes that replicas put up with, as in a Pod."""

    key: LabelKey | None = Field(default=None, description="The taint's key; without it, with `Exists`, every taint.")
    operator: Operator = Field(default="Equal", description="How key and value are compared.")
    value: LabelValue | None = Field(default=None, description="The taint's value, for `Equal`.")
    effect: Effect | None = Field(default=None, description="The taint's effect; without it, every effect.")
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=604800, description="For `NoExecute`: how many seconds it is put up with."
    )


_ONE_VOLUME = "set exactly one of emptyDir, persistentVolumeClaim, configMap and secret"
_SOURCES = ("emptyDir", "persistentVolumeClaim", "configMap", "secret")


class EmptyDir(ApiModel):
    """A directory that lives as long as its pod."""

    medium: Literal["Memory"] | None = Field(default=None, description="`Memory`: in memory, as /dev/shm wants it.")
    size_limit: Quantity | None = Field(default=None, description="How large it may become.")


class ClaimVolume(ApiModel):
    """A volume claim in the same namespace."""

    claim_name: DnsName = Field(description="Its name.")


class SecretVolume(ApiModel):
    """A Secret in the same namespace, a file for each of its keys."""

    secret_name: DnsName = Field(description="Its name.")


class Volume(ApiModel):
    """A volume that the server can mount. All but `emptyDir` are mounted read-only."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (f"[{', '.join(f'has(self.{name})' for name in _SOURCES)}].filter(set, set).size() == 1", _ONE_VOLUME)
        )
    )

    name: DnsName = Field(description="The name by which `volumeMounts` refers to it; not one of Slipway's own.")
    empty_dir: EmptyDir | None = Field(default=None, description="A directory that lives as long as its pod.")
    persistent_volume_claim: ClaimVolume | None = Field(default=None, description="A volume claim.")
    config_map: NameRef | None = Field(default=None, description="A ConfigMap, a file for each of its keys.")
    secret: SecretVolume | None = Field(default=None, description="A Secret, a file for each of its keys.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        sources = (self.empty_dir, self.persistent_volume_claim, self.config_map, self.secret)
        if sum(source is not None for source in sources) != 1:
            raise Refusal(_ONE_VOLUME)
        if self.name in RESERVED_VOLUMES:
            raise Refusal(f"{self.name!r} is a volume of Slipway's own", "choose another name")
        return self


_TMP: Final = "/tmp"  # noqa: S108  # of the pod
MODELS_PATH: Final = "/models"
"""Where the model is mounted, under the service's name."""
FILES_PATH: Final = "/config"
"""Where `server.files` are mounted."""


def _check_mount_path(path: str) -> str:
    """`/models` is ours with all that is in it: below what is mounted read-only there is no place for more."""
    if path in {_TMP, MODELS_PATH} or path.startswith(f"{MODELS_PATH}/"):
        raise Refusal(f"{path!r} is a directory of Slipway's own", "choose another directory")
    return path


class VolumeMount(ApiModel):
    """Where a volume is found by the server."""

    name: DnsName = Field(description="The volume's name.")
    mount_path: Annotated[AbsolutePath, AfterValidator(_check_mount_path)] = Field(
        description="The directory in the container; not `/tmp`, `/models` or one in it, nor one of `server.files`."
    )
    sub_path: RelativePath | None = Field(default=None, description="Only this part of the volume.")


RESERVED_VOLUMES: Final = ("tmp", "model", "files", "cache", "registry")

Affinity = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]
"""The one part of the API without a schema of its own: a Pod's `affinity`, checked by the API server in the Pod."""


class PodTemplate(ApiModel):
    """What else a platform team asks of the pods. Everything here is as in a Pod."""

    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = Field(
        default_factory=dict, description="More labels; those of Slipway cannot be replaced."
    )
    annotations: Annotated[dict[LabelKey, AnnotationValue], Field(max_length=32)] = Field(
        default_factory=dict, description="More annotations."
    )
    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = Field(
        default_factory=dict, description="Labels that a node must have."
    )
    tolerations: Annotated[list[Toleration], Field(max_length=32, json_schema_extra=LIST_ATOMIC)] = Field(
        default_factory=list, description="Taints of nodes that replicas put up with."
    )
    affinity: Affinity | None = Field(default=None, description="Which nodes and neighbours are wanted or avoided.")
    priority_class_name: DnsName | None = Field(default=None, description="A PriorityClass.")
    runtime_class_name: DnsName | None = Field(default=None, description="A RuntimeClass.")
    image_pull_secrets: Annotated[list[NameRef], Field(max_length=16, json_schema_extra=list_map("name"))] = Field(
        default_factory=list, description="Secrets for the registry of `server.image`."
    )
    volumes: Annotated[list[Volume], Field(max_length=16, json_schema_extra=list_map("name"))] = Field(
        default_factory=list, description="More volumes."
    )
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=16, json_schema_extra=list_map("mountPath"))] = Field(
        default_factory=list, description="Where the server finds them."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.labels:
            if name.startswith((OWN_PREFIX, "app.kubernetes.io/")):
                raise Refusal(f"labels sets {name}, which is Slipway's", "remove it")
        names = {volume.name for volume in self.volumes}
        for mount in self.volume_mounts:
            if mount.name not in names:
                raise Refusal(f"volumeMounts names the volume {mount.name!r}, which is not there", "add it to volumes")
        return self


OWN_PREFIX: Final = "slipway.dev/"


class Server(ApiModel):
    """The program that serves the model."""

    image: ImageReference | None = Field(
        default=None,
        description="An image that listens on port 8080, is ready when `GET /v2/health/ready` answers 200, and alive "
        "when `GET /v2/health/live` does; gRPC, where it speaks it, is on port 9000. Without it: Slipway's model "
        "server.",
    )
    resources: Resources = Field(default_factory=Resources, description="What one replica may use.")
    env: Annotated[list[EnvVar], Field(max_length=64, json_schema_extra=list_map("name"))] = Field(
        default_factory=list, description="Environment variables. A change rolls the pods."
    )
    env_from: Annotated[list[EnvFrom], Field(max_length=16, json_schema_extra=LIST_ATOMIC)] = Field(
        default_factory=list,
        description="ConfigMaps and Secrets whose keys become environment variables; `env` wins.",
    )

    gpu: Gpu | None = Field(default=None, description="The accelerators of one replica.")
    files: Annotated[dict[FileName, FileText], Field(max_length=16)] = Field(
        default_factory=dict,
        description="Files for the server, by name, mounted read-only below `/config`. A change rolls the pods. "
        "Secrets do not belong here: use `podTemplate.volumes`.",
    )
    probes: Probes = Field(default_factory=Probes, description="How the kubelet asks the server how it is.")
    pod_template: PodTemplate = Field(
        default_factory=PodTemplate, description="What else a platform team asks of the pods."
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [variable.name for variable in self.env]
        for name in names:
            if names.count(name) > 1:
                raise Refusal(f"env sets {name} twice", "remove one of them")
        files = {f"{FILES_PATH}/{name}" for name in self.files}
        for mount in self.pod_template.volume_mounts:
            if mount.mount_path in files:
                raise Refusal(f"files and podTemplate.volumeMounts both mount {mount.mount_path}", "remove one of them")
        return self
