"""The operations of an OpenAPI document: one method of a path, its body and its answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slipway_serving.openapi.schemas import ALWAYS, CALLING, Schema

JSON, EVENTS, OCTETS, TEXT, HTML = (
    "application/json",
    "text/event-stream",
    "application/octet-stream",
    "text/plain",
    "text/html",
)
_HEADERS: dict[int, Schema] = {
    405: {"Allow": {"schema": {"type": "string"}}},
    415: {"Accept-Encoding": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"schema": {"type": "string"}}},
    503: {"Retry-After": {"schema": {"type": "string"}}},
}


def content(schema: Schema, example: Any = None, kind: str = JSON) -> Schema:
    return {kind: {"schema": schema, **({} if example is None else {"example": example})}}


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def get(tag: str, summary: str, answer: Schema, *, errors: Iterable[int] = ()) -> Schema:
    """A GET whose 200 has the content `answer`."""
    return {"get": _operation(tag, summary, answer, errors)}


def post(
    tag: str,
    summary: str,
    body: Schema,
    answer: Schema,
    *,
    errors: Iterable[int] = CALLING,
    error: str = "Error",
    optional: bool = False,
    parameters: Iterable[Schema] = (),
) -> Schema:
    """A POST of the content `body`; `error` names the schema of its errors."""
    operation = _operation(tag, summary, answer, errors, error)
    operation["requestBody"] = {"required": not optional, "content": body}
    if parameters:
        operation["parameters"] = list(parameters)
    return {"post": operation}


def _operation(tag: str, summary: str, answer: Schema, errors: Iterable[int], error: str = "Error") -> Schema:
    refused = {
        str(status): {"$ref": f"#/components/responses/{error}{status}"} for status in sorted({*ALWAYS, *errors})
    }
    return {
        "tags": [tag],
        "summary": summary,
        "responses": {"200": {"description": "Done.", "content": answer}, **refused},
    }


def responses(name: str, descriptions: dict[int, str]) -> Schema:
    """The components that operations refer to: an answer for each status, with an error of the schema `name`."""
    return {
        f"{name}{status}": {
            "description": description,
            "content": content(reference(name)),
            **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
        }
        for status, description in descriptions.items()
    }
