"""Which registry a model goes to."""

from __future__ import annotations

from slipway.client import settings
from slipway.client.errors import InvalidInputError
from slipway.client.push import Identity, Registry, parse_registry
from slipway.client.target import Target
from slipway.cluster import lifecycle


def named_registry(address: str | None) -> Registry | None:
    """The named registry, else the settings'; None where neither names one."""
    address = address or settings.value("registry")
    return parse_registry(address) if address else None


def registry_of(target: Target, address: str | None) -> Registry:
    """The named registry, else the settings', else the local cluster's; `InvalidInputError` when there is none."""
    if named := named_registry(address):
        return named
    if target.cluster is None:
        raise InvalidInputError(
            f"{target.context} is no local cluster, so it has no registry of its own.",
            "Name one that it can pull from: --registry HOST/PATH, or slipway config set registry HOST/PATH.",
        )
    access = lifecycle.find(target.cluster).registry
    return Registry(access.url, access.name, "models/", Identity(access.ca, access.cert, access.key))
