"""Values that a datatype cannot hold. The protocol lets a server coerce or refuse them; another value is neither."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from slipway_serving.conformance.checks import Group, Level, NotSupported, expect
from slipway_serving.conformance.client import Answer
from slipway_serving.conformance.suite.binary import EXTENSION, as_binary, send
from slipway_serving.conformance.target import Target
from slipway_serving.conformance.tensors import flatten

NUMBERS = Group("numbers", "REST, Tensor Data: 'coerce … or return an error'")

_WRONG: tuple[tuple[str, str, str], ...] = (
    ("uint8-too-large", "UINT8", "256"),
    ("uint8-negative", "UINT8", "-1"),
    ("int8-too-large", "INT8", "128"),
    ("int32-too-large", "INT32", "2147483648"),
    ("int64-too-large", "INT64", "9223372036854775808"),
    ("uint64-negative", "UINT64", "-1"),
    ("uint64-too-large", "UINT64", "18446744073709551616"),
    ("fraction-as-integer", "INT32", "1.5"),
    ("string-as-number", "FP32", '"one"'),
    ("null", "FP32", "null"),
    ("number-as-bool", "BOOL", "2"),
    ("number-as-bytes", "BYTES", "7"),
    ("nan", "FP32", "NaN"),
    ("infinity", "FP32", "Infinity"),
    ("fp32-too-large", "FP32", "1e39"),
    ("fp64-too-large", "FP64", "1e400"),
)


def _post(target: Target, datatype: str, text: str) -> Answer:
    tensor = target.tensor(datatype, shape=[1], data=["@"])
    return target.infer(json.dumps({"inputs": [tensor]}).replace('"@"', text).encode())


def _value(datatype: str, text: str, target: Target) -> str:
    """A 4xx, or a 200 whose element has the same value, as a coercion has."""
    answer = _post(target, datatype, text)
    if answer.status != 200:
        expect(400 <= answer.status < 500, answer.seen)
        return answer.seen
    output = target.echoed(datatype, answer.object())
    expect(_is_coerced(json.loads(text), flatten(output.get("data"))), f"sent {text} as {datatype}, got {answer.seen}")
    return answer.seen


def _is_coerced(sent: Any, got: list[Any]) -> bool:
    if len(got) != 1 or sent is None:
        return False
    if isinstance(got[0], str) or isinstance(sent, str):
        return str(sent) == str(got[0])
    if got[0] is True:
        return bool(sent)
    return bool(got[0] == sent)


for _name, _datatype, _text in _WRONG:
    NUMBERS.add(
        Level.ROBUST,
        _name,
        f"{_text} as {_datatype} is a 4xx, or keeps its value: never a 5xx, another value, or text that is not JSON",
        partial(_value, _datatype, _text),
    )


def _non_finite(words: list[float], target: Target) -> str:
    entry, raw = as_binary(target.tensor("FP32", shape=[2], data=words))
    answer = send(target, {"inputs": [entry]}, raw)
    if EXTENSION not in target.extensions and answer.status != 200:
        raise NotSupported("the server has no binary tensors, so that nothing brings NaN in")
    expect(answer.status < 500, answer.seen)
    if answer.status != 200:
        return answer.seen
    data = flatten(target.echoed("FP32", answer.object()).get("data"))
    expect(None not in data, f"a silent null: {answer.seen}")
    return answer.seen


NUMBERS.add(
    Level.ROBUST,
    "nan-out",
    "an output with NaN, for which JSON has no word, is no 5xx, no silent null and no text that is not JSON",
    partial(_non_finite, [float("nan"), 1.0]),
    "RFC 8259, 6",
)
NUMBERS.add(
    Level.ROBUST,
    "infinity-out",
    "an output with infinity is treated alike",
    partial(_non_finite, [float("-inf"), 1.0]),
    "RFC 8259, 6",
)
