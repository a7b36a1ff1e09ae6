"""Where requests come in, and under which URL."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.api.modelservice import Routing


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """What the gateway matches. With `rewrite`, the server sees the path without its prefix."""

    hostnames: tuple[str, ...]
    path: str
    rewrite: bool
    timeout: str


def plan_route(wanted: Routing, namespace: str, name: str) -> RoutePlan:
    """Own hosts, or a path below every host of the gateway that no other service can have."""
    if wanted.hostnames:
        return RoutePlan(tuple(wanted.hostnames), wanted.path or "/", rewrite=False, timeout=wanted.timeout)
    return RoutePlan((), f"/{namespace}/{name}", rewrite=True, timeout=wanted.timeout)


def internal_url(namespace: str, name: str) -> str:
    """The URL inside the cluster; it needs no knowledge of the cluster's domain."""
    return f"http://{name}.{namespace}.svc"


def external_url(plan: RoutePlan, gateway_url: str | None) -> str | None:
    """The URL from outside, None as long as the gateway has no address. `gateway_url` is scheme, host and port."""
    if gateway_url is None:
        return None
    path = plan.path.rstrip("/")
    if not plan.hostnames:
        return f"{gateway_url.rstrip('/')}{path}"
    scheme, _, address = gateway_url.partition("://")
    _, colon, port = address.rstrip("/").rpartition(":")
    return f"{scheme}://{plan.hostnames[0]}{colon + port if port.isdigit() else ''}{path}"
