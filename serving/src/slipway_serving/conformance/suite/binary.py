"""Triton's binary tensor extension: tensors after the JSON part of a body."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from slipway_serving.conformance.checks import Group, Level, NotSupported, NotTested, expect
from slipway_serving.conformance.client import Answer
from slipway_serving.conformance.suite.inference import expect_outputs, two_tensors
from slipway_serving.conformance.suite.metadata import expect_error
from slipway_serving.conformance.target import Target, Tensor
from slipway_serving.conformance.tensors import DATATYPES, SAMPLES, expect_same, to_raw

BINARY = Group("binary", "Triton, Binary Tensor Data Extension")
EXTENSION = "binary_tensor_data"
_LENGTH = "inference-header-content-length"


def as_binary(tensor: Tensor) -> tuple[Tensor, bytes]:
    """A tensor without data, and its data."""
    raw = to_raw(tensor["datatype"], tensor["data"])
    rest = {key: value for key, value in tensor.items() if key != "data"}
    return {**rest, "parameters": {"binary_data_size": len(raw)}}, raw


def send(target: Target, document: Mapping[str, Any], blob: bytes, length: str = "") -> Answer:
    """Posts a JSON part and a binary part; `length` is the header's value, by default the right one."""
    head = json.dumps(document).encode()
    headers = {"content-type": "application/octet-stream", _LENGTH: length or str(len(head))}
    return target.client.send("POST", target.path("/infer"), head + blob, headers)


def _require_support(target: Target) -> None:
    if EXTENSION not in target.extensions:
        datatype = "INT32" if "INT32" in target.echoes else target.any_tensor()
        tensor, raw = as_binary(target.tensor(datatype))
        answer = send(target, {"inputs": [tensor]}, raw)
        if answer.status != 200:
            raise NotSupported(f"'{EXTENSION}' is not among the server's extensions, and a try is {answer.seen}")


def _check(name: str, says: str) -> Callable[[Callable[[Target], str]], None]:
    """A check of the extension, for servers that have it."""

    def decorate(function: Callable[[Target], str]) -> None:
        def supported(target: Target) -> str:
            _require_support(target)
            return function(target)

        BINARY.add(Level.EXTENSION, name, says, supported)

    return decorate


def blobs(answer: Answer) -> dict[str, bytes]:
    """The binary outputs of an answer, by name. Raises CheckFailed where its lengths do not add up."""
    document = expect_outputs(answer)
    length = answer.headers.get(_LENGTH)
    position = int(length) if length else len(answer.body)
    found = {}
    for output in document["outputs"]:
        size = (output.get("parameters") or {}).get("binary_data_size")
        if size is not None:
            expect(type(size) is int, answer.seen)
            found[output["name"]] = answer.body[position : position + size]
            position += size
    expect(position == len(answer.body), f"{len(answer.body) - position} bytes of the body belong to no output")
    expect(not found or length is not None, f"binary outputs, but no header {_LENGTH}: {answer.seen}")
    return found


def _round_trip(target: Target, datatype: str, tensor: Tensor) -> str:
    """A tensor goes in and comes out in the binary form. Raises CheckFailed."""
    entry, raw = as_binary(tensor)
    output = target.echoes[datatype][1]
    wanted = [{"name": output, "parameters": {"binary_data": True}}]
    answer = send(target, {"inputs": [entry], "outputs": wanted}, raw)
    found = blobs(answer)
    expect(output in found, f"output '{output}' is not binary: {answer.seen}")
    expect(found[output] == raw, f"sent {raw.hex()[:80]}, got {found[output].hex()[:80]}")
    (described,) = expect_outputs(answer)["outputs"]
    expect((described["datatype"], described["shape"]) == (datatype, tensor["shape"]), answer.seen)
    return f"200, {len(raw)} bytes back"


def _datatype(datatype: str, target: Target) -> str:
    _require_support(target)
    return _round_trip(target, datatype, target.tensor(datatype))


for _name in (*DATATYPES, "BF16"):
    BINARY.add(Level.EXTENSION, _name.lower(), f"{_name} goes in and out in binary", partial(_datatype, _name))


@_check("bytes-any", "BYTES elements are any bytes, not only UTF-8")
def any_bytes(target: Target) -> str:
    return _round_trip(target, "BYTES", target.tensor("BYTES", data=[b"\xff\x00", b"", b"\x80", b"a"]))


@_check("empty", "a tensor without elements has a binary_data_size of 0")
def empty(target: Target) -> str:
    return _round_trip(target, "INT32", target.tensor("INT32", shape=[0, 2], data=[]))


@_check("advertised", f"'{EXTENSION}' is among the server's extensions")
def advertised(target: Target) -> str:
    expect(EXTENSION in target.extensions, f"extensions: {sorted(target.extensions)}")
    return EXTENSION


@_check("json-to-binary", "outputs of a JSON request come as binary where binary_data asks for it")
def json_to_binary(target: Target) -> str:
    datatype = target.any_tensor()
    output = target.echoes[datatype][1]
    wanted = [{"name": output, "parameters": {"binary_data": True}}]
    answer = target.infer({"inputs": [target.tensor(datatype)], "outputs": wanted})
    expect(blobs(answer).get(output) == to_raw(datatype, SAMPLES[datatype]), answer.seen)
    return answer.seen


@_check("binary-to-json", "outputs of a binary request come as JSON where nothing asks for binary")
def binary_to_json(target: Target) -> str:
    datatype = target.any_tensor()
    entry, raw = as_binary(target.tensor(datatype))
    answer = send(target, {"inputs": [entry]}, raw)
    output = target.echoed(datatype, expect_outputs(answer))
    expect_same(datatype, SAMPLES[datatype], output.get("data"), answer.seen)
    return answer.seen


def _ask(target: Target, **keys: Any) -> Answer:
    entries, pieces = zip(*(as_binary(tensor) for tensor in two_tensors(target)), strict=True)
    return send(target, {"inputs": list(entries), **keys}, b"".join(pieces))


@_check("all-outputs", "binary_data_output of the request makes all outputs binary: tritonclient's default")
def all_outputs(target: Target) -> str:
    answer = _ask(target, parameters={"binary_data_output": True})
    expect(sorted(blobs(answer)) == ["a", "b"], answer.seen)
    return answer.seen


@_check("override", "binary_data of an output overrides binary_data_output")
def override(target: Target) -> str:
    outputs = [{"name": "a", "parameters": {"binary_data": False}}, {"name": "b"}]
    answer = _ask(target, parameters={"binary_data_output": True}, outputs=outputs)
    expect(sorted(blobs(answer)) == ["b"], answer.seen)
    return answer.seen


@_check("mixed", "JSON and binary inputs mix; binary parts belong to those that have binary_data_size, in order")
def mixed(target: Target) -> str:
    first, second = two_tensors(target)
    entry, raw = as_binary(second)
    answer = send(target, {"inputs": [first, entry], "parameters": {"binary_data_output": True}}, raw)
    found = blobs(answer)
    wanted = {tensor["name"]: to_raw(tensor["datatype"], tensor["data"]) for tensor in (first, second)}
    expect(found == wanted, answer.seen)
    return answer.seen


def _refused(target: Target, entry: Tensor, blob: bytes, length: str = "") -> str:
    answer = send(target, {"inputs": [entry]}, blob, length)
    expect(400 <= answer.status < 500, answer.seen)
    return expect_error(answer)


def _with_size(tensor: Tensor, size: Any) -> Tensor:
    return {**tensor, "parameters": {"binary_data_size": size}}


_Mistake = Callable[[Tensor, bytes], tuple[Tensor, bytes, str]]
_MISTAKES: Sequence[tuple[str, str, _Mistake]] = (
    ("too-short", "fewer bytes than the shape has", lambda t, raw: (_with_size(t, len(raw) - 1), raw[:-1], "")),
    ("too-long", "more bytes than the shape has", lambda t, raw: (_with_size(t, len(raw) + 1), raw + b"\0", "")),
    ("missing", "binary_data_size beyond the body", lambda t, raw: (_with_size(t, len(raw)), raw[:-4], "")),
    ("unclaimed", "bytes that no input claims", lambda t, raw: (_with_size(t, len(raw)), raw + b"more", "")),
    ("negative-size", "a negative binary_data_size", lambda t, raw: (_with_size(t, -1), raw, "")),
    ("header-too-large", "a header length beyond the body", lambda t, raw: (_with_size(t, len(raw)), raw, "99999")),
    ("header-no-number", "a header length that is no number", lambda t, raw: (_with_size(t, len(raw)), raw, "many")),
)


def _mistake(make: _Mistake, target: Target) -> str:
    _require_support(target)
    if "INT32" not in target.echoes:
        raise NotTested("the model does not echo INT32")
    return _refused(target, *make(*as_binary(target.tensor("INT32"))))


for _name, _what, _make in _MISTAKES:
    BINARY.add(Level.EXTENSION, _name, f'{_what}: a 4xx with {{"error": …}}', partial(_mistake, _make))


@_check("bytes-prefix", "a BYTES element whose length prefix points beyond the data is a 4xx")
def bytes_prefix(target: Target) -> str:
    entry, raw = as_binary(target.tensor("BYTES"))
    return _refused(target, entry, b"\xff\xff\xff\x7f" + raw[4:])


@_check("bytes-to-json", "BYTES that are not UTF-8 are never a 5xx where the output is JSON")
def bytes_to_json(target: Target) -> str:
    entry, raw = as_binary(target.tensor("BYTES", data=[b"\xff\x00", b"", b"\x80", b"a"]))
    answer = send(target, {"inputs": [entry]}, raw)
    expect(answer.status < 500, answer.seen)
    return answer.seen
