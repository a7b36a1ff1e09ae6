"""The V1 protocol: rows, named rows, columns, bytes, and what the answers look like."""

from __future__ import annotations

import base64

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_serving.codec.v1 import decode_request, encode_response
from slipway_serving.datatypes import DATATYPES
from slipway_serving.errors import InvalidInputError, NotRepresentableError
from slipway_serving.signature import Signature, TensorSpec

FP32, INT8, BYTES = DATATYPES["FP32"], DATATYPES["INT8"], DATATYPES["BYTES"]
ONE = Signature((TensorSpec("x", FP32, (-1, 2)),))
TWO = Signature((TensorSpec("x", FP32, (-1, 2)), TensorSpec("k", INT8, (-1,))))
TEXTS = Signature((TensorSpec("t", BYTES, (-1,)),))
FIXED = Signature((TensorSpec("x", FP32, (2,)),))
ANY = Signature()


def listed(tensors):
    return {name: array.tolist() for name, array in tensors.items()}


@pytest.mark.parametrize(
    ("document", "signature", "expected"),
    [
        ({"instances": [[1, 2], [3, 4]]}, ONE, {"x": [[1, 2], [3, 4]]}),
        ({"instances": [{"x": [1, 2]}]}, ONE, {"x": [[1, 2]]}),
        ({"instances": [{"x": [1, 2], "k": 3}, {"k": 4, "x": [5, 6]}]}, TWO, {"x": [[1, 2], [5, 6]], "k": [3, 4]}),
        ({"inputs": {"x": [[1, 2]], "k": [3]}, "signature_name": "serving_default"}, TWO, {"x": [[1, 2]], "k": [3]}),
        ({"inputs": [[1, 2]]}, ONE, {"x": [[1, 2]]}),
        ({"inputs": [1, 2]}, FIXED, {"x": [1, 2]}),
        ({"instances": ["a", {"b64": "/w=="}]}, TEXTS, {"t": [b"a", b"\xff"]}),
        ({"instances": [{"b64": "/w=="}]}, TEXTS, {"t": [b"\xff"]}),
        ({"inputs": {"t": [{"b64": "/w=="}]}}, TEXTS, {"t": [b"\xff"]}),
        ({"inputs": {"b64": "/w=="}}, ANY, {"x": b"\xff"}),
        ({"instances": [1, 2.5]}, ANY, {"x": [1.0, 2.5]}),
        ({"instances": [{"a": 1, "b": "c"}]}, ANY, {"a": [1], "b": [b"c"]}),
    ],
)
def test_what_a_request_says(document, signature, expected):
    assert listed(decode_request(orjson.dumps(document), signature)) == expected


@pytest.mark.parametrize(
    ("document", "signature", "message"),
    [
        ([], ONE, "the request must be a JSON object with 'instances' or 'inputs'"),
        ({}, ONE, "send either 'instances', a list of rows, or 'inputs', whole tensors"),
        ({"instances": [], "inputs": []}, ONE, "send either"),
        ({"instances": [[1, 2]], "instanses": 1}, ONE, "unknown key 'instanses'; did you mean 'instances'?"),
        ({"instances": [[1, 2]], "signature_name": "other"}, ONE, "'signature_name' must be 'serving_default'"),
        ({"instances": []}, ONE, "'instances' must be a list of at least one row"),
        ({"instances": {"x": [[1, 2]]}}, ONE, "'instances' must be a list of at least one row"),
        ({"instances": [[1, 2, 3]]}, ONE, "input 'x' has shape [1, 3], but the model takes [-1, 2]"),
        ({"instances": [[1, 2], [3]]}, ONE, "instances: the nested lists are ragged at depth 2"),
        ({"instances": [[1, None]]}, ONE, "instances: element 1 is null, but FP32 takes finite numbers"),
        ({"instances": [[1, "2"]]}, ONE, "instances: element 1 is '2', but FP32 takes finite numbers"),
        ({"instances": [[1, {"b64": "AA=="}]]}, ONE, "instances: element 1 is {'b64': 'AA=='}, but FP32 takes"),
        ({"instances": [{"y": [1, 2]}]}, ONE, "the model has no input 'y'; known: x"),
        ({"instances": [{"x": [1, 2]}]}, TWO, "missing input 'k'"),
        ({"instances": [{}]}, TWO, "an object without any input is no row"),
        ({"instances": [[1, 2]]}, TWO, "'instances' must name the inputs, the model has several: x, k"),
        ({"instances": [{"x": [1, 2], "k": 3}, {"x": [1, 2]}]}, TWO, "instances[1] must be an object with x, k"),
        ({"instances": [{"x": [1, 2], "k": 300}]}, TWO, "instances[…].k: element 0 is 300, but INT8 takes"),
        ({"inputs": {"x": [[1, 2]], "k": [0.5]}}, TWO, "inputs.k: element 0 is 0.5, but INT8 takes"),
        ({"instances": [1]}, TEXTS, 'instances: element 0 is 1, but BYTES takes strings, or {"b64": "…"}'),
        ({"instances": [None]}, TEXTS, "instances: element 0 is null"),
        ({"instances": [{"b64": "!"}]}, TEXTS, "instances: an element's b64 is not valid base64"),
        ({"inputs": [{"b64": 1}]}, TEXTS, 'inputs: an element that is an object must be {"b64": "…"}'),
    ],
)
def test_what_a_request_cannot_be(document, signature, message):
    with pytest.raises(InvalidInputError) as raised:
        decode_request(orjson.dumps(document), signature)
    assert str(raised.value).startswith(message)


@given(st.lists(st.tuples(st.floats(width=32, allow_nan=False, allow_infinity=False), st.binary()), min_size=1))
def test_rows_and_columns_say_the_same(rows):
    signature = Signature((TensorSpec("x", FP32, (-1,)), TensorSpec("t", BYTES, (-1,))))
    packed = [(number, {"b64": base64.b64encode(text).decode()}) for number, text in rows]
    by_row = decode_request(orjson.dumps({"instances": [{"x": x, "t": t} for x, t in packed]}), signature)
    numbers, texts = zip(*packed, strict=True)
    by_column = decode_request(orjson.dumps({"inputs": {"x": numbers, "t": texts}}), signature)
    assert by_row["x"].tolist() == by_column["x"].tolist() == [number for number, _ in rows]
    assert by_row["t"].tolist() == by_column["t"].tolist() == [text for _, text in rows]


def texts(*items):
    array = np.empty(len(items), dtype=np.object_)
    array[:] = items
    return array


def test_predictions_are_rows():
    batch = Signature(outputs=(TensorSpec("a", FP32, (-1, 2)), TensorSpec("b", BYTES, (-1,))))
    a = np.array([[1, 2], [3, 4]], dtype=np.float32)
    assert orjson.loads(encode_response({"a": a}, batch)) == {"predictions": [[1, 2], [3, 4]]}
    both = encode_response({"a": a, "b": texts(b"x", "y")}, batch)
    assert orjson.loads(both) == {"predictions": [{"a": [1, 2], "b": "x"}, {"a": [3, 4], "b": "y"}]}


def test_outputs_without_rows_come_whole():
    signature = Signature(outputs=(TensorSpec("a", FP32, (2,)), TensorSpec("b", FP32, ())))
    outputs = {"a": np.array([1, 2], dtype=np.float32), "b": np.array(3, dtype=np.float32)}
    assert orjson.loads(encode_response(outputs, signature)) == {"predictions": {"a": [1, 2], "b": 3}}
    with pytest.raises(NotRepresentableError, match="the outputs do not have the same number of rows"):
        encode_response(outputs, ANY)


def test_bytes_that_are_no_text_are_base64():
    assert orjson.loads(encode_response({"y": texts(b"a", b"\xff")}, ANY)) == {
        "predictions": [{"b64": "YQ=="}, {"b64": "/w=="}]
    }
    assert orjson.loads(encode_response({"y_bytes": texts(b"a")}, ANY)) == {"predictions": [{"b64": "YQ=="}]}


def test_nan_is_no_prediction():
    with pytest.raises(NotRepresentableError, match="output 'y': element 0 is nan"):
        encode_response({"y": np.array([np.nan])}, ANY)


async def test_a_model_over_v1(iris, serving):
    async with serving(iris) as client:
        answer = await client.post("/v1/models/iris:predict", json={"instances": [[5.1, 3.5, 1.4, 0.2]]})
        assert answer.status_code == 200
        assert answer.json()["predictions"][0]["label"] == "setosa"
        assert len(answer.json()["predictions"][0]["probabilities"]) == 3
        many = await client.post("/v1/models/iris:predict/", json={"instances": [[5.1, 3.5, 1.4, 0.2]] * 9000})
        assert [row["label"] for row in many.json()["predictions"]] == ["setosa"] * 9000


async def test_the_list_and_a_model_are_for_clients_of_kserve_and_of_openai(iris, serving):
    async with serving(iris) as client:
        listing = (await client.get("/v1/models")).json()
        assert listing["models"] == ["iris"]
        assert listing["object"] == "list"
        (entry,) = listing["data"]
        assert entry | {"created": 0} == {"id": "iris", "object": "model", "created": 0, "owned_by": "slipway-serving"}
        assert (await client.get("/v1/models/iris")).json() == {"name": "iris", "ready": True, **entry}


EXPLAINED = """
    class Model:
        def predict(self, inputs):
            return inputs

        def explain(self, inputs):
            if inputs["x"].sum() < 0:
                return {"explanations": [0], "method": "none"}
            if inputs["x"].sum() == 0:
                return {"a": float("nan")}
            return inputs["x"] * 2
"""


async def test_explanations(python_model, iris, serving):
    async with serving(python_model(EXPLAINED)) as client:
        answer = await client.post("/v1/models/echo:explain", json={"instances": [1, 2]})
        assert (answer.status_code, answer.json()) == (200, {"explanations": [2, 4]})
        answer = await client.post("/v1/models/echo:explain", json={"instances": [-1]})
        assert answer.json() == {"explanations": [0], "method": "none"}
        answer = await client.post("/v1/models/echo:explain", json={"instances": [0]})
        assert answer.status_code == 422
        assert answer.json()["error"] == "the answer's explanations.a is nan, which JSON cannot carry"
    async with serving(iris) as client:
        answer = await client.post("/v1/models/iris:explain", json={"instances": [[1, 2, 3, 4]]})
        assert answer.status_code == 501
        assert answer.json() == {"error": "model 'iris' has no explainer; it offers: predict"}
        assert 'code="501"' in (await client.get("/metrics")).text


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/models/irsi", 404, "model 'irsi' is not served here; did you mean 'iris'?"),
        ("POST", "/v1/models/irsi:predict", 404, "model 'irsi' is not served here"),
        ("POST", "/v1/models/iris/versions/3:predict", 404, "model 'iris' has no version '3'"),
        ("POST", "/v1/models/iris:guess", 404, "there is nothing at /v1/models/iris:guess"),
        ("GET", "/v1/models/iris:predict", 405, "GET is not possible here; allowed: POST"),
        ("POST", "/v1/models/iris:predict", 400, "the request body is empty"),
    ],
)
async def test_errors_over_v1(iris, serving, method, path, status, message):  # noqa: PLR0917  # one row a case
    async with serving(iris) as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"].startswith(message)


async def test_a_version_and_a_model_that_is_not_there_yet(python_model, serving):
    directory = python_model(settings="version: 2")
    async with serving(directory, mode="explicit") as client:
        assert (await client.post("/v1/models/echo/versions/2:predict", json={"instances": [1]})).status_code == 200
        assert (await client.post("/v2/repository/models/echo/unload")).status_code == 200
        for answer in (
            await client.get("/v1/models/echo"),
            await client.post("/v1/models/echo:predict", json={"instances": [1]}),
            await client.post("/v1/models/echo:explain", json={"instances": [1]}),
        ):
            assert answer.status_code == 503
            assert answer.json() == {"error": "model 'echo' is unloaded"}
