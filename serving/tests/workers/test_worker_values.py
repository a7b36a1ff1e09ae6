"""What operations get and give: the same in a worker process as in a thread, and nonsense is refused."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from slipway_serving.codec import documents
from slipway_serving.errors import InvalidInputError, ModelFailedError
from slipway_serving.workers.messages import PART, decode, encode
from slipway_serving.workers.values import DEEPEST, call_message, called, pack, unpack

NUMBERS = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
ARRAYS = arrays.arrays(st.sampled_from(["<f4", "<f8", "<i4", "<i8", "|u1", "|b1"]), st.integers(0, 3)).filter(
    lambda array: array.dtype.kind != "f" or bool(np.isfinite(array).all())
)
SCALARS = st.sampled_from([np.float32(0.1), np.float64(0.1), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True)])
LEAVES = st.one_of(st.none(), NUMBERS, st.text(st.characters(exclude_categories=["Cs"]), max_size=8), ARRAYS, SCALARS)
KEYS = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=4))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)


class Colour(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


@dataclass
class Point:
    x: int
    y: list[int]


def crossed(message):
    """A message as the other side reads it."""
    prefix, header, *pieces = encode(message)
    assert prefix
    return decode(memoryview(header), memoryview(bytearray(b"".join(pieces))))


@given(TREES)
def test_a_value_is_the_same_json_on_both_sides(value):
    assert documents.dumps(unpack(crossed(pack(PART, value)))) == documents.dumps(value)


@pytest.mark.parametrize(
    "value",
    [
        {2: "a", True: "b", None: "c", 0.5: "d", Colour.RED: "e"},
        {"when": dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC), "day": dt.date(2026, 1, 2)},
        {"id": uuid.UUID(int=1), "colour": Colour.RED, "number": Number.ONE, "point": Point(1, [2])},
        {"dates": np.array(["2026-01-02"], dtype="datetime64[D]")},
    ],
)
def test_what_is_json_only_for_the_server_is_the_same_too(value):
    assert documents.dumps(unpack(crossed(pack(PART, value)))) == documents.dumps(value)


def test_arrays_stay_arrays_and_nan_stays_nan():
    given_value = {"a": [np.arange(6.0).reshape(2, 3), {"b": np.float32("nan")}], "c": float("inf")}
    back = unpack(crossed(pack(PART, given_value)))
    assert back["a"][0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert np.isnan(back["a"][1]["b"])
    assert back["c"] == float("inf")
    assert unpack(crossed(pack(PART, np.arange(3)))).tolist() == [0, 1, 2]


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [b"bytes", {"a": [object()]}, nested(DEEPEST + 1), nested(100_000), {(1, 2): 3}, 1j])
def test_what_is_no_json_is_the_models_failure(value):
    with pytest.raises(ModelFailedError, match=r"cannot be written as JSON|nested more than 254 deep"):
        pack(PART, value)


def test_what_is_nested_as_deeply_as_it_may_be_crosses():
    value = nested(DEEPEST - 1)
    assert unpack(crossed(pack(PART, value))) == value


@given(st.dictionaries(KEYS, TREES.filter(lambda tree: not isinstance(tree, np.ndarray)), max_size=2))
def test_a_request_arrives_as_it_was(fields):
    payload = orjson.loads(documents.dumps(fields))
    assert called(crossed(call_message("completions", payload, {}))) == ("completions", payload)


def test_an_explanation_is_asked_for_with_tensors():
    operation, inputs = called(crossed(call_message("explain", {"x": np.array([b"a"], dtype=object)}, {})))
    assert (operation, inputs["x"].tolist()) == ("explain", [b"a"])


def test_a_request_that_is_nested_too_deeply_is_the_clients_mistake():
    with pytest.raises(InvalidInputError, match="cannot be given this request"):
        call_message("completions", {"prompt": "a", "more": nested(1000)}, {})
