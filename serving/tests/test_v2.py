"""Requests and answers of the Open Inference Protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_serving.codec import plain, v2
from slipway_serving.datatypes import DATATYPES
from slipway_serving.errors import InvalidInputError, NotRepresentableError, RequestError
from slipway_serving.grpc import codec, messages
from slipway_serving.signature import Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("x", DATATYPES["FP32"], (-1, 4), columns=("a", "b", "c", "d")),),
    (TensorSpec("y", DATATYPES["FP32"], (-1,)),),
)
PAIR = Signature(
    (TensorSpec("a", DATATYPES["INT64"], (-1, 1)), TensorSpec("b", DATATYPES["BYTES"], (-1, 1))),
    (TensorSpec("y", DATATYPES["FP32"], (-1,)),),
)
ANYTHING = Signature()


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4], **changes}


def request(*inputs: Any, **keys: Any) -> bytes:
    return orjson.dumps({"inputs": list(inputs), **keys})


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in tensor().items() if name != key}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the request body is empty"),
        (b"{", "the request body is not valid JSON"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[NaN]}]}', "the request body is not valid JSON"),
        (b"[" * 5000, "the request body is not valid JSON"),
        (b"\xff\xfe", "the request body is not valid JSON"),
        (b"[]", "the request must be a JSON object with 'inputs'"),
        (b"{}", "'inputs' is missing"),
        (b'{"inputs": {}}', "'inputs' must be a list"),
        (request(), "'inputs' is empty"),
        (request(1), "inputs[0] must be an object"),
        (request(without("name")), "inputs[0].name must be a string"),
        (request(tensor(name="z")), "the model has no input 'z'; known: x"),
        (request(tensor(), tensor()), "input 'x' is given twice"),
        (request(without("shape")), "inputs[0] 'x'.shape must be a list"),
        (request(tensor(shape=[1, -4])), "inputs[0] 'x'.shape has -4"),
        (request(tensor(shape=[1.0, 4])), "inputs[0] 'x'.shape has 1.0"),
        (request(tensor(shape=[True, 4])), "inputs[0] 'x'.shape has True"),
        (request(tensor(shape=[1] * 40)), "inputs[0] 'x'.shape must be a list of at most 32"),
        (request(tensor(shape=[1, 5])), "input 'x' has shape [1, 5], but the model takes [-1, 4]"),
        (request(tensor(shape=[4])), "input 'x' has shape [4], but the model takes [-1, 4]"),
        (request(tensor(shape=[2**62, 4])), "inputs[0] 'x'.data has 4 elements"),
        (request(without("datatype")), "inputs[0] 'x': unknown datatype None"),
        (request(tensor(datatype="FP23")), "inputs[0] 'x': unknown datatype 'FP23'; did you mean 'FP32'?"),
        (request(tensor(datatype=["FP32"])), "inputs[0] 'x': unknown datatype ['FP32']"),
        (request(tensor(datatype="FP64")), "input 'x' has datatype FP64, but the model takes FP32"),
        (request(without("data")), "inputs[0] 'x' has no data"),
        (request(tensor(data=[1, 2, 3])), "inputs[0] 'x'.data has 3 elements"),
        (request(tensor(data=[1, 2, 3, None])), "inputs[0] 'x'.data: element 3 is null"),
        (request(tensor(parameters=[])), "inputs[0] 'x'.parameters must be an object"),
        (request(tensor(parameters={"binary_data_size": 4})), "inputs[0] 'x' has both data and"),
        (
            request(without("data") | {"parameters": {"binary_data_size": 4}}),
            "inputs[0] 'x'.parameters.binary_data_size",
        ),
        (request(tensor(), parameters={"a": [1]}), "parameters.a must be a string, a number or a boolean"),
        (
            request(tensor(), parameters={"binary_data_output": 1}),
            "parameters.binary_data_output must be true or false",
        ),
        (request(tensor(), id=7), "'id' must be a string"),
        (request(tensor(), outputs={}), "'outputs' must be a list"),
        (request(tensor(), outputs=["y"]), "outputs[0].name must be a string"),
        (request(tensor(), outputs=[{"name": "z"}]), "the model has no output 'z'"),
        (request(tensor(), outputs=[{"name": "y"}, {"name": "y"}]), "output 'y' is asked for twice"),
    ],
)
def test_a_wrong_request_is_refused_and_the_field_is_named(body, message):
    with pytest.raises(InvalidInputError) as caught:
        v2.decode_request(body, SIGNATURE)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("place", ["inputs", "outputs"])
def test_shared_memory_is_refused_in_the_words_of_grpc(place):
    asked = {"name": "x" if place == "inputs" else "y", "parameters": {"shared_memory_region": "r"}}
    body = request(tensor(), outputs=[asked]) if place == "outputs" else request(without("data") | asked)
    with pytest.raises(InvalidInputError) as over_http:
        v2.decode_request(body, SIGNATURE)
    message = messages.ModelInferRequest()
    message.inputs.add(name="x", datatype="FP32", shape=(1, 4)).contents.fp32_contents.extend([1, 2, 3, 4])
    message.outputs.add(name="y")
    getattr(message, place)[0].parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(InvalidInputError) as over_grpc:
        codec.decode(message, [], SIGNATURE)
    assert str(over_http.value) == str(over_grpc.value)
    assert str(over_http.value).startswith(f"{place}[0] '{asked['name']}'.parameters['shared_memory_region']: ")


def test_missing_inputs_are_listed_with_what_the_model_takes():
    body = request({"name": "a", "shape": [1, 1], "datatype": "INT64", "data": [1]})
    with pytest.raises(InvalidInputError, match=r"missing input 'b'; the model takes 'a' \(INT64"):
        v2.decode_request(body, PAIR)


def test_a_request_is_read_with_id_parameters_and_outputs():
    body = request(tensor(), id="7", parameters={"k": 1}, outputs=[{"name": "y", "parameters": {"binary_data": True}}])
    decoded = v2.decode_request(body, SIGNATURE)
    assert decoded.inputs["x"].tolist() == [[1, 2, 3, 4]]
    assert (decoded.id, decoded.parameters, decoded.outputs) == ("7", {"k": 1}, ("y",))
    assert decoded.wants_binary("y")
    assert not decoded.wants_binary("other")


def test_nulls_for_what_is_optional_are_as_good_as_nothing():
    decoded = v2.decode_request(request(tensor(), id=None, parameters=None, outputs=None), SIGNATURE)
    assert (decoded.id, decoded.parameters, decoded.outputs) == ("", {}, ())


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name not in ("FP16", "BF16")])
def test_every_datatype_goes_in_and_comes_out(datatype):
    data = {"BOOL": [True, False], "BYTES": ["a", "ü"]}.get(datatype, [0, 1])
    decoded = v2.decode_request(request(tensor(datatype=datatype, shape=[2, 1], data=data)), ANYTHING)
    answer = orjson.loads(v2.encode_response(decoded, decoded.inputs, "m", "1").body)
    output = {"name": "x", "datatype": datatype, "shape": [2, 1], "data": data}
    assert answer == {"model_name": "m", "model_version": "1", "outputs": [output]}


def test_fp16_has_no_json_form_but_a_binary_one():
    with pytest.raises(InvalidInputError, match="FP16 has no JSON form"):
        v2.decode_request(request(tensor(datatype="FP16")), ANYTHING)
    document = request(without("data") | {"datatype": "FP16", "parameters": {"binary_data_size": 8}})
    blob = np.arange(4, dtype="<f2").tobytes()
    decoded = v2.decode_request(document + blob, ANYTHING, len(document))
    with pytest.raises(NotRepresentableError, match="FP16"):
        v2.encode_response(decoded, decoded.inputs, "m")
    decoded.binary_default = True
    encoded = v2.encode_response(decoded, decoded.inputs, "m")
    assert encoded.header_length is not None
    assert encoded.body[encoded.header_length :] == blob
    assert orjson.loads(encoded.body[: encoded.header_length])["outputs"][0]["parameters"] == {"binary_data_size": 8}


@pytest.mark.parametrize(
    ("size", "header", "message"),
    [
        (16, 0, "Inference-Header-Content-Length is 0"),
        (16, 10_000, "Inference-Header-Content-Length is 10000"),
        (15, None, "inputs[0] 'x' has 15 bytes, but FP32 [1, 4] has 16"),
        (17, None, "inputs[0] 'x'.parameters.binary_data_size is 17, but 16 bytes are left"),
        (-1, None, "inputs[0] 'x'.parameters.binary_data_size is -1"),
        ("16", None, "inputs[0] 'x'.parameters.binary_data_size is '16'"),
    ],
)
def test_wrong_binary_lengths_are_refused(size, header, message):
    document = request(without("data") | {"parameters": {"binary_data_size": size}})
    with pytest.raises(InvalidInputError) as caught:
        v2.decode_request(document + bytes(16), SIGNATURE, len(document) if header is None else header)
    assert str(caught.value).startswith(message)


def test_binary_data_that_nobody_claims_is_refused():
    document = request(tensor())
    with pytest.raises(InvalidInputError, match="2 bytes of binary data are left"):
        v2.decode_request(document + b"xx", SIGNATURE, len(document))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON,
        "parameters": JSON,
        "outputs": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["y", "z"])}, optional={"parameters": JSON}))
        | JSON,
        "inputs": JSON
        | st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "name": st.sampled_from(["x", "a", "b"]) | JSON,
                    "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON,
                    "datatype": st.sampled_from(list(DATATYPES)) | JSON,
                    "data": st.lists(st.integers(-300, 300) | st.text(max_size=3) | st.booleans(), max_size=4) | JSON,
                    "parameters": JSON,
                },
            ),
            max_size=3,
        ),
    },
)
SIGNATURES = st.sampled_from([SIGNATURE, PAIR, ANYTHING])


@given(st.binary() | (JSON | NEARLY).map(orjson.dumps), SIGNATURES, st.none() | st.integers(0, 200))
def test_whatever_the_bytes_a_client_is_told_a_4xx_or_gets_arrays(body, signature, header_length):
    try:
        decoded = v2.decode_request(body, signature, header_length)
    except RequestError as error:
        assert 400 <= error.status < 500  # noqa: PT017  # whether it is refused depends on the bytes
        assert str(error)  # noqa: PT017
    else:
        assert decoded.inputs


@given(st.binary() | JSON.map(orjson.dumps), SIGNATURES)
def test_whatever_the_bytes_the_plain_form_is_a_4xx_or_arrays(body, signature):
    try:
        tensors = plain.decode_rows(body, signature)
    except RequestError as error:
        assert 400 <= error.status < 500  # noqa: PT017  # as above
    else:
        assert tensors


@pytest.mark.parametrize(
    "body",
    [
        {"x": [[1, 2, 3, 4]]},
        {"instances": [[1, 2, 3, 4]]},
        {"x": [1, 2, 3, 4]},
        [[1, 2, 3, 4]],
        [{"a": 1, "b": 2, "c": 3, "d": 4}],
        {"instances": [{"d": 4, "c": 3, "b": 2, "a": 1}]},
        {"a": 1, "b": 2, "c": 3, "d": 4},
    ],
)
def test_every_plain_form_means_the_same(body):
    decoded = plain.decode_rows(orjson.dumps(body), SIGNATURE)
    assert decoded["x"].tolist() == [[1, 2, 3, 4]]


def test_records_fill_inputs_of_one_column_each():
    decoded = plain.decode_rows(orjson.dumps([{"a": 1, "b": "u"}, {"a": 2, "b": "v"}]), PAIR)
    assert decoded["a"].tolist() == [[1], [2]]
    assert decoded["b"].tolist() == [[b"u"], [b"v"]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"7", "expected {"),
        (b'{"y": [[1]]}', "unknown input 'y'"),
        (b'{"x": [[1, 2]]}', "input 'x' has shape [1, 2]"),
        (b'{"x": [[1, 2, 3, 4], [1]]}', "x: the nested lists are ragged"),
        (b'{"x": [[1, 2, 3, "4"]]}', "x: element 3 is '4'"),
        (b'[{"a": 1, "b": 2, "c": 3}]', "record 0 has no column 'd'"),
        (b'[{"a": 1, "b": 2, "c": 3, "e": 4}]', "record 0 has an unknown column 'e'"),
        (b'[{"a": 1, "b": 2, "c": 3, "d": 4}, 5]', "record 1 must be an object"),
    ],
)
def test_a_wrong_plain_request_is_refused_by_name(body, message):
    with pytest.raises(InvalidInputError) as caught:
        plain.decode_rows(body, SIGNATURE)
    assert str(caught.value).startswith(message)
