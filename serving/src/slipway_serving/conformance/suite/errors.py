"""What a server answers to mistakes: an error status and `{"error": …}`, and a 4xx, because the client is to blame."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from slipway_serving.conformance.checks import Group, Level, NotTested, expect
from slipway_serving.conformance.client import Answer
from slipway_serving.conformance.suite.health import UNKNOWN
from slipway_serving.conformance.suite.metadata import expect_error
from slipway_serving.conformance.target import Target

ERRORS = Group("errors", "REST, Inference Response JSON Error Object")

Body = Callable[[Target], bytes]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A request that cannot be right."""

    name: str
    what: str
    body: Body
    demanded: bool = True
    """Whether the protocol's schema demands what is missing, so that a 200 is wrong by its text alone."""


def _inputs(change: Callable[[dict[str, Any]], Any]) -> Body:
    """A body whose first input is changed."""

    def body(target: Target) -> bytes:
        first, *rest = target.example()
        changed = change(dict(first))
        return json.dumps({"inputs": [*(changed if isinstance(changed, list) else [changed]), *rest]}).encode()

    return body


def _without(key: str) -> Body:
    return _inputs(lambda tensor: {name: value for name, value in tensor.items() if name != key})


def _with(**changes: Any) -> Body:
    return _inputs(lambda tensor: tensor | changes)


def _keys(**keys: Any) -> Body:
    return lambda target: json.dumps({"inputs": target.example(), **keys}).encode()


def _shorter(tensor: dict[str, Any]) -> dict[str, Any]:
    return tensor | {"data": tensor["data"][:-1]}


MISTAKES = (
    Mistake("empty-body", "no body at all", lambda _: b""),
    Mistake("malformed-json", "half a JSON document", lambda _: b'{"inputs": ['),
    Mistake("not-utf-8", "bytes that are not UTF-8", lambda _: b'\xff\xfe{"inputs": []}'),
    Mistake("deep-json", "5,000 nested lists", lambda _: b"[" * 5000),
    Mistake("no-object", "a JSON list instead of an object", lambda _: b"[]"),
    Mistake("no-inputs", "an object without inputs", lambda _: b"{}"),
    Mistake("inputs-no-list", "inputs that are no list", lambda _: b'{"inputs": {"name": "x"}}'),
    Mistake("no-name", "an input without a name", _without("name")),
    Mistake("no-shape", "an input without a shape", _without("shape")),
    Mistake("no-datatype", "an input without a datatype", _without("datatype")),
    Mistake("no-data", "an input without data", _without("data")),
    Mistake("unknown-datatype", "a datatype that is not in the table", _with(datatype="FLOAT")),
    Mistake("lower-case-datatype", "a datatype in lower case: all strings are case-sensitive", _with(datatype="int32")),
    Mistake("negative-shape", "a negative length, which is no unsigned integer", _with(shape=[-1, 2])),
    Mistake("fractional-shape", "a length that is no integer", _with(shape=[2.5, 2])),
    Mistake("shape-no-list", "a shape that is no list", _with(shape=4)),
    Mistake("too-few-elements", "fewer elements than the shape has", _inputs(_shorter)),
    Mistake("too-large-shape", "a shape of 2^62 elements and four of them", _with(shape=[2**31, 2**31])),
    Mistake("ragged-data", "nested data whose rows differ in length", _with(data=[[1], [2, 3, 4]])),
    Mistake("objects-as-data", "objects as elements", _with(data=[{}, {}, {}, {}])),
    Mistake("id-no-string", "an id that is a number", _keys(id=42)),
    Mistake("output-without-name", "a requested output without a name", _keys(outputs=[{}])),
    Mistake("unknown-output", "a requested output that the model does not have", _keys(outputs=[{"name": "no-such"}])),
    Mistake("duplicate-input", "the same input twice", _inputs(lambda tensor: [tensor, tensor]), demanded=False),
    Mistake("parameters-no-object", "parameters that are a list", _keys(parameters=[1]), demanded=False),
)


def _send(mistake: Mistake, target: Target) -> Answer:
    return target.infer(mistake.body(target))


def _refused(mistake: Mistake, target: Target) -> str:
    return expect_error(_send(mistake, target))


def _client_error(mistake: Mistake, target: Target) -> str:
    answer = _send(mistake, target)
    expect(400 <= answer.status < 500, answer.seen)
    return answer.seen


for _mistake in MISTAKES:
    _says = f'{_mistake.what}: an error status with {{"error": string}}'
    _level = Level.REQUIRED if _mistake.demanded else Level.ROBUST
    ERRORS.add(_level, _mistake.name, _says, partial(_refused, _mistake))


@ERRORS.required("unknown-model", 'inference on a model that is not there: an error status with {"error": string}')
def unknown_model(target: Target) -> str:
    return expect_error(target.client.post(f"{UNKNOWN}/infer", {"inputs": []}))


@ERRORS.robust("not-found", "that status is 404")
def not_found(target: Target) -> str:
    answer = target.client.post(f"{UNKNOWN}/infer", {"inputs": []})
    expect(answer.status == 404, answer.seen)
    return answer.seen


@ERRORS.required("missing-input", "an input that the model declares and the request lacks is an error")
def missing_input(target: Target) -> str:
    if len(target.declared) < 2:
        raise NotTested("the model declares fewer than two inputs")
    return expect_error(target.infer({"inputs": target.example()[:-1]}))


@ERRORS.required("unknown-input", "an input that the model does not declare is an error")
def unknown_input(target: Target) -> str:
    if not target.declared:
        raise NotTested("the model declares no inputs")
    first, *rest = target.example()
    return expect_error(target.infer({"inputs": [first | {"name": "no-such"}, *rest]}))


CLIENT_ERRORS = Group("4xx", "RFC 9110, 15.5; the protocol says 'typically 400'")
for _mistake in MISTAKES:
    _says = f"{_mistake.what}: the status is a 4xx"
    CLIENT_ERRORS.add(Level.ROBUST, _mistake.name, _says, partial(_client_error, _mistake))
