"""Triton's classification extension: what Triton's own code would answer, over HTTP and gRPC alike."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import orjson
import pytest
from grpc_client import flower, serve
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from slipway_serving.codec import v2
from slipway_serving.codec.classification import Classes
from slipway_serving.datatypes import DATATYPES
from slipway_serving.errors import InvalidInputError
from slipway_serving.grpc import codec, messages
from slipway_serving.signature import Signature, TensorSpec

BATCH = Signature((TensorSpec("x", DATATYPES["FP32"], (-1, 4)),), (TensorSpec("y", DATATYPES["FP32"], (-1, 4)),))
NUMBERS = st.sampled_from(["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
)


def top(array, count, *, by_row=False):
    return Classes({"y": count}, by_row).of({"y": array})["y"]


@pytest.mark.parametrize(
    ("values", "count", "expected"),
    [
        (np.array([1, 5, 10, 4], dtype=np.int32), 2, [b"10:2", b"5:1"]),
        (np.array([1.1, 3.3, 0.5, 2.4], dtype=np.float32), 2, [b"3.300000:1", b"2.400000:3"]),
        (
            np.array([0, 2**64 - 1, 2**64 - 2], dtype=np.uint64),
            2,
            [b"18446744073709551615:1", b"18446744073709551614:2"],
        ),
        (np.array([-(2**63), 2**63 - 1]), 9, [b"9223372036854775807:1", b"-9223372036854775808:0"]),
        (np.array([1, np.nan, np.inf, 1], dtype=np.float64), 4, [b"inf:2", b"1.000000:0", b"1.000000:3", b"nan:1"]),
        (np.array([[1, 2], [4, 3]], dtype=np.int8), 3, [b"4:2", b"3:3", b"2:1"]),
        (np.array(7, dtype=np.int64), 1, [b"7:0"]),
        (np.empty((0, 3), dtype=np.float32), 1, []),
    ],
)
def test_the_highest_come_first_with_their_places(values, count, expected):
    found = top(values, count)
    assert found.tolist() == expected
    assert found.shape == (len(expected),)


@given(NUMBERS, st.integers(1, 6), st.booleans())
def test_each_row_has_its_highest_values_in_order(array, count, by_row):
    by_row = by_row and array.ndim > 0
    found = top(array, count, by_row=by_row)
    rows = [row.ravel() for row in array] if by_row else [array.ravel()]
    size = min(count, rows[0].size) if rows else found.shape[-1]
    assert found.shape == ((len(rows), size) if by_row else (size,))
    for row, texts in zip(rows, found.reshape(len(rows), size), strict=True):
        places = [int(text.rpartition(b":")[2]) for text in texts]
        assert len(set(places)) == len(places)
        ranked = sorted(range(row.size), key=lambda place: (np.isnan(row[place]), -row[place].item(), place))
        assert places == ranked[:size]


@pytest.mark.parametrize(
    "array",
    [np.array([b"a"], dtype=object), np.array(["a"]), np.array([True]), np.array([1], dtype=ml_dtypes.bfloat16)],
)
def test_what_is_not_of_numbers_is_refused(array):
    with pytest.raises(InvalidInputError, match="output 'y' cannot be classified"):
        top(array, 1)


def asked(value):
    tensor = {"name": "x", "shape": [2, 4], "datatype": "FP32", "data": list(range(8))}
    outputs = [{"name": "y", "parameters": {"classification": value}}]
    return orjson.dumps({"inputs": [tensor], "outputs": outputs})


def asked_by_grpc(value, field="int64_param"):
    message = messages.ModelInferRequest()
    message.inputs.add(name="x", datatype="FP32", shape=(2, 4)).contents.fp32_contents.extend(range(8))
    setattr(message.outputs.add(name="y").parameters["classification"], field, value)
    return message


def test_rest_and_grpc_answer_the_same():
    outputs = {"y": np.array([[0.1, 0.9, 0, 0], [0.2, 0.3, 0.5, 0]], dtype=np.float32)}
    texts = ["0.900000:1", "0.100000:0", "0.500000:2", "0.300000:1"]
    body = v2.encode_response(v2.decode_request(asked(2), BATCH), outputs, "m").body
    assert orjson.loads(body)["outputs"] == [{"name": "y", "datatype": "BYTES", "shape": [2, 2], "data": texts}]
    decoded = codec.decode(asked_by_grpc(2), [], BATCH)
    answer = messages.ModelInferResponse.FromString(codec.encode(decoded, outputs, "m", ""))
    assert (answer.outputs[0].datatype, list(answer.outputs[0].shape)) == ("BYTES", [2, 2])
    assert answer.raw_output_contents[0] == b"".join(len(text).to_bytes(4, "little") + text.encode() for text in texts)
    assert codec.writing(decoded, outputs) == outputs["y"].nbytes  # sorted, not copied


def test_none_are_the_output_itself():
    outputs = {"y": np.array([[1, 2, 3, 4]], dtype=np.float32)}
    body = v2.encode_response(v2.decode_request(asked(0), BATCH), outputs, "m").body
    assert orjson.loads(body)["outputs"][0]["data"] == [1, 2, 3, 4]
    assert codec.decode(asked_by_grpc(0), [], BATCH).classes is None


@pytest.mark.parametrize(
    ("value", "field"), [(-1, "int64_param"), ("2", "string_param"), (True, "bool_param"), (1.5, "double_param")]
)
def test_a_wrong_number_of_classes_is_refused_in_the_same_words(value, field):
    said = rf"^outputs\[0\] 'y'\.parameters\['classification'\] must be a whole number, got {value!r}$"
    with pytest.raises(InvalidInputError, match=said):
        v2.decode_request(asked(value), BATCH)
    with pytest.raises(InvalidInputError, match=said):
        codec.decode(asked_by_grpc(value, field), [], BATCH)


async def test_a_model_is_asked_for_its_classes(iris, serving):
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}

    def body(output, **parameters):
        return {"inputs": [tensor], "outputs": [{"name": output, "parameters": {"classification": 2, **parameters}}]}

    async with serving(iris) as client:
        answer = (await client.post("/v2/models/iris/infer", json=body("probabilities"))).json()["outputs"]
        assert answer == [
            {"name": "probabilities", "datatype": "BYTES", "shape": [1, 2], "data": ["0.982232:0", "0.017768:1"]}
        ]
        raw = await client.post("/v2/models/iris/infer", json=body("probabilities", binary_data=True))
        assert raw.content.endswith(b"\x0a\x00\x00\x000.982232:0\x0a\x00\x00\x000.017768:1")
        refused = await client.post("/v2/models/iris/infer", json=body("label"))
        assert (refused.status_code, refused.json()["error"]) == (
            400,
            "output 'label' cannot be classified: only integers, FP16, FP32 and FP64 can",
        )
        assert "classification" in (await client.get("/v2")).json()["extensions"]
    async with serve(iris) as client:
        message = flower()
        message.outputs.add(name="probabilities").parameters["classification"].int64_param = 1
        answered = await client.call("ModelInfer", message)
        assert answered.raw_output_contents[0] == b"\x0a\x00\x00\x000.982232:0"
