"""Which ConfigMaps and Secrets a ModelService reads: a change of their content rolls its pods."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any, Literal

Reference = tuple[Literal["ConfigMap", "Secret"], str]
"""Kind and name, in the namespace of the ModelService."""


def references(spec: Any) -> list[Reference]:
    """All of them, sorted, each once. Of a spec as in JSON, which may be wrong: what cannot be read is not there."""
    server = _object(_object(spec).get("server"))
    template = _object(server.get("podTemplate"))
    found = [*_of_variables(server), *_of_volumes(template)]
    return sorted({(kind, name) for kind, name in found if isinstance(name, str) and name})


def content_hash(wanted: list[Reference], hash_of: Callable[[Reference], str | None]) -> str:
    """One hash of what they all contain, empty without any; `hash_of` gives None for one that does not exist."""
    if not wanted:
        return ""
    contents = [[kind, name, hash_of((kind, name))] for kind, name in wanted]
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()[:10]


def _of_variables(server: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    for item in _objects(server.get("envFrom")):
        yield "ConfigMap", _object(item.get("configMapRef")).get("name")
        yield "Secret", _object(item.get("secretRef")).get("name")
    for item in _objects(server.get("env")):
        source = _object(item.get("valueFrom"))
        yield "ConfigMap", _object(source.get("configMapKeyRef")).get("name")
        yield "Secret", _object(source.get("secretKeyRef")).get("name")


def _of_volumes(template: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    for item in _objects(template.get("volumes")):
        yield "ConfigMap", _object(item.get("configMap")).get("name")
        yield "Secret", _object(item.get("secret")).get("secretName")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
