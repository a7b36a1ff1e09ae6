"""JSON schemas of tensors and of the errors; OpenAPI 3.1 uses JSON Schema 2020-12 as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from slipway_serving.codec import elements, plain
from slipway_serving.datatypes import BOOL, BYTES, Array, Datatype
from slipway_serving.errors import NotRepresentableError
from slipway_serving.signature import TensorSpec

Schema = dict[str, Any]
SCALAR: Schema = {"type": ["string", "number", "boolean"]}
TEXT: Schema = {"type": "string"}
STREAM: Schema = {"description": "server-sent events; the data of each is a JSON document"}
COUNT: Schema = {"type": "integer", "minimum": 0}
_BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


def closed(properties: Schema, required: Iterable[str] | None = None) -> Schema:
    """An object with these properties and no others; all are required unless it is said which."""
    names = list(properties if required is None else required)
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def any_of(*schemas: Schema) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def array(items: Schema, low: int = 0, high: int | None = None) -> Schema:
    limits = {"minItems": low} if low else {}
    return {"type": "array", "items": items, **limits, **({} if high is None else {"maxItems": high})}


def element(datatype: Datatype) -> Schema:
    """One element of a tensor."""
    if datatype is BOOL:
        return {"type": "boolean"}
    if datatype is BYTES:
        return TEXT
    kind = "number" if datatype.is_float else "integer"
    return {"type": kind, "minimum": datatype.lowest, "maximum": datatype.highest}


def packed(datatype: Datatype) -> Schema:
    """One element as V1 has it: bytes may be base64."""
    plain_element = element(datatype)
    return any_of(plain_element, closed({"b64": {**TEXT, "pattern": _BASE64}})) if datatype is BYTES else plain_element


def nested(shape: Sequence[int] | None, item: Schema) -> Schema:
    """Lists in lists for a shape, where -1 is any length; None is any shape."""
    if shape is None:
        return {"description": "a value, or lists in lists, of any shape"}
    schema = item
    for depth, length in reversed(list(enumerate(shape))):
        # Nothing shows how an empty list would go on: only the innermost may be one.
        low = (0 if depth == len(shape) - 1 else 1) if length == -1 else length
        schema = array(schema, low, None if length == -1 else length)
    return schema


def values(spec: TensorSpec) -> list[Schema]:
    """What the plain forms take for one input: all of it or, where it counts rows, a single row."""
    item = element(spec.datatype)
    schemas = [nested(spec.shape, item)]
    if spec.is_batch and spec.shape is not None:
        schemas.append(nested(spec.shape[1:], item))
    return schemas


def answer(spec: TensorSpec) -> Schema:
    """An output in nested lists."""
    return loose(nested(spec.shape, element(spec.datatype)))


def loose(schema: Schema) -> Schema:
    """Without lower limits: an answer may be empty."""
    kept = {key: value for key, value in schema.items() if key not in ("minItems", "minimum", "maximum")}
    return {**kept, "items": loose(schema["items"])} if "items" in schema else kept


def example(tensor: Array, name: str) -> Any:
    """A tensor as nested lists; None where it has no JSON form."""
    try:
        return elements.loads(elements.dumps(plain.nested(tensor, name)))  # 5.1 of FP32 as 5.1, not as 5.0999999
    except NotRepresentableError:
        return None


ERROR = closed({"error": {**TEXT, "description": "what is wrong, naming the field"}})
OPENAI_ERROR = closed(
    {
        "error": any_of(
            closed(
                {
                    "message": TEXT,
                    "type": TEXT,
                    "param": {"type": ["string", "null"], "description": "path of the field that is wrong"},
                    "code": {"type": ["string", "null"]},
                }
            ),
            {**TEXT, "description": "what was refused before anything of OpenAI's API was read"},
        )
    }
)
ERRORS = {
    400: "The request cannot be right; the message names the field.",
    401: "No key or token, or one that is not valid, where the server asks for one.",
    403: "Not possible on this server.",
    404: "There is no such model, version or path.",
    405: "The path has other methods, which Allow names.",
    408: "The request did not arrive in time.",
    413: "The body is larger than the limit.",
    415: "The body's Content-Encoding is not known here; Accept-Encoding names those that are.",
    422: "The answer exists, but JSON cannot carry it.",
    429: "The queue is full; Retry-After says when to come back.",
    431: "The request's head is too large.",
    500: "The model failed; the server's log has the details.",
    501: "The model does not have it.",
    503: "Loading, unloaded, or stopping; Retry-After says when to come back.",
    504: "The request waited longer than it may.",
}
ALWAYS = (400, 401, 405, 408, 413, 415, 431, 500, 503)
"""What any path may answer: a compressed body is looked at before anything else."""
CALLING = (404, 422, 429, 504)
