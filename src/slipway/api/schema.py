"""Structural schemas from pydantic models.

What the API server accepts is less than what pydantic writes: references are put in place, "or null" becomes
"optional", and anything that has no structural form raises `SchemaError` with the field: nothing gets lost in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from slipway.api.base import ApiModel

Schema = dict[str, Any]


class SchemaError(Exception):
    """A model has a part that no structural schema can say."""


_PLAIN: Final[tuple[str, ...]] = (
    "type",
    "description",
    "default",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
)
_READ_ELSEWHERE: Final = (
    "title",
    "$defs",
    "$ref",
    "const",
    "anyOf",
    "properties",
    "items",
    "additionalProperties",
    "propertyNames",
)


def structural_schema(model: type[ApiModel]) -> Schema:
    """The structural schema of a model. Raises SchemaError."""
    written = model.model_json_schema(by_alias=True)
    return _convert(written, written.get("$defs", {}), model.__name__)


def children(node: Schema) -> Iterator[tuple[str, Schema]]:
    """What is directly below a schema: `.NAME` of a field, `[]` of a list's items, `{}` of a map's values."""
    for name, child in node.get("properties", {}).items():
        yield f".{name}", child
    if "items" in node:
        yield "[]", node["items"]
    if isinstance(node.get("additionalProperties"), dict):
        yield "{}", node["additionalProperties"]


def _convert(node: Schema, definitions: Schema, path: str) -> Schema:
    node = _resolve(node, definitions, path)
    unknown = sorted(set(node) - set(_PLAIN) - set(_READ_ELSEWHERE))
    if unknown:
        raise SchemaError(f"{path}: {', '.join(unknown)} has no structural form")
    schema = {key: node[key] for key in _PLAIN if key in node}
    if schema.get("default", ...) is None or schema.get("default") in ({}, []):
        del schema["default"]
    if "const" in node:
        schema["enum"] = [node["const"]]
    if "anyOf" in node:
        schema["anyOf"] = node["anyOf"]
    if "propertyNames" in node:
        schema["x-kubernetes-validations"] = [
            *_key_rules(node["propertyNames"], path),
            *schema.get("x-kubernetes-validations", ()),
        ]
    return _with_children(schema, node, definitions, path)


def _key_rules(names: Schema, path: str) -> list[Schema]:
    """What a map asks of its keys, as a rule over all of them: structural schemas have no `propertyNames`."""
    says = f"a key is too long; use at most {names.get('maxLength')} characters"
    tests = [
        f"size(key) {sign} {names[bound]}"
        for bound, sign in (("minLength", ">="), ("maxLength", "<="))
        if bound in names
    ]
    for rule in names.get("x-kubernetes-validations", ()):
        tests.append(re.sub("^self[.]", "key.", rule["rule"]))
        says = f"a key {rule['message']}"
    if set(names) - {"type", "title", "minLength", "maxLength", "x-kubernetes-validations"} or not tests:
        raise SchemaError(f"{path}: keys of this type have no structural form; make them `Text`")
    return [{"rule": f"self.all(key, {' && '.join(tests)})", "message": says}]


def _with_children(schema: Schema, node: Schema, definitions: Schema, path: str) -> Schema:
    if "properties" in node:
        schema["properties"] = {
            name: _convert(child, definitions, f"{path}.{name}") for name, child in node["properties"].items()
        }
    if "items" in node:
        schema["items"] = _convert(node["items"], definitions, f"{path}[]")
    values = node.get("additionalProperties", False)
    if isinstance(values, dict):
        schema["additionalProperties"] = _convert(values, definitions, f"{path}{{}}")
    elif values:
        raise SchemaError(f"{path}: an object of unknown fields is a hole")
    if "type" not in schema and "x-kubernetes-int-or-string" not in schema:
        raise SchemaError(f"{path}: has no type")
    return schema


def _resolve(node: Schema, definitions: Schema, path: str) -> Schema:
    """Puts a reference in place, and makes the one member of "X or null" the schema; siblings of the outer node win."""
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        return _resolve(target | {key: value for key, value in node.items() if key != "$ref"}, definitions, path)
    if "anyOf" not in node or "x-kubernetes-int-or-string" in node:
        return node
    members = [member for member in node["anyOf"] if member != {"type": "null"}]
    if len(members) != 1:
        raise SchemaError(f"{path}: a union has no structural form; make its members optional fields with a CEL rule")
    outer = {key: value for key, value in node.items() if key != "anyOf"}
    return _resolve(members[0], definitions, path) | outer
