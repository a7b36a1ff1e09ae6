"""Values of JSON as arrays and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from slipway_serving.codec import binary, elements
from slipway_serving.datatypes import BOOL, BYTES, DATATYPES, Datatype
from slipway_serving.errors import InvalidInputError, NotRepresentableError

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
NUMBERS = [datatype for datatype in DATATYPES.values() if datatype.dtype.kind in "fiub"]
IN_JSON = [datatype for datatype in NUMBERS if datatype.has_json_form]


@st.composite
def tensors(draw: st.DrawFn, datatypes: list[Datatype], *, finite: bool) -> tuple[Datatype, Any]:
    datatype = draw(st.sampled_from(datatypes))
    values = (
        arrays.from_dtype(datatype.dtype, allow_nan=False, allow_infinity=False)
        if finite
        else arrays.from_dtype(datatype.dtype)
    )
    return datatype, draw(arrays.arrays(datatype.dtype, SHAPES, elements=values))


@given(tensors(IN_JSON, finite=True), st.booleans())
def test_numbers_survive_json_bit_for_bit(tensor, nested):
    datatype, array = tensor
    text = elements.dumps(array.tolist() if nested else elements.json_data(array, datatype, "y"))
    decoded = elements.array_of(elements.loads(text), datatype, array.shape, "x")
    assert decoded.dtype == array.dtype
    assert decoded.shape == array.shape
    assert decoded.tobytes() == array.tobytes()


@given(tensors(NUMBERS, finite=False), st.integers(0, 9))
def test_numbers_survive_binary_at_any_offset(tensor, offset):
    datatype, array = tensor
    body = bytearray(b"x" * offset + binary.bytes_of(array, datatype))
    decoded = binary.array_from(memoryview(body)[offset:], datatype, array.shape, "x")
    assert decoded.shape == array.shape
    assert decoded.tobytes() == array.tobytes()
    assert decoded.flags.aligned


@given(st.lists(st.binary(max_size=20)))
def test_strings_survive_binary(items):
    body = binary.bytes_of(np.array([*items, b""], dtype=object)[:-1], BYTES)
    assert binary.array_from(memoryview(body), BYTES, [len(items)], "x").tolist() == items


@given(st.lists(st.text(max_size=20)))
def test_text_survives_json(items):
    decoded = elements.array_of(items, BYTES, [len(items)], "x")
    assert elements.json_data(decoded, BYTES, "y") == items


@given(st.binary(max_size=60), st.sampled_from(list(DATATYPES.values())), st.lists(st.integers(0, 5), max_size=3))
def test_arbitrary_binary_data_is_read_or_refused(data, datatype, shape):
    try:
        array = binary.array_from(memoryview(data), datatype, shape, "x")
    except InvalidInputError as error:
        assert "x" in str(error)  # noqa: PT017  # whether it is refused depends on the data
    else:
        assert binary.bytes_of(array, datatype) == data


@pytest.mark.parametrize(
    ("data", "datatype", "shape", "message"),
    [
        ([1, 2, 3], "FP32", [2, 2], "x has 3 elements, but shape [2, 2] has 4"),
        ([[1, 2], [3]], "FP32", [2, 2], "x: the nested lists are ragged at depth 2"),
        ([[1], 2], "FP32", [2], "x: the nested lists are ragged at depth 2"),
        ([1, [2]], "FP32", [2], "x: element 1 is [2], but FP32 takes"),
        ([[1, 2, 3], [4, 5, 6]], "FP32", [3, 2], "x is nested as [2, 3], but the shape is [3, 2]"),
        ([1, None], "FP32", [2], "x: element 1 is null, but FP32 takes"),
        (["1.5"], "FP64", [1], "x: element 0 is '1.5', but FP64 takes"),
        ([True], "FP32", [1], "x: element 0 is True, but FP32 takes"),
        ([1e39], "FP32", [1], "x: element 0 is 1e+39, but FP32 takes finite numbers up to ±3.403e+38"),
        ([1.0], "INT32", [1], "x: element 0 is 1.0, but INT32 takes whole numbers"),
        ([True], "INT8", [1], "x: element 0 is True"),
        ([0, 256], "UINT8", [2], "x: element 1 is 256, but UINT8 takes whole numbers from 0 to 255"),
        ([-1], "UINT64", [1], "x: element 0 is -1"),
        ([2**63], "INT64", [1], f"x: element 0 is {2**63}"),
        ([1], "BOOL", [1], "x: element 0 is 1, but BOOL takes true or false"),
        ([1], "BYTES", [1], "x: element 0 is 1, but BYTES takes strings"),
        ({"a": 1}, "FP32", [1], "x: element 0 is {'a': 1}"),
        ([], "FP32", [1], "x has 0 elements, but shape [1] has 1"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(data, datatype, shape, message):
    with pytest.raises(InvalidInputError) as caught:
        elements.array_of(data, DATATYPES[datatype], shape, "x")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("data", "shape"),
    [([], [0]), ([], [0, 4]), ([[], []], [2, 0]), ([7], []), (7, []), ([[1, 2]], [1, 2]), ([1, 2], [1, 2])],
)
def test_empty_scalar_flat_and_nested_are_all_fine(data, shape):
    assert list(elements.array_of(data, DATATYPES["INT64"], shape, "x").shape) == shape


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_json_cannot_carry_is_never_written_as_null(value):
    with pytest.raises(NotRepresentableError, match=r"element 1 is .*binary_data"):
        elements.json_data(np.array([1, value]), DATATYPES["FP64"], "output 'y'")


def test_bytes_that_are_no_text_are_not_written_as_json():
    with pytest.raises(NotRepresentableError, match="not UTF-8"):
        elements.json_data(np.array([b"\xff"], dtype=object), BYTES, "output 'y'")


def test_a_binary_bool_is_zero_or_one():
    with pytest.raises(InvalidInputError, match="0 or 1"):
        binary.array_from(memoryview(b"\x02"), BOOL, [1], "x")
