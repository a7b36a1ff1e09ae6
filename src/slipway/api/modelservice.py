"""ModelService: a model that answers requests, as its owner describes it.

Everything here is acted on; what a later version adds is not accepted before. The descriptions are what
`kubectl explain` and the reference page say.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from slipway.api.base import ApiModel, DnsName, Duration, Quantity, Refusal, Text, rules
from slipway.api.conditions import LIST_SET, Conditions, list_map
from slipway.api.quantity import parse_quantity
from slipway.api.resource import Column, Resource

Format = Literal["onnx", "sklearn", "python", "custom"]

DEFAULT_CPU_REQUEST: Final = "100m"
DEFAULT_MEMORY_REQUEST: Final = "256Mi"
DEFAULT_MEMORY_LIMIT: Final = "1Gi"
DEFAULT_TIMEOUT: Final = "60s"
DEFAULT_TARGET_PERCENT: Final = 80

NAME_PATTERN: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
NAME_MOST: Final = 50
NAME_SAYS: Final = (
    f"the name must be a DNS label of at most {NAME_MOST} characters that begins with a letter (a-z, 0-9 and '-'): "
    "Services are named after it"
)

_OCI = (
    "oci://[a-zA-Z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
    "(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_PVC = "pvc://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?"
_SEGMENT = "[A-Za-z0-9._~!$&'()*+,;=:@-]+"
_DATA_HINT = "use letters, digits, '_', '-' and '.'"
_IMAGE_HINT = "write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:…"
_URI_HINT = "write oci://REGISTRY/NAME:TAG for a model that was pushed, or pvc://CLAIM/PATH for one on a volume"

ModelUri = Annotated[str, Text(f"({_OCI}|{_PVC})", "is not a model that can be mounted", most=1024, hint=_URI_HINT)]
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
Hostname = Annotated[
    str,
    Text(
        "([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
        "is not a host name",
        most=253,
        hint="write it without scheme, port and path: iris.example.com or *.example.com",
    ),
]
RoutePath = Annotated[
    str,
    Text(
        f"/({_SEGMENT}(/{_SEGMENT})*/?)?",
        "is not an absolute path",
        most=1024,
        hint="it begins with '/' and has no '//', '?' or '#': /v2",
    ),
]


class Model(ApiModel):
    """Which model is served."""

    uri: ModelUri = Field(
        description="Where the model is: `oci://REGISTRY/NAME[:TAG][@sha256:DIGEST]`, mounted by the kubelet as an "
        "image volume, or `pvc://CLAIM/PATH`, a directory of a volume claim in the same namespace. Both read-only."
    )
    format: Format | None = Field(
        default=None,
        description="What the model's files are; set as label `slipway.dev/format`. The model server recognises them "
        "without it. `custom`: `server.image` brings its own command line, and gets no arguments.",
    )


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


class Server(ApiModel):
    """The program that serves the model."""

    image: ImageReference | None = Field(
        default=None,
        description="An image that listens on port 8080, is ready when `GET /v2/health/ready` answers 200, and alive "
        "when `GET /v2/health/live` does. Without it: Slipway's model server.",
    )
    resources: Resources = Field(default_factory=Resources, description="What one replica may use.")
    env: Annotated[list[EnvVar], Field(max_length=64, json_schema_extra=list_map("name"))] = Field(
        default_factory=list, description="Environment variables. A change rolls the pods."
    )
    env_from: Annotated[list[EnvFrom], Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"})] = (
        Field(
            default_factory=list,
            description="ConfigMaps and Secrets whose keys become environment variables; `env` wins.",
        )
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [variable.name for variable in self.env]
        for name in names:
            if names.count(name) > 1:
                raise Refusal(f"env sets {name} twice", "remove one of them")
        return self


class Target(ApiModel):
    """What the autoscaler keeps near a value."""

    metric: Literal["cpu", "memory"] = Field(default="cpu", description="The resource that is measured.")
    value: int = Field(
        default=DEFAULT_TARGET_PERCENT,
        ge=1,
        le=1000,
        description="Average use over the ready replicas, in percent of `server.resources.requests`.",
    )


_MIN_MAX = "min must not exceed max"
_TARGET_NEEDS_MAX = "a target needs max: without it the number of replicas is fixed at min"


class Scaling(ApiModel):
    """How many replicas run. Where `min` equals `max` the number is fixed, and no autoscaler is made."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.max) || self.min <= self.max", _MIN_MAX),
            ("!has(self.target) || has(self.max)", _TARGET_NEEDS_MAX),
        )
    )

    min: int = Field(default=1, ge=1, le=1000, description="The least number of replicas.")
    max: int | None = Field(default=None, ge=1, le=1000, description="The most replicas. Without it: `min`.")
    target: Target | None = Field(
        default=None,
        description=f"What the autoscaler keeps, while `min` is below `max`. "
        f"Without it: cpu at {DEFAULT_TARGET_PERCENT} percent.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max is not None and self.min > self.max:
            raise Refusal(f"min ({self.min}) exceeds max ({self.max})", "raise max or lower min")
        if self.target is not None and self.max is None:
            raise Refusal(_TARGET_NEEDS_MAX, "set scaling.max")
        return self


_PATH_NEEDS_HOST = "path needs hostnames: without them requests come in under /NAMESPACE/NAME"


class Routing(ApiModel):
    """How requests from outside the cluster come in."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.path) || (has(self.hostnames) && size(self.hostnames) > 0)", _PATH_NEEDS_HOST)
        )
    )

    hostnames: Annotated[list[Hostname], Field(max_length=16, json_schema_extra=LIST_SET)] = Field(
        default_factory=list,
        description="Host names that the service answers to. Without them it answers on every host of the gateway, "
        "under the path `/NAMESPACE/NAME`, which the server does not see.",
    )
    path: RoutePath | None = Field(
        default=None,
        description="With `hostnames`: only requests at or below this path come in; the server sees it unchanged. "
        "Without it: `/`.",
    )
    timeout: Duration = Field(
        default=DEFAULT_TIMEOUT,
        description="How long a request may take before the gateway answers 504; `0s` is without end.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.hostnames:
            if self.hostnames.count(name) > 1:
                raise Refusal(f"hostnames names {name} twice", "remove one of them")
        if self.path is not None and not self.hostnames:
            raise Refusal(_PATH_NEEDS_HOST, "set routing.hostnames, or remove routing.path")
        return self


_CUSTOM_RULE = (
    "!has(self.model.format) || self.model.format != 'custom' || (has(self.server) && has(self.server.image))"
)
_CUSTOM_NEEDS_IMAGE = "model.format custom needs server.image"


class ModelServiceSpec(ApiModel):
    """What is wanted."""

    model_config = ConfigDict(json_schema_extra=rules((_CUSTOM_RULE, _CUSTOM_NEEDS_IMAGE)))

    model: Model = Field(description="Which model is served.")
    server: Server = Field(default_factory=Server, description="The program that serves it.")
    scaling: Scaling = Field(default_factory=Scaling, description="How many replicas run. Without it: one.")
    routing: Routing = Field(default_factory=Routing, description="How requests from outside the cluster come in.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.model.format == "custom" and self.server.image is None:
            raise Refusal(_CUSTOM_NEEDS_IMAGE, "set server.image, or remove model.format")
        return self


class ModelStatus(ApiModel):
    """The model that is served."""

    digest: Annotated[str, Text(most=71)] | None = Field(
        default=None, description="Its digest, where the URI gives it."
    )


class ModelServiceStatus(ApiModel):
    """What is there. Written by the operator only."""

    conditions: Conditions = Field(
        default_factory=list,
        description="`Ready`: a request would succeed. `Progressing`: the newest revision is being rolled out. "
        "`ModelLoaded`: a replica has loaded the model. `Scaled`: the replicas are those that were asked for. "
        "`Routed`: the gateway sends requests.",
    )
    url: Annotated[str, Text(most=2048)] | None = Field(default=None, description="Where requests go.")
    revision: Annotated[str, Text(most=63)] | None = Field(
        default=None, description="The newest revision: a hash of what its pods are made from."
    )
    replicas: int | None = Field(default=None, ge=0, description="Replicas that exist, of all revisions.")
    ready_replicas: int | None = Field(default=None, ge=0, description="Replicas that take requests.")
    model: ModelStatus | None = Field(default=None, description="The model that is served.")


class ModelService(ApiModel):
    """A model that answers requests."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"size(self.metadata.name) <= {NAME_MOST} && self.metadata.name.matches('^{NAME_PATTERN}$')",
                NAME_SAYS,
            )
        )
    )

    spec: ModelServiceSpec = Field(description="What is wanted.")
    status: ModelServiceStatus | None = Field(default=None, description="What is there. Written by the operator only.")


def _ready(field: str) -> str:
    return f'.status.conditions[?(@.type=="Ready")].{field}'


RESOURCE: Final = Resource(
    kind="ModelService",
    plural="modelservices",
    short_names=("ms",),
    model=ModelService,
    name_pattern=NAME_PATTERN,
    name_most=NAME_MOST,
    columns=(
        Column("Ready", "string", _ready("status"), "Whether a request would succeed."),
        Column("Reason", "string", _ready("reason"), "Why it is ready, or why not."),
        Column("URL", "string", ".status.url", "Where requests go."),
        Column("Replicas", "integer", ".status.readyReplicas", "Replicas that take requests."),
        Column("Age", "date", ".metadata.creationTimestamp", "How long it exists."),
        Column("Revision", "string", ".status.revision", "The newest revision.", priority=1),
        Column("Model", "string", ".spec.model.uri", "Which model is served.", priority=1),
        Column("Message", "string", _ready("message"), "Why, in a sentence.", priority=1),
    ),
)


def parse_spec(manifest: dict[str, Any]) -> ModelServiceSpec:
    """The `spec` of a ModelService. Raises pydantic.ValidationError; `slipway.api.validation` makes sentences of it."""
    return ModelServiceSpec.model_validate(manifest.get("spec"), by_name=False)
