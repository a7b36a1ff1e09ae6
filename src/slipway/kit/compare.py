"""Whether a live object already says what we would apply.

The API server adds defaults, other managers add fields and list items of their own: only what we set is compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from slipway.api.quantity import parse_quantity

MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "resourceClaims": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort", "port", "protocol"),
    "hostAliases": ("ip",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
"""Lists that managers share in server-side apply, and what tells their items apart. All others are one value."""

_DEFAULTS = {"protocol": "TCP"}  # of what tells items apart
_QUANTITIES = {"requests", "limits", "averageValue", "sizeLimit", "capacity", "hard"}


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """A short hash of an object that does not depend on the order of its fields."""
    return hashlib.sha256(msgspec.json.encode(manifest, order="sorted")).hexdigest()[:16]


def without_nulls(value: Any) -> Any:
    """A copy without the fields whose value is None: to server-side apply a null is a field that we own."""
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def covers(live: Any, desired: Any, field: str = "") -> bool:
    """Whether every field of `desired` has its value in `live`; `field` is the name that both are found under."""
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(
            _covers_member(live, key, value, key if field not in _QUANTITIES else field)
            for key, value in desired.items()
        )
    if isinstance(desired, list):
        return isinstance(live, list) and _covers_list(live, desired, field)
    return bool(live == desired) or (field in _QUANTITIES and _same_quantity(live, desired))


def _covers_member(live: Mapping[str, Any], key: str, desired: Any, field: str) -> bool:
    if key not in live:  # Go leaves out what is empty; a false is a pointer in most places, and its absence means true
        return not desired and desired is not False
    return covers(live[key], desired, field)


def _covers_list(live: list[Any], desired: list[Any], field: str) -> bool:
    if field in MERGE_KEYS and all(isinstance(item, Mapping) for item in live + desired):
        found = {identity(item, field): item for item in live}
        return all(covers(found.get(identity(item, field)), item) for item in desired)
    return len(live) == len(desired) and all(covers(was, item) for was, item in zip(live, desired, strict=True))


def identity(item: Mapping[str, Any], field: str) -> tuple[Any, ...]:
    """What tells an item of the list `field` apart."""
    return tuple(item.get(key, _DEFAULTS.get(key)) for key in MERGE_KEYS[field])


def _same_quantity(live: Any, desired: Any) -> bool:
    """The API server writes 0.5 as 500m."""
    one, other = _quantity(live), _quantity(desired)
    return one is not None and one == other


def _quantity(value: Any) -> Decimal | None:
    try:
        return parse_quantity(str(value))
    except ValueError:
        return None
