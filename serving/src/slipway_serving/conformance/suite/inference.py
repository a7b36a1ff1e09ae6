"""Inference in JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from slipway_serving.conformance.checks import CheckFailed, Group, Level, NotTested, expect
from slipway_serving.conformance.client import Answer
from slipway_serving.conformance.suite.metadata import expect_error
from slipway_serving.conformance.target import Target
from slipway_serving.conformance.tensors import DATATYPES, SAMPLES, expect_same, flatten

INFER = Group("infer", "REST, Inference Request JSON Object")
_TENSOR_DATA = "REST, Tensor Data"
_RESPONSE = "REST, Inference Response JSON Object"


def expect_outputs(answer: Answer) -> dict[str, Any]:
    """A 200 with well-formed outputs, as a document. Raises CheckFailed."""
    expect(answer.status == 200, answer.seen)
    length = answer.headers.get("inference-header-content-length", "")
    json_part = Answer(200, answer.headers, answer.body[: int(length)]) if length.isdigit() else answer
    document = json_part.object()
    outputs = document.get("outputs")
    expect(isinstance(outputs, list) and all(_is_output(output) for output in outputs), answer.seen)
    return document


def _is_output(output: Any) -> bool:
    if not isinstance(output, dict) or not isinstance(output.get("name"), str):
        return False
    shape = output.get("shape")
    if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        return False
    if output.get("datatype") not in {*DATATYPES, "BF16"}:
        return False
    if "data" not in output:
        return "binary_data_size" in (output.get("parameters") or {})
    return isinstance(output["data"], list) and len(flatten(output["data"])) == math.prod(shape)


def expect_echo(target: Target, datatype: str, tensor: Mapping[str, Any], answer: Answer) -> str:
    """The tensor comes back with its datatype, shape and elements. Raises CheckFailed."""
    output = target.echoed(datatype, expect_outputs(answer))
    expect((output["datatype"], output["shape"]) == (datatype, tensor["shape"]), answer.seen)
    expect_same(datatype, flatten(tensor["data"]), output.get("data"), answer.seen)
    return answer.seen


def _datatype(datatype: str, target: Target) -> str:
    if not target.echoes and any(each["datatype"] == datatype for each in target.declared):
        answer = target.infer()
        expect_outputs(answer)
        return answer.seen
    tensor = target.tensor(datatype)
    return expect_echo(target, datatype, tensor, target.infer({"inputs": [tensor]}))


for _name in DATATYPES:
    if _name != "FP16":
        INFER.add(
            Level.REQUIRED,
            _name.lower(),
            f"{_name} values, its least and greatest among them, go in and come out",
            partial(_datatype, _name),
            _TENSOR_DATA,
        )


@INFER.required(
    "fp16", "FP16, for which JSON is 'problematic', goes in and out or is refused as an error", _TENSOR_DATA
)
def fp16(target: Target) -> str:
    tensor = target.tensor("FP16")
    answer = target.infer({"inputs": [tensor]})
    return expect_error(answer) if answer.status != 200 else expect_echo(target, "FP16", tensor, answer)


@INFER.required("response", "the answer has model_name, and outputs with name, shape, datatype and data", _RESPONSE)
def response(target: Target) -> str:
    answer = target.infer()
    document = expect_outputs(answer)
    expect(document.get("model_name") == target.model, answer.seen)
    return answer.seen


@INFER.required("optional-fields", "what is left out is left out: model_version, id and parameters are never null")
def optional_fields(target: Target) -> str:
    answer = target.infer()
    document = expect_outputs(answer)
    nulls: list[str] = [
        key for key in ("model_version", "id", "parameters") if key in document and document[key] is None
    ]
    nulls += [f"outputs.{key}" for output in document["outputs"] for key in output if output[key] is None]
    expect(not nulls, f"null: {', '.join(nulls)}: {answer.seen}")
    return answer.seen


@INFER.required("nested-data", "data may be nested as its shape is", _TENSOR_DATA)
def nested_data(target: Target) -> str:
    datatype = target.any_tensor()
    values = SAMPLES[datatype]
    tensor = target.tensor(datatype, data=[values[:2], values[2:]])
    return expect_echo(target, datatype, tensor, target.infer({"inputs": [tensor]}))


@INFER.required("whole-numbers", "a JSON number without a point is a value of a floating datatype", _TENSOR_DATA)
def whole_numbers(target: Target) -> str:
    tensor = target.tensor("FP32", data=[1, 2, -3, 4])
    return expect_echo(target, "FP32", tensor, target.infer({"inputs": [tensor]}))


def _id(given: str, target: Target) -> str:
    answer = target.infer(id=given)
    expect(expect_outputs(answer).get("id") == given, answer.seen)
    return answer.seen


INFER.add(Level.REQUIRED, "id", "an id that is given comes back", partial(_id, "42"))
INFER.add(Level.REQUIRED, "id-any-text", "an id may be any text, as any string of JSON", partial(_id, "größe / \u2603"))


@INFER.required("parameters", "parameters of the request and of an input may be strings, numbers and booleans")
def parameters(target: Target) -> str:
    given = {"text": "a", "number": 1.5, "whole": 3, "flag": True}
    inputs = [{**tensor, "parameters": given} for tensor in target.example()]
    answer = target.infer({"inputs": inputs, "parameters": given})
    expect_outputs(answer)
    return answer.seen


def two_tensors(target: Target) -> list[dict[str, Any]]:
    """Two inputs for a model that echoes any. Raises NotTested."""
    if not target.several:
        raise NotTested("the model does not echo several tensors; serve the model `identity`")
    return [
        {"name": "a", "shape": [3], "datatype": "INT64", "data": [1, 2, 3]},
        {"name": "b", "shape": [2, 1], "datatype": "BYTES", "data": ["x", "y"]},
    ]


def output_names(answer: Answer) -> list[str]:
    return [output["name"] for output in expect_outputs(answer)["outputs"]]


@INFER.required("several-inputs", "several inputs of different shapes and datatypes go in one request")
def several_inputs(target: Target) -> str:
    answer = target.infer({"inputs": two_tensors(target)})
    expect(sorted(output_names(answer)) == ["a", "b"], answer.seen)
    return answer.seen


@INFER.required("requested-outputs", "only the outputs that are asked for come back", "REST, Request Output")
def requested_outputs(target: Target) -> str:
    if target.several:
        answer = target.infer({"inputs": two_tensors(target), "outputs": [{"name": "b"}]})
        expect(output_names(answer) == ["b"], answer.seen)
        return answer.seen
    names = output_names(target.infer())
    answer = target.infer(outputs=[{"name": names[-1]}])
    expect(output_names(answer) == names[-1:], answer.seen)
    return answer.seen


@INFER.robust("output-order", "they come in the order in which they are asked for", "REST, Request Output")
def output_order(target: Target) -> str:
    answer = target.infer({"inputs": two_tensors(target), "outputs": [{"name": "b"}, {"name": "a"}]})
    expect(output_names(answer) == ["b", "a"], answer.seen)
    return answer.seen


@INFER.robust("no-outputs-named", "an empty list of outputs is as good as none: all come back")
def no_outputs_named(target: Target) -> str:
    answer = target.infer(outputs=[])
    expect(output_names(answer) != [], answer.seen)
    return answer.seen


@INFER.required("empty-tensor", "a length may be 0, 'representable as an unsigned integer': no elements go in and out")
def empty_tensor(target: Target) -> str:
    datatype = target.any_tensor()
    tensor = target.tensor(datatype, shape=[0, 2], data=[])
    return expect_echo(target, datatype, tensor, target.infer({"inputs": [tensor]}))


@INFER.robust("scalar", "a tensor of shape [] has one element")
def scalar(target: Target) -> str:
    datatype = target.any_tensor()
    tensor = target.tensor(datatype, data=SAMPLES[datatype][:1]) | {"shape": []}
    return expect_echo(target, datatype, tensor, target.infer({"inputs": [tensor]}))


@INFER.robust("large", "a tensor of 100,000 elements goes in and out")
def large(target: Target) -> str:
    tensor = target.tensor("INT32", shape=[100, 1000], data=list(range(100_000)))
    expect_echo(target, "INT32", tensor, target.infer({"inputs": [tensor]}))
    return "200"


@INFER.robust("no-content-type", "a request without Content-Type is JSON: tritonclient sends none")
def no_content_type(target: Target) -> str:
    body = json.dumps({"inputs": target.example()}).encode()
    answer = target.client.send("POST", target.path("/infer"), body)
    expect_outputs(answer)
    return answer.seen


@INFER.robust("charset", "Content-Type may carry a charset", "RFC 9110, 8.3.1")
def charset(target: Target) -> str:
    answer = target.infer(headers={"content-type": "application/json; charset=utf-8"})
    expect_outputs(answer)
    return answer.seen


@INFER.robust("slash", "a slash at the end of the path makes no difference, and no redirect")
def slash(target: Target) -> str:
    answer = target.client.post(target.path("/infer/"), {"inputs": target.example()})
    expect_outputs(answer)
    return answer.seen


@INFER.robust("method", "a GET of the inference path is a 405", "RFC 9110, 15.5.6")
def method(target: Target) -> str:
    answer = target.client.get(target.path("/infer"))
    if answer.status != 405:
        raise CheckFailed(answer.seen)
    return expect_error(answer)
