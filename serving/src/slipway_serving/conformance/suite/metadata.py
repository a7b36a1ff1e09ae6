"""What a server tells of itself and of a model."""

from __future__ import annotations

from typing import Any

from slipway_serving.conformance.checks import Group, expect
from slipway_serving.conformance.client import Answer
from slipway_serving.conformance.suite.health import UNKNOWN
from slipway_serving.conformance.target import Target
from slipway_serving.conformance.tensors import DATATYPES

METADATA = Group("metadata", "REST, Model Metadata Response JSON Object")


def expect_error(answer: Answer) -> str:
    """An error status and `{"error": string}`. Raises CheckFailed."""
    expect(answer.status >= 400, answer.seen)
    expect(isinstance(answer.object().get("error"), str), f"no string 'error': {answer.seen}")
    return answer.seen


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


@METADATA.required(
    "server", "GET /v2 answers name, version and a list of extensions", "REST, Server Metadata Response JSON Object"
)
def server(target: Target) -> str:
    answer = target.client.get("/v2")
    expect(answer.status == 200, answer.seen)
    document = answer.object()
    expect(isinstance(document.get("name"), str) and isinstance(document.get("version"), str), answer.seen)
    expect(_strings(document.get("extensions")), answer.seen)
    return answer.seen


@METADATA.robust("slash", "GET /v2/ is the same: the protocol's OpenAPI document has the slash, its text has not")
def slash(target: Target) -> str:
    answer = target.client.get("/v2/")
    expect(answer.status == 200 and "name" in answer.object(), answer.seen)
    return answer.seen


@METADATA.required("model", "GET /v2/models/M answers the model's name and its platform")
def model(target: Target) -> str:
    answer = target.client.get(target.path())
    expect(answer.status == 200, answer.seen)
    document = answer.object()
    expect(document.get("name") == target.model, answer.seen)
    expect(isinstance(document.get("platform"), str), answer.seen)
    return answer.seen


@METADATA.required("tensors", "inputs and outputs are lists of name, a datatype of the table, and shape (-1: any)")
def tensors(target: Target) -> str:
    answer = target.client.get(target.path())
    expect(answer.status == 200, answer.seen)
    document = answer.object()
    for key in ("inputs", "outputs"):
        # The older text lists them as always there, the OpenAPI document as optional.
        entries = document.get(key, [])
        expect(isinstance(entries, list), answer.seen)
        for entry in entries:
            expect(_is_tensor(entry), f"{key}: {entry!r:.120}")
    return answer.seen


def _is_tensor(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return False
    shape = entry.get("shape")
    whole = isinstance(shape, list) and all(type(length) is int and length >= -1 for length in shape)
    return whole and entry.get("datatype") in {*DATATYPES, "BF16"}


@METADATA.required("versions", "versions is a list of strings, or is left out by a server without versions")
def versions(target: Target) -> str:
    answer = target.client.get(target.path())
    expect(answer.status == 200, answer.seen)
    document = answer.object()
    expect("versions" not in document or _strings(document["versions"]), answer.seen)
    return answer.seen


@METADATA.required(
    "unknown-model",
    'a model that is not there is an error status with {"error": string}',
    "REST, Model Metadata Response JSON Error Object",
)
def unknown_model(target: Target) -> str:
    return expect_error(target.client.get(UNKNOWN))


@METADATA.robust("not-found", "that status is 404")
def not_found(target: Target) -> str:
    answer = target.client.get(UNKNOWN)
    expect(answer.status == 404, answer.seen)
    return answer.seen


@METADATA.robust("unknown-path", 'a path that is not there is a 404 with {"error": string} too')
def unknown_path(target: Target) -> str:
    answer = target.client.get("/v2/no-such-path")
    expect(answer.status == 404, answer.seen)
    return expect_error(answer)


@METADATA.robust("content-type", "JSON is sent as application/json", "RFC 8259, 11")
def content_type(target: Target) -> str:
    answer = target.client.get("/v2")
    kind = answer.headers.get("content-type", "")
    expect(kind.partition(";")[0].strip() == "application/json", f"content-type: {kind or 'none'}")
    return kind
