"""The types of conditions, and the reasons of ours.

A reason that is not here is a word of the kubelet, the scheduler, the Deployment controller, the autoscaler or the
gateway, passed on unchanged: ImagePullBackOff, OOMKilled, Unschedulable, ProgressDeadlineExceeded,
FailedGetResourceMetric, NotAllowedByListeners, …
"""

from __future__ import annotations

from typing import Final

READY: Final = "Ready"
PROGRESSING: Final = "Progressing"
MODEL_LOADED: Final = "ModelLoaded"
SCALED: Final = "Scaled"
ROUTED: Final = "Routed"
CONDITION_TYPES: Final = (READY, PROGRESSING, MODEL_LOADED, SCALED, ROUTED)

SERVING: Final = "Serving"
"""Ready: a request would succeed."""
NO_REPLICA_READY: Final = "NoReplicaReady"
"""Not Ready: replicas are starting, and nothing is known to be wrong with them."""

ROLLOUT_COMPLETE: Final = "RolloutComplete"
"""Not Progressing: all replicas are of the newest revision."""
ROLLING_OUT: Final = "RollingOut"
"""Progressing: replicas of the newest revision are starting."""
SCALING: Final = "Scaling"
"""Progressing: the number of replicas is changing, the revision is not."""

LOADED: Final = "Loaded"
LOADING: Final = "Loading"

FIXED_REPLICAS: Final = "FixedReplicas"
"""Scaled: `scaling.min` equals `scaling.max`, no autoscaler is made."""
AUTOSCALED: Final = "Autoscaled"
AUTOSCALER_STARTING: Final = "AutoscalerStarting"
REPLICAS_MISSING: Final = "ReplicasMissing"

ACCEPTED: Final = "Accepted"
NO_GATEWAY_API: Final = "NoGatewayAPI"
"""Not Routed: the cluster has no HTTPRoute; the service answers inside the cluster only."""
NO_GATEWAY: Final = "NoGateway"
"""Not Routed: the operator was told no gateway; the service answers inside the cluster only."""
NO_HOSTNAMES: Final = "NoHostnames"
"""Not Routed: routes are Ingresses, and the service has no host name; it answers inside the cluster only."""
NO_PROXY_NAMESPACE: Final = "NoProxyNamespace"
"""Not Routed: only proxies may connect, and the operator was not told where those of the Ingress class run."""
GATEWAY_NOT_FOUND: Final = "GatewayNotFound"
ROUTE_PENDING: Final = "RoutePending"
"""Not Routed: the gateway has not looked at the route yet."""

INVALID_SPEC: Final = "InvalidSpec"
"""The spec is refused by rules that the API server does not check; nothing was changed."""
REJECTED: Final = "Rejected"
"""The API server refuses an object that was made from the spec."""
NAME_TAKEN: Final = "NameTaken"
"""An object of this name exists and belongs to somebody else; it was not touched."""
NO_FETCHER: Final = "NoFetcher"
"""The model has to be downloaded, and the operator was told no image that does it."""
FETCH_FAILED: Final = "FetchFailed"
"""The model could not be downloaded; the kubelet tries again, with growing pauses. The message is the fetcher's."""
APPLY_FAILED: Final = "ApplyFailed"
"""An object could not be written; it is tried again."""

NEEDS_A_PERSON: Final = frozenset(
    {
        INVALID_SPEC,
        REJECTED,
        NAME_TAKEN,
        NO_FETCHER,
        FETCH_FAILED,
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "FailedCreate",
        "ImagePullBackOff",
        "InvalidImageName",
        "OOMKilled",
        "ProgressDeadlineExceeded",
        "RunContainerError",
        "StartError",
    }
)
"""Reasons that waiting does not heal."""
