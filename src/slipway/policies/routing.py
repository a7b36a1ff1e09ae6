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


@dataclass(frozen=True, slots=True)
class IngressPlan:
    """What an Ingress matches. `secret` has the certificate, None without TLS. `hostnames` is never empty."""

    hostnames: tuple[str, ...]
    path: str
    secret: str | None


def plan_ingress(wanted: Routing) -> IngressPlan | None:
    """Own hosts only: an Ingress has no standard way to take a path's prefix off."""
    if not wanted.hostnames:
        return None
    secret = wanted.tls.secret_ref.name if wanted.tls else None
    return IngressPlan(tuple(wanted.hostnames), wanted.path or "/", secret)


def ingress_url(plan: IngressPlan) -> str | None:
    """The URL of the first host, https where there is a certificate; None where all are wildcards."""
    host = _callable(plan.hostnames)
    return f"{'https' if plan.secret else 'http'}://{host}{plan.path.rstrip('/')}" if host else None


def plan_route(wanted: Routing, namespace: str, name: str) -> RoutePlan:
    """Own hosts, or a path below every host of the gateway that no other service can have."""
    if wanted.hostnames:
        return RoutePlan(tuple(wanted.hostnames), wanted.path or "/", rewrite=False, timeout=wanted.timeout)
    return RoutePlan((), f"/{namespace}/{name}", rewrite=True, timeout=wanted.timeout)


def internal_url(namespace: str, name: str) -> str:
    """The URL inside the cluster; it needs no knowledge of the cluster's domain."""
    return f"http://{name}.{namespace}.svc"


def external_url(plan: RoutePlan, gateway_url: str | None) -> str | None:
    """The URL from outside; None while the gateway has no address, and where all hosts are wildcards.

    `gateway_url` is scheme, host and port.
    """
    if gateway_url is None:
        return None
    path = plan.path.rstrip("/")
    if not plan.hostnames:
        return f"{gateway_url.rstrip('/')}{path}"
    host = _callable(plan.hostnames)
    if host is None:
        return None
    scheme, _, address = gateway_url.partition("://")
    _, colon, port = address.rstrip("/").rpartition(":")
    return f"{scheme}://{host}{colon + port if port.isdigit() else ''}{path}"


def _callable(hostnames: tuple[str, ...]) -> str | None:
    return next((host for host in hostnames if not host.startswith("*")), None)
