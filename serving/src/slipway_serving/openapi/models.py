"""The paths of one model, with the inputs and outputs that it really has."""

from __future__ import annotations

from typing import Any

from slipway_serving.codec import plain
from slipway_serving.datatypes import DATATYPES
from slipway_serving.models import ServedModel
from slipway_serving.openapi import schemas
from slipway_serving.openapi.operations import EVENTS, OCTETS, content, get, post, reference
from slipway_serving.openapi.schemas import (
    CALLING,
    COUNT,
    SCALAR,
    STREAM,
    TEXT,
    Schema,
    any_of,
    array,
    closed,
    element,
    nested,
    packed,
)
from slipway_serving.runtimes.base import OperationsRuntime
from slipway_serving.signature import Signature, TensorSpec

_PARAMETERS: Schema = {"type": "object", "additionalProperties": SCALAR}
_ANYTHING: Schema = {"type": "object", "minProperties": 1}
_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "how many bytes of the body are JSON, where binary tensors follow",
    "schema": COUNT,
}


def paths(model: ServedModel, *, only: bool, default: bool) -> Schema:
    """A model's paths: with its version, without for the `default` one, and `/predict` where it is the `only` one."""
    found: Schema = {}
    roots = [f"/versions/{model.version}"] if model.version else []
    for version in [*roots, *([""] if default else [])]:
        found |= _v2(model, f"/v2/models/{model.name}{version}") | _v1(model, f"/v1/models/{model.name}{version}")
    if default:
        found[f"/predict/{model.name}"] = _plain(model)
    if only:
        found["/predict"] = _plain(model)
    return found


# V2


def _v2(model: ServedModel, root: str) -> Schema:
    tag, signature = model.name, model.signature
    ready = closed({"name": {"const": model.name}, "ready": {"const": True}})
    request, example = v2_request(signature), _v2_example(signature)
    bodies = {**content(request, example), **content({}, None, OCTETS)}
    answers = {**content(_v2_answer(model)), **content({}, None, OCTETS)}
    generated = content(_generated(model))
    asked = content(generate_request(signature), _examples(signature))
    return {
        root: get(tag, "What the model takes and gives", content(reference("ModelMetadata")), errors=(404,)),
        f"{root}/ready": get(tag, "Whether the model answers", content(ready), errors=(404,)),
        f"{root}/infer": post(tag, "Inference", bodies, answers, parameters=[_LENGTH]),
        f"{root}/generate": post(tag, "Inference in plain JSON, one answer", asked, generated),
        f"{root}/generate_stream": post(tag, "The same as a stream of events", asked, content(STREAM, None, EVENTS)),
        f"{root}/config": get(tag, "Triton's form of the settings", content(reference("ModelConfig")), errors=(404,)),
        f"{root}/stats": get(tag, "Counts and times", content(reference("ModelStatistics")), errors=(404,)),
    }


def v2_request(signature: Signature) -> Schema:
    """That as many elements are sent as the shape says, no schema can tell."""
    inputs = [_input_tensor(spec) for spec in signature.inputs] or [_any_tensor()]
    many = len(signature.inputs)
    return {
        "type": "object",
        "properties": {
            "id": {"type": ["string", "null"]},
            "parameters": any_of(_PARAMETERS, {"type": "null"}),
            "inputs": array(any_of(*inputs), many or 1, many or None),
            "outputs": any_of(array(_requested(signature)), {"type": "null"}),
        },
        "required": ["inputs"],
    }


def _requested(signature: Signature) -> Schema:
    names = [spec.name for spec in signature.all_outputs]
    return {
        "type": "object",
        "properties": {
            "name": {"enum": names} if names else {**TEXT, "minLength": 1},
            "parameters": any_of({**_PARAMETERS, "properties": {"binary_data": {"type": "boolean"}}}, {"type": "null"}),
        },
        "required": ["name"],
    }


def _input_tensor(spec: TensorSpec) -> Schema:
    datatypes = [spec.datatype, *sorted(spec.accepts - {spec.datatype}, key=str)]
    with_data = [datatype for datatype in datatypes if datatype.has_json_form]
    shape = array(COUNT, 0, 32)
    if spec.shape == ():
        shape = array({}, 0, 0)
    elif spec.shape is not None:
        lengths = [COUNT if length == -1 else {"const": length} for length in spec.shape]
        shape = {"type": "array", "prefixItems": lengths, "minItems": len(lengths), "maxItems": len(lengths)}
    forms = [
        {
            "datatype": {"const": datatype.name},
            "data": any_of(array(element(datatype)), nested(spec.shape, element(datatype))),
        }
        for datatype in with_data
    ]
    named = {"name": {"const": spec.name}, "shape": shape, "parameters": _PARAMETERS}
    binary = {
        "datatype": {"enum": [datatype.name for datatype in datatypes]},
        "parameters": {**_PARAMETERS, "properties": {"binary_data_size": COUNT}, "required": ["binary_data_size"]},
        "data": False,
    }
    return any_of(
        *(
            {"type": "object", "properties": {**named, **form}, "required": ["name", "shape", "datatype", "data"]}
            for form in forms
        ),
        {
            "type": "object",
            "properties": {**named, **binary},
            "required": ["name", "shape", "datatype", "parameters"],
        },
    )


def _any_tensor() -> Schema:
    properties = {
        "name": {**TEXT, "minLength": 1},
        "shape": array(COUNT, 0, 32),
        "datatype": {"enum": list(DATATYPES)},
        "parameters": _PARAMETERS,
        "data": {},
    }
    return {"type": "object", "properties": properties, "required": ["name", "shape", "datatype"]}


def _v2_answer(model: ServedModel) -> Schema:
    outputs = [
        {
            "name": {"const": spec.name},
            "datatype": {"const": spec.datatype.name},
            "shape": array(COUNT),
            "data": array(schemas.answer(TensorSpec("", spec.datatype, ()))),
            "parameters": _PARAMETERS,
        }
        for spec in model.signature.all_outputs
    ] or [
        {
            "name": TEXT,
            "datatype": {"enum": list(DATATYPES)},
            "shape": array(COUNT),
            "data": array({}),
            "parameters": {},
        }
    ]
    tensors = [closed(properties, ["name", "datatype", "shape"]) for properties in outputs]
    version = {"model_version": {"const": model.version}} if model.version else {}
    return closed(
        {"model_name": {"const": model.name}, **version, "id": TEXT, "outputs": array(any_of(*tensors))},
        ["model_name", *version, "outputs"],
    )


def _v2_example(signature: Signature) -> Any:
    tensors = []
    for name, tensor in signature.example().items():
        spec = signature.input(name)
        data = schemas.example(tensor.ravel(), name)
        if spec is None or not spec.datatype.has_json_form or data is None:
            return None
        tensors.append({"name": name, "shape": list(tensor.shape), "datatype": spec.datatype.name, "data": data})
    return {"inputs": tensors} if tensors else None


# Triton's generate


def generate_request(signature: Signature) -> Schema:
    inputs = {spec.name: any_of(*_single(spec), *schemas.values(spec)) for spec in signature.inputs}
    document: Schema = {
        "type": "object",
        "properties": {"id": {}, "parameters": any_of(_PARAMETERS, {"type": "null"}), **inputs},
        "required": list(inputs),
        "additionalProperties": SCALAR,
    }
    if not inputs:
        document["additionalProperties"] = {"type": [*SCALAR["type"], "array"]}
    return document


def _single(spec: TensorSpec) -> list[Schema]:
    fits = spec.shape is None or all(length in (-1, 1) for length in spec.shape)
    return [element(spec.datatype)] if fits and spec.shape != () else []


def _generated(model: ServedModel) -> Schema:
    version = {"model_version": {"const": model.version}} if model.version else {}
    named = {"model_name": {"const": model.name}, **version}
    outputs = {}
    for spec in model.signature.outputs:
        item = schemas.answer(TensorSpec("", spec.datatype, ()))
        outputs[spec.name] = any_of(item, array(item))
    return closed({**named, **outputs}) if outputs else {"type": "object", "properties": named, "required": [*named]}


def _examples(signature: Signature) -> Any:
    """An example of inputs by name; None where one has no JSON form, or none is declared."""
    found = {name: schemas.example(array, name) for name, array in signature.example().items()}
    return None if not found or None in found.values() else found


# The plain form


def _plain(model: ServedModel) -> Schema:
    answer = closed({"model": {"const": model.name}, "outputs": _outputs(model.signature)})
    tag, signature = model.name, model.signature
    request = plain_request(signature)
    shown = closed({"say": TEXT, "request": request, "response": answer})
    return {
        **get(tag, "An example to send back, and its answer", content(shown), errors=CALLING),
        **post(tag, "Prediction", content(request, _examples(signature)), content(answer)),
    }


def _outputs(signature: Signature) -> Schema:
    outputs = {spec.name: schemas.answer(spec) for spec in signature.outputs}
    return closed(outputs) if outputs else {"type": "object"}


def plain_request(signature: Signature) -> Schema:
    """Inputs by name; rows, of the only input; records by column name."""
    if not signature.inputs:
        return any_of(_ANYTHING, {"type": "array"})
    inputs = {spec.name: any_of(*schemas.values(spec)) for spec in signature.inputs}
    forms = [closed(inputs)]
    if len(signature.inputs) == 1:
        rows = [schema for schema in schemas.values(signature.inputs[0]) if schema.get("type", "array") == "array"]
        keys = [key for key in plain.ROWS if key not in inputs]
        forms += [*rows, *(closed({key: rowset}) for key in keys for rowset in rows)]
    record = _record(signature)
    if record is not None:
        records = array(record, 1)
        forms += [record, records]
        forms += [closed({key: records}) for key in plain.ROWS if len(signature.inputs) == 1 and key not in inputs]
    return any_of(*forms)


def _record(signature: Signature) -> Schema | None:
    columns = plain.column_names(signature)
    if not columns:
        return None
    if len(signature.inputs) == 1:
        return {"title": "record", **closed(dict.fromkeys(columns, element(signature.inputs[0].datatype)))}
    return closed({spec.name: element(spec.datatype) for spec in signature.inputs})


# V1


def _v1(model: ServedModel, root: str) -> Schema:
    tag, signature = model.name, model.signature
    status = {**reference("Model"), "description": "for clients of KServe and of OpenAI"}
    asked = content(v1_request(signature), _v1_example(signature))
    found = {
        root: get(tag, "Whether the model answers", content(status), errors=(404,)),
        f"{root}:predict": post(tag, "Prediction", asked, content(v1_answer(signature))),
    }
    runtime = model.runtime
    if isinstance(runtime, OperationsRuntime) and "explain" in runtime.operations:
        explained = {"type": "object", "properties": {"explanations": {}}, "required": ["explanations"]}
        found[f"{root}:explain"] = post(tag, "Explanation", asked, content(explained), errors=(*CALLING, 501))
    return found


def v1_request(signature: Signature) -> Schema:
    name = {"signature_name": {"enum": ["", "serving_default"]}}
    if not signature.inputs:
        rows, whole = [array({}, 1)], list[Schema]([{}])
    else:
        rows, whole = _v1_rows(signature), _v1_whole(signature)
    instances = closed({"instances": any_of(*rows), **name}, ["instances"])
    inputs = closed({"inputs": any_of(*whole), **name}, ["inputs"])
    return any_of(*([instances] if rows else []), inputs)


def _v1_rows(signature: Signature) -> list[Schema]:
    if any(spec.shape == () for spec in signature.inputs):
        return []
    lengths = {spec.shape[0] if spec.shape else -1 for spec in signature.inputs} - {-1}
    low, high = max(lengths, default=1), min(lengths, default=None)
    items = {
        spec.name: nested(None if spec.shape is None else spec.shape[1:], packed(spec.datatype))
        for spec in signature.inputs
    }
    forms = [array(closed(items), max(1, low), high)]
    return forms if len(items) > 1 else [array(next(iter(items.values())), max(1, low), high), *forms]


def _v1_whole(signature: Signature) -> list[Schema]:
    items = {spec.name: nested(spec.shape, packed(spec.datatype)) for spec in signature.inputs}
    return [closed(items)] if len(items) > 1 else [next(iter(items.values())), closed(items)]


def v1_answer(signature: Signature) -> Schema:
    outputs = {spec.name: _loose_packed(spec, spec.shape) for spec in signature.outputs}
    if len(outputs) == 1:
        predictions = next(iter(outputs.values()))
    elif outputs and all(spec.is_batch for spec in signature.outputs):
        row = {spec.name: _loose_packed(spec, (spec.shape or ())[1:]) for spec in signature.outputs}
        predictions = array(closed(row))
    else:
        predictions = closed(outputs) if outputs else {}
    return closed({"predictions": predictions})


def _loose_packed(spec: TensorSpec, shape: Any) -> Schema:
    item = schemas.answer(TensorSpec("", spec.datatype, ()))
    if item == TEXT:
        item = packed(spec.datatype)
    return schemas.loose(nested(shape, item))


def _v1_example(signature: Signature) -> Any:
    found = _examples(signature)
    return None if found is None else {"inputs": found}
