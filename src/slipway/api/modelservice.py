"""ModelService: a model that answers requests, as its owner describes it.

Everything here is acted on; what a later version adds is not accepted before. The descriptions are what
`kubectl explain` and the reference page say.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from slipway.api.base import ApiModel, Duration, Refusal, Text, rules
from slipway.api.conditions import LIST_SET, Conditions
from slipway.api.resource import Column, Resource
from slipway.api.server import NameRef, Server

Format = Literal["onnx", "sklearn", "xgboost", "lightgbm", "python", "custom"]

DEFAULT_TIMEOUT: Final = "60s"
DEFAULT_FETCH_TIMEOUT: Final = "30m"
DEFAULT_HISTORY: Final = 10
DEFAULT_TARGET_PERCENT: Final = 80

NAME_PATTERN: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
NAME_MOST: Final = 50
NAME_SAYS: Final = (
    f"metadata.name cannot be the name of a Service; use at most {NAME_MOST} of a-z, 0-9 and '-', beginning with a "
    "letter and not ending with '-'"
)

_OCI = (
    "oci://[a-zA-Z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
    "(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_PVC = "pvc://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?"
_SEGMENT = "[A-Za-z0-9._~!$&'()*+,;=:@-]+"
_BUCKET = "(s3|gs)://[a-z0-9]([a-z0-9._-]*[a-z0-9])?/[^?#]+"
_AZURE = "azure://[a-z0-9]{3,24}/[a-z0-9$]([a-z0-9-]*[a-z0-9])?/[^?#]+"
_HTTPS = "https://[a-zA-Z0-9.-]+(:[0-9]{1,5})?/[^@#]+"
_HF = "hf://[A-Za-z0-9._-]+/[A-Za-z0-9._-]+(@[A-Za-z0-9._-]+)?(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*"
_URI_HINT = (
    "write oci://REGISTRY/NAME:TAG for a model that was pushed, pvc://CLAIM/PATH for one on a volume, or "
    "s3://BUCKET/PATH, gs://BUCKET/PATH, azure://ACCOUNT/CONTAINER/PATH, https://HOST/PATH or hf://ORG/REPO"
)
FETCHED: Final = ("s3", "gs", "azure", "https", "hf")
"""Schemes of models that are downloaded before the server starts."""
_MOST_PORT: Final = 65535


def _check_port(uri: str) -> str:
    port = uri.partition("://")[2].partition("/")[0].partition(":")[2]
    if port and not 1 <= int(port) <= _MOST_PORT:
        raise Refusal(f"has the port {port}", f"ports go from 1 to {_MOST_PORT}")
    return uri


ModelUri = Annotated[
    str,
    Text(
        f"({_OCI}|{_PVC}|{_BUCKET}|{_AZURE}|{_HTTPS}|{_HF})", "is not a model that is known", most=1024, hint=_URI_HINT
    ),
    AfterValidator(_check_port),
]
Checksum = Annotated[
    str,
    Text("sha256:[0-9a-f]{64}", "is not a checksum", most=71, hint="write sha256: and 64 digits of 0-9 and a-f"),
]
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


_FETCHED_ONLY = "is for models that are fetched (s3, gs, azure, https, hf)"
_FETCHED_RULE = "self.uri.matches('^(s3|gs|azure|https|hf)://.*$')"


class Model(ApiModel):
    """Which model is served."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (f"!has(self.checksum) || {_FETCHED_RULE}", f"checksum {_FETCHED_ONLY}; remove it"),
            (f"!has(self.fetchTimeout) || {_FETCHED_RULE}", f"fetchTimeout {_FETCHED_ONLY}; remove it"),
            ("!has(self.secretRef) || !self.uri.startsWith('pvc://')", "a volume claim needs no secretRef; remove it"),
        )
    )

    uri: ModelUri = Field(
        description="Where the model is. `oci://REGISTRY/NAME[:TAG][@sha256:DIGEST]` is mounted by the kubelet as an "
        "image volume, `pvc://CLAIM/PATH` is a directory of a volume claim in the same namespace. Downloaded before "
        "the server starts are `s3://BUCKET/PATH`, `gs://BUCKET/PATH`, `azure://ACCOUNT/CONTAINER/PATH`, "
        "`https://HOST/PATH` and `hf://ORG/REPO[@REVISION][/PATH]`, and `oci://` where nodes have no image volumes. "
        "The server sees it read-only."
    )
    format: Format | None = Field(
        default=None,
        description="What the model's files are; set as label `slipway.dev/format`. The model server recognises them "
        "without it. `custom`: `server.image` brings its own command line, and gets no arguments.",
    )
    checksum: Checksum | None = Field(
        default=None, description="The SHA-256 of what is fetched; something else is not served."
    )
    secret_ref: NameRef | None = Field(
        default=None,
        description="A Secret with what is needed to read the model: for `oci` one of type "
        "`kubernetes.io/dockerconfigjson`, else environment variables such as `AWS_ACCESS_KEY_ID`.",
    )
    fetch_timeout: Duration | None = Field(
        default=None, description=f"How long fetching may take. Without it: {DEFAULT_FETCH_TIMEOUT}."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        scheme = self.uri.partition("://")[0]
        if scheme not in FETCHED and self.checksum is not None:
            hint = "name the digest in the URI" if scheme == "oci" else "remove it"
            raise Refusal(f"checksum {_FETCHED_ONLY}", hint)
        if scheme not in FETCHED and self.fetch_timeout is not None:
            raise Refusal(f"fetchTimeout {_FETCHED_ONLY}", "remove it")
        if scheme == "pvc" and self.secret_ref is not None:
            raise Refusal("a volume claim needs no secretRef", "remove it")
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


_RAISE_OR_LOWER = "raise max or lower min"
_SET_MAX = "set scaling.max"
_TARGET_NEEDS_MAX = "a target needs max: without it the number of replicas is fixed at min"


class Scaling(ApiModel):
    """How many replicas run. Where `min` equals `max` the number is fixed, and no autoscaler is made."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.max) || self.min <= self.max", f"min exceeds max; {_RAISE_OR_LOWER}"),
            ("!has(self.target) || has(self.max)", f"{_TARGET_NEEDS_MAX}; {_SET_MAX}"),
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
            raise Refusal(f"min ({self.min}) exceeds max ({self.max})", _RAISE_OR_LOWER)
        if self.target is not None and self.max is None:
            raise Refusal(_TARGET_NEEDS_MAX, _SET_MAX)
        return self


class Rollout(ApiModel):
    """How a new revision takes over."""

    history_limit: int = Field(
        default=DEFAULT_HISTORY,
        ge=0,
        le=100,
        description="How many earlier revisions are kept to go back to (`slipway rollout undo`).",
    )


class Tls(ApiModel):
    """The certificate of the host names."""

    secret_ref: NameRef = Field(description="A Secret of type `kubernetes.io/tls`.")


_PATH_NEEDS_HOST = "path needs hostnames: without them requests come in under /NAMESPACE/NAME"
_SET_HOSTNAMES = "set routing.hostnames, or remove routing.path"
_TLS_NEEDS_HOST = "tls needs hostnames: a certificate is for names"
_SET_TLS_HOSTNAMES = "set routing.hostnames, or remove routing.tls"
_HAS_HOST = "(has(self.hostnames) && size(self.hostnames) > 0)"

Access = Literal["Cluster", "Namespace", "Gateway"]


class Routing(ApiModel):
    """How requests from outside the cluster come in."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (f"!has(self.path) || {_HAS_HOST}", f"{_PATH_NEEDS_HOST}; {_SET_HOSTNAMES}"),
            (f"!has(self.tls) || {_HAS_HOST}", f"{_TLS_NEEDS_HOST}; {_SET_TLS_HOSTNAMES}"),
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
    access: Access = Field(
        default="Cluster",
        description="Who may connect to the pods, where the cluster enforces NetworkPolicies. `Cluster`: everyone in "
        "it; `Namespace`: the same namespace and the gateway; `Gateway`: the gateway alone.",
    )
    tls: Tls | None = Field(
        default=None,
        description="The certificate of `hostnames` where the platform routes with Ingresses. With a Gateway, its "
        "listeners have the certificates.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.hostnames:
            if self.hostnames.count(name) > 1:
                raise Refusal(f"hostnames names {name} twice", "remove one of them")
        if self.path is not None and not self.hostnames:
            raise Refusal(_PATH_NEEDS_HOST, _SET_HOSTNAMES)
        if self.tls is not None and not self.hostnames:
            raise Refusal(_TLS_NEEDS_HOST, _SET_TLS_HOSTNAMES)
        return self


_CUSTOM_RULE = (
    "!has(self.model.format) || self.model.format != 'custom' || (has(self.server) && has(self.server.image))"
)
_CUSTOM_NEEDS_IMAGE = "model.format custom needs server.image"
_SET_IMAGE = "set server.image, or remove model.format"


class ModelServiceSpec(ApiModel):
    """What is wanted."""

    model_config = ConfigDict(json_schema_extra=rules((_CUSTOM_RULE, f"{_CUSTOM_NEEDS_IMAGE}; {_SET_IMAGE}")))

    model: Model = Field(description="Which model is served.")
    server: Server = Field(default_factory=Server, description="The program that serves it.")
    scaling: Scaling = Field(default_factory=Scaling, description="How many replicas run. Without it: one.")
    rollout: Rollout = Field(default_factory=Rollout, description="How a new revision takes over.")
    routing: Routing = Field(default_factory=Routing, description="How requests from outside the cluster come in.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.model.format == "custom" and self.server.image is None:
            raise Refusal(_CUSTOM_NEEDS_IMAGE, _SET_IMAGE)
        return self


class ModelStatus(ApiModel):
    """The model that is served."""

    uri: Annotated[str, Text(most=1024)] | None = Field(default=None, description="Where it is.")
    digest: Annotated[str, Text(most=71)] | None = Field(
        default=None, description="The digest that the URI names, or that its tag had when the revision was made."
    )
    load_time: Duration | None = Field(
        default=None, description="How long the slowest replica took from its start until it was ready."
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
