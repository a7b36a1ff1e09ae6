"""What is wrong with a manifest, said to the person who wrote it, before anything is sent.

`slipway.api.document` reads its text, `slipway.api.metadata` knows `metadata`. What is accepted here is what the API
server accepts, and what is refused there is refused here, in sentences; null counts as absent in both places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from slipway.api.base import Refusal
from slipway.api.crd import RESOURCES, object_schema
from slipway.api.metadata import key_text, metadata_problems
from slipway.api.names import API_VERSION
from slipway.api.problem import Problem, known_names, name_of, near, path_of, quoted, shortened, wrong_type
from slipway.api.resource import Resource
from slipway.api.schema import Schema

__all__ = ["Problem", "problems_of", "validate"]

Location = tuple[str | int, ...]


def validate(manifest: Any) -> list[Problem]:
    """Everything that is wrong with a manifest of a kind of ours; empty when it can be applied."""
    if not isinstance(manifest, dict):
        message, _ = wrong_type("an object", manifest)
        return [Problem("manifest", message, "begin with apiVersion, kind, metadata and spec")]
    resource = _resource(manifest)
    if isinstance(resource, Problem):
        return [resource]
    problems = list(metadata_problems(manifest.get("metadata"), resource))
    body = {key: value for key, value in manifest.items() if key not in {"apiVersion", "kind", "metadata", "status"}}
    body = _readable(body, _schema(resource), (), problems)
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
        return Problem(
            "apiVersion", f"{quoted(version)} is not served" if version else "is missing", f"write {API_VERSION}"
        )
    kinds = {resource.kind: resource for resource in RESOURCES}
    if isinstance(kind, str) and kind in kinds:
        return kinds[kind]
    message = f"{quoted(kind)} is no kind of {API_VERSION}" if kind else "is missing"
    return Problem("kind", message, f"write {' or '.join(kinds)}")


@cache
def _schema(resource: Resource) -> Schema:
    return object_schema(resource)


def _readable(value: Any, schema: Schema, location: Location, problems: list[Problem]) -> Any:
    """The value without what the API server takes as absent (null). What JSON cannot say goes to `problems`.

    Goes as deep as the schema does, and no deeper.
    """
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        problems.append(Problem(path_of(location), "has half of a character", "write it in UTF-8"))
    if isinstance(value, list) and "items" in schema:
        return [_readable(item, schema["items"], (*location, index), problems) for index, item in enumerate(value)]
    if not isinstance(value, dict) or not schema:
        return value
    kept = {}
    for key, item in value.items():
        if not isinstance(key, str):
            where = path_of(location) or "manifest"
            problems.append(Problem(where, f"the key {key_text(key)} is not a string", "put it in quotes"))
            continue
        child = _child(schema, key)
        if item is not None or not child:
            kept[key] = _readable(item, child, (*location, key), problems)
    return kept


def _problem(details: ErrorDetails, schema: Schema, location: Location) -> Problem:
    location = tuple(part for part in location if part != "[key]")
    error = details.get("ctx", {}).get("error")
    if isinstance(error, Refusal):
        return Problem(path_of(location), shortened(error.message), error.hint)
    if details["type"] == "extra_forbidden":
        return Problem(path_of(location), "unknown field", _unknown_hint(location, schema))
    return Problem(path_of(location), *_said(details, _node(location, schema)))


def _said(details: ErrorDetails, node: Schema) -> tuple[str, str]:
    """What is wrong with a value that has a schema, and what to do."""
    kind, value = details["type"], details["input"]
    if kind == "missing":
        return "is missing", re.split("[.:] ", str(node.get("description", "")).rstrip("."))[0]
    if kind == "literal_error":
        choices = node.get("enum", [])
        if not isinstance(value, str):
            return f"must be one of {', '.join(choices)}, not {name_of(value)}", ""
        return f"{quoted(value)} is not one of {', '.join(choices)}", near(value, choices)
    if kind in _LIMITS:
        number = value if isinstance(value, int) else len(value)
        said = f", not {number}" if abs(number) < _MOST_SAID else ""
        return _LIMITS[kind].format(**details.get("ctx", {})) + said, ""
    message, hint = wrong_type(_wanted(node), value)
    return message, hint or _fields_hint(node)


_LIMITS: Final = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_long": "must have at most {max_length} entries",
}
_MOST_SAID: Final = 10**18
_TYPES: Final = {"string": "a string", "integer": "a whole number", "array": "a list", "object": "an object"}


def _wanted(node: Schema) -> str:
    return "a quantity" if "x-kubernetes-int-or-string" in node else _TYPES.get(node.get("type", ""), "something else")


def _fields_hint(node: Schema) -> str:
    return f"fields here: {', '.join(sorted(node['properties']))}" if "properties" in node else ""


def _child(schema: Schema, part: str | int) -> Schema:
    """The schema one step down, empty where there is none."""
    if isinstance(part, int):
        found = schema.get("items")
    else:
        found = schema.get("properties", {}).get(part) or schema.get("additionalProperties")
    return found or {}


def _node(location: Location, schema: Schema) -> Schema:
    """The schema at a place, empty where there is none."""
    for part in location:
        schema = _child(schema, part)
    return schema


def _unknown_hint(location: Location, schema: Schema) -> str:
    """The nearest name at this place, else the same name elsewhere, else all names at this place."""
    name, siblings = str(location[-1]), list(_node(location[:-1], schema).get("properties", {}))
    close = near(name, siblings)
    if close:
        return close
    elsewhere = [
        path for path in _paths(schema, "") if path.rsplit(".", 1)[-1] == name and not path.startswith("status")
    ]
    return f"did you mean {elsewhere[0]}?" if elsewhere else known_names(name, siblings)


def _paths(schema: Schema, prefix: str) -> Iterator[str]:
    for name, child in schema.get("properties", {}).items():
        path = f"{prefix}.{name}" if prefix else name
        yield path
        yield from _paths(child, path)
        yield from _paths(child.get("items", {}), f"{path}[]")
