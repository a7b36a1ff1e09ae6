"""What is wrong with a manifest, said to the person who wrote it, before anything is sent."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from slipway.api.base import Refusal
from slipway.api.crd import RESOURCES, object_schema
from slipway.api.names import API_VERSION
from slipway.api.resource import Resource

_METADATA: Final = {
    "name": str,
    "namespace": str,
    "labels": dict,
    "annotations": dict,
    "finalizers": list,
    "ownerReferences": list,
    "managedFields": list,
    "uid": str,
    "resourceVersion": str,
    "generation": int,
    "creationTimestamp": str,
    "deletionTimestamp": str,
    "deletionGracePeriodSeconds": int,
}
_JSON_NAMES: Final = {
    str: "a string",
    dict: "an object",
    list: "a list",
    int: "a whole number",
    bool: "a boolean",
    float: "a number",
}
_NEAR: Final = 0.6


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (`spec.server.image`), what, and what to do about it (may be empty)."""

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f"; {self.hint}" if self.hint else "")


def validate(manifest: Any) -> list[Problem]:
    """Everything that is wrong with a manifest of a kind of ours; empty when it can be applied."""
    if not isinstance(manifest, dict):
        return [
            Problem(
                "manifest",
                f"must be an object, not {_json_name(manifest)}",
                "begin with apiVersion, kind, metadata and spec",
            )
        ]
    resource = _resource(manifest)
    if isinstance(resource, Problem):
        return [resource]
    problems = list(_metadata_problems(manifest.get("metadata"), resource))
    body = {key: value for key, value in manifest.items() if key not in {"apiVersion", "kind", "metadata", "status"}}
    try:
        resource.model.model_validate(body, by_name=False)
    except ValidationError as error:
        problems += problems_of(error, resource)
    return problems


def problems_of(error: ValidationError, resource: Resource, root: tuple[str, ...] = ()) -> list[Problem]:
    """What a validation error says, for people. `root` is where in the object the validated part begins."""
    schema = _schema(resource)
    return [_problem(details, schema, (*root, *details["loc"])) for details in error.errors(include_url=False)]


def _resource(manifest: dict[str, Any]) -> Resource | Problem:
    version, kind = manifest.get("apiVersion"), manifest.get("kind")
    if version != API_VERSION:
        return Problem("apiVersion", f"{version!r} is not served" if version else "is missing", f"write {API_VERSION}")
    kinds = {resource.kind: resource for resource in RESOURCES}
    if isinstance(kind, str) and kind in kinds:
        return kinds[kind]
    return Problem(
        "kind", f"{kind!r} is no kind of {API_VERSION}" if kind else "is missing", f"write {' or '.join(kinds)}"
    )


def _metadata_problems(metadata: Any, resource: Resource) -> Iterator[Problem]:
    if not isinstance(metadata, dict):
        yield Problem("metadata", "is missing" if metadata is None else "must be an object", "metadata.name is needed")
        return
    for key, value in metadata.items():
        if key not in _METADATA:
            yield Problem(f"metadata.{key}", "unknown field", _known_names(key, list(_METADATA)))
        elif not isinstance(value, _METADATA[key]) and value is not None:
            yield Problem(f"metadata.{key}", f"must be {_JSON_NAMES[_METADATA[key]]}, not {_json_name(value)}")
    name = metadata.get("name")
    if name is None:
        yield Problem("metadata.name", "is missing", "give the object a name")
    elif isinstance(name, str) and not (re.fullmatch(resource.name_pattern, name) and len(name) <= resource.name_most):
        message = f"{name!r} cannot be the name of a {resource.kind}"
        yield Problem("metadata.name", message, _name_hint(name, resource))


def _name_hint(name: str, resource: Resource) -> str:
    near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[: resource.name_most].strip("-")
    if re.fullmatch(resource.name_pattern, near):
        return f"write {near}"
    return f"use at most {resource.name_most} of a-z, 0-9 and '-', beginning with a letter and not ending with '-'"


@cache
def _schema(resource: Resource) -> dict[str, Any]:
    return object_schema(resource)


def _problem(details: ErrorDetails, schema: dict[str, Any], location: tuple[str | int, ...]) -> Problem:
    path, value = _path(location), details["input"]
    error = details.get("ctx", {}).get("error")
    if isinstance(error, Refusal):
        return Problem(path, error.message, error.hint)
    match details["type"]:
        case "extra_forbidden":
            return Problem(path, "unknown field", _unknown_hint(location, schema))
        case "missing":
            return Problem(path, "is missing", _says(location, schema))
        case "literal_error":
            choices = [str(choice) for choice in _node(location, schema).get("enum", [])]
            return Problem(path, f"{value!r} is not one of {', '.join(choices)}", _near(str(value), choices))
    return Problem(path, _limit_or_type(details, value))


_WANTED: Final = {
    "string_type": "a string",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "an object",
    "dict_type": "an object",
}
_LIMITS: Final = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_long": "must have at most {max_length} entries",
}


def _limit_or_type(details: ErrorDetails, value: Any) -> str:
    kind, limits = details["type"], details.get("ctx", {})
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {_json_name(value)}"
    if kind in _LIMITS:
        return _LIMITS[kind].format(**limits) + (f", not {value}" if isinstance(value, int) else "")
    return details["msg"]


def _json_name(value: Any) -> str:
    return "nothing" if value is None else _JSON_NAMES.get(type(value), type(value).__name__)


def _path(location: tuple[str | int, ...]) -> str:
    """`('spec', 'env', 0, 'name')` as `spec.env[0].name`; keys with dots in brackets."""
    written = ""
    for part in location:
        if isinstance(part, int):
            written += f"[{part}]"
        elif part == "[key]":
            continue
        else:
            written += f'["{part}"]' if "." in part else f".{part}" if written else part
    return written


def _node(location: tuple[str | int, ...], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema at a place, empty where there is none."""
    for part in location:
        if isinstance(part, int):
            schema = schema.get("items", {})
        else:
            schema = schema.get("properties", {}).get(part) or schema.get("additionalProperties") or {}
    return schema


def _says(location: tuple[str | int, ...], schema: dict[str, Any]) -> str:
    description = str(_node(location, schema).get("description", ""))
    return description.rstrip(".").split(". ")[0]


def _unknown_hint(location: tuple[str | int, ...], schema: dict[str, Any]) -> str:
    """The nearest name at this place, else the same name elsewhere, else all names at this place."""
    name, siblings = str(location[-1]), list(_node(location[:-1], schema).get("properties", {}))
    near = _near(name, siblings)
    if near:
        return near
    elsewhere = [
        path for path in _paths(schema, "") if path.rsplit(".", 1)[-1] == name and not path.startswith("status")
    ]
    return f"did you mean {elsewhere[0]}?" if elsewhere else _known_names(name, siblings)


def _known_names(name: str, names: list[str]) -> str:
    return _near(name, names) or f"fields here: {', '.join(sorted(names))}"


def _near(name: str, names: list[str]) -> str:
    plain = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower().replace("_", "").replace("-", ""), plain, n=1, cutoff=_NEAR)
    return f"did you mean {plain[close[0]]}?" if close else ""


def _paths(schema: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, child in schema.get("properties", {}).items():
        path = f"{prefix}.{name}" if prefix else name
        yield path
        yield from _paths(child, path)
        yield from _paths(child.get("items", {}), f"{path}[]")
