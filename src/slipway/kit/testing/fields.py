"""Server-side apply, simplified: who owns which fields, and what an apply makes of an object.

A field is the path of its names; an item of a shared list is the values that tell it apart. All else is one value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slipway.kit.compare import MERGE_KEYS, identity
from slipway.kit.objects import Manifest

Path = tuple[Any, ...]
_UNOWNED = {
    ("apiVersion",),
    ("kind",),
    *(
        ("metadata", name)
        for name in ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp")
    ),
}


def owned(manifest: Manifest) -> dict[Path, Any]:
    """The fields that applying `manifest` would own, with their values."""
    return {path: value for path, value in _leaves(manifest, ()).items() if path not in _UNOWNED}


def _leaves(value: Any, path: Path) -> dict[Path, Any]:
    if isinstance(value, dict) and value:
        members = [(key, item) for key, item in value.items()]
    elif _shared(value, path):
        members = [(identity(item, path[-1]), item) for item in value]
    else:
        return {path: value}
    return {leaf: found for key, item in members for leaf, found in _leaves(item, (*path, key)).items()}


def _shared(value: Any, path: Path) -> bool:
    return bool(
        isinstance(value, list)
        and value
        and path
        and path[-1] in MERGE_KEYS
        and all(isinstance(item, dict) for item in value)
    )


def merge(live: Any, applied: Any, name: str = "") -> Any:
    """`live` with the values of `applied`."""
    if isinstance(live, dict) and isinstance(applied, dict):
        changed = {key: merge(live[key], value, key) if key in live else value for key, value in applied.items()}
        return live | changed
    if _shared(live, (name,)) and _shared(applied, (name,)):
        new = {identity(item, name): item for item in applied}
        kept = [merge(item, new.pop(identity(item, name), {}), "") for item in live]
        return [*kept, *new.values()]
    return applied


def give_up(live: Manifest, paths: Iterable[Path]) -> None:
    """Takes fields out of `live`, and the items and objects that are empty without them."""
    for path in sorted(paths, key=tells_items_apart):  # these last: by them the others are found
        remove(live, path)


def tells_items_apart(path: Path) -> bool:
    """Whether a field is one that an item of a shared list is known by."""
    return len(path) > 2 and isinstance(path[-2], tuple) and path[-1] in MERGE_KEYS[path[-3]]  # noqa: PLR2004  # list, item, field


def remove(live: Any, path: Path, name: str = "") -> None:
    """Takes one field out of `live`, and the items and objects that are empty without it.

    An item loses what it is known by only when nothing else is left of it, and then it goes.
    """
    head, *rest = path
    if isinstance(live, list):
        found = [item for item in live if isinstance(item, dict) and identity(item, name) == head]
        for item in found:
            if rest[0] not in MERGE_KEYS[name]:
                remove(item, tuple(rest), "")
            elif item.keys() <= set(MERGE_KEYS[name]):
                live.remove(item)
    elif isinstance(live, dict) and head in live:
        if rest:
            remove(live[head], tuple(rest), head)
        if not rest or not live[head]:
            del live[head]


def merge_patch(live: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result
