"""Inference requests and answers of the Open Inference Protocol V2 over REST: JSON, and the binary tensor extension."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway_serving.codec import binary, elements
from slipway_serving.codec.classification import CLASSIFICATION, Classes, class_count, classes
from slipway_serving.datatypes import Array, Datatype, Tensors, datatype_named, datatype_of
from slipway_serving.errors import InvalidInputError, ModelFailedError, NotRepresentableError
from slipway_serving.signature import Shape, Signature

_Outputs = tuple[tuple[str, ...], dict[str, bool], Classes | None]
_SCALARS = (str, int, float, bool)
_SHARED_MEMORY = "shared_memory_region"
_RARE = frozenset({_SHARED_MEMORY, CLASSIFICATION})


@dataclass(slots=True)
class InferRequest:
    """One decoded inference request."""

    inputs: Tensors
    outputs: tuple[str, ...] = ()
    """Names asked for, in this order; empty means the model's default outputs."""
    parameters: dict[str, Any] = field(default_factory=dict)
    id: str = ""
    binary: Mapping[str, bool] = field(default_factory=dict)
    binary_default: bool = False
    classes: Classes | None = None
    """What is to be classified; None where that is nothing."""

    def wants_binary(self, output: str) -> bool:
        return self.binary.get(output, self.binary_default)


def decode_request(
    body: bytes | bytearray | memoryview, signature: Signature, header_length: int | None = None
) -> InferRequest:
    """Reads a request. `header_length` is the header Inference-Header-Content-Length: how much of the body is JSON.

    Raises InvalidInputError, always naming the field, for whatever cannot be a request to a model of this signature.
    """
    blobs = _Blobs(body, header_length)
    document = elements.loads(blobs.json)
    if type(document) is not dict:
        raise InvalidInputError("the request must be a JSON object with 'inputs'")
    inputs = _inputs(document, signature, blobs)
    blobs.check_consumed()
    outputs, as_binary, classified = _outputs(document, signature)
    parameters = _parameters(document, "parameters")
    return InferRequest(
        inputs,
        outputs,
        parameters,
        _optional_string(document, "id"),
        as_binary,
        _flag(parameters, "binary_data_output", "parameters"),
        classified,
    )


class _Blobs:
    """The binary part of a body: consecutive pieces, in the order of the inputs."""

    def __init__(self, body: bytes | bytearray | memoryview, header_length: int | None) -> None:
        self.json: bytes | bytearray | memoryview = body
        self._rest = memoryview(b"")
        if header_length is not None:
            if not 0 < header_length <= len(body):
                raise InvalidInputError(
                    f"Inference-Header-Content-Length is {header_length}, but the body has {len(body)} bytes"
                )
            view = memoryview(body)
            self.json, self._rest = view[:header_length], view[header_length:]

    def take(self, size: object, where: str) -> memoryview:
        if type(size) is not int or not 0 <= size <= len(self._rest):
            raise InvalidInputError(
                f"{where}.parameters.binary_data_size is {size!r:.40}, but {len(self._rest)} bytes are left"
            )
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def check_consumed(self) -> None:
        if self._rest:
            raise InvalidInputError(f"{len(self._rest)} bytes of binary data are left that no input has claimed")


def _inputs(document: dict[str, Any], signature: Signature, blobs: _Blobs) -> Tensors:
    entries = document.get("inputs")
    if type(entries) is not list:
        raise InvalidInputError("'inputs' is missing" if entries is None else "'inputs' must be a list of tensors")
    tensors: Tensors = {}
    for index, entry in enumerate(entries):
        if type(entry) is not dict:
            raise InvalidInputError(f"inputs[{index}] must be an object with name, shape, datatype and data")
        name = entry.get("name")
        if type(name) is not str or not name:
            raise InvalidInputError(f"inputs[{index}].name must be a string")
        if name in tensors:
            raise InvalidInputError(f"input '{name:.80}' is given twice")
        tensors[name] = _input(entry, f"inputs[{index}] '{name:.80}'", signature, blobs)
    if not tensors:
        raise InvalidInputError("'inputs' is empty")
    signature.check_complete(tensors)
    return tensors


def _input(entry: dict[str, Any], where: str, signature: Signature, blobs: _Blobs) -> Array:
    spec = signature.input(entry["name"])
    shape = _shape(entry.get("shape"), where)
    try:
        datatype = datatype_named(entry.get("datatype"))
    except ValueError as error:
        raise InvalidInputError(f"{where}: {error}") from None
    if spec is not None:
        spec.check(datatype, shape)
    parameters = _parameters(entry, f"{where}.parameters") if "parameters" in entry else {}
    check_offered(parameters, where)
    if "binary_data_size" in parameters:
        if "data" in entry:
            raise InvalidInputError(f"{where} has both data and parameters.binary_data_size; send one")
        return binary.array_from(blobs.take(parameters["binary_data_size"], where), datatype, shape, where)
    if "data" not in entry:
        raise InvalidInputError(f"{where} has no data")
    if not datatype.has_json_form:
        raise InvalidInputError(f"{where}: {datatype} has no JSON form in the protocol; send it with binary_data_size")
    return elements.array_of(entry["data"], datatype, shape, f"{where}.data")


def _shape(value: object, where: str) -> Shape:
    if type(value) is not list or len(value) > elements.MAX_RANK:
        raise InvalidInputError(
            f"{where}.shape must be a list of at most {elements.MAX_RANK} lengths, got {value!r:.60}"
        )
    for length in value:
        if type(length) is not int or length < 0:
            raise InvalidInputError(f"{where}.shape has {length!r:.40}; lengths are whole numbers from 0")
    return tuple(value)


def _outputs(document: dict[str, Any], signature: Signature) -> _Outputs:
    entries = document.get("outputs")
    if not entries and (entries is None or type(entries) is list):
        return (), {}, None
    if type(entries) is not list:
        raise InvalidInputError("'outputs' must be a list of objects with a name")
    as_binary: dict[str, bool] = {}
    counts: dict[str, int] = {}
    names: dict[str, None] = {}
    for index, entry in enumerate(entries):
        name = entry.get("name") if type(entry) is dict else None
        if type(name) is not str or not name:
            raise InvalidInputError(f"outputs[{index}].name must be a string")
        if name in names:
            raise InvalidInputError(f"output '{name:.80}' is asked for twice")
        names[name] = None
        parameters = _parameters(entry, f"outputs[{index}].parameters")
        if "binary_data" in parameters:
            as_binary[name] = _flag(parameters, "binary_data", f"outputs[{index}].parameters")
        if not _RARE.isdisjoint(parameters):
            where = f"outputs[{index}] '{name:.80}'"
            check_offered(parameters, where)
            counts[name] = class_count(parameters[CLASSIFICATION], where)
    signature.check_outputs(tuple(names))
    return tuple(names), as_binary, classes(counts, signature) if counts else None


def check_offered(parameters: Container[str], where: str) -> None:
    """Raises InvalidInputError for a tensor in shared memory: its answer would not be what was asked for."""
    if _SHARED_MEMORY in parameters:
        raise InvalidInputError(f"{where}.parameters['{_SHARED_MEMORY}']: shared memory is not offered; send the data")


def _parameters(entry: dict[str, Any], where: str) -> dict[str, Any]:
    value = entry.get("parameters")
    if value is None:
        return {}
    if type(value) is not dict:
        raise InvalidInputError(f"{where} must be an object")
    for key, item in value.items():
        if not isinstance(item, _SCALARS):
            raise InvalidInputError(f"{where}.{key:.80} must be a string, a number or a boolean")
    return value


def _flag(parameters: dict[str, Any], key: str, where: str) -> bool:
    value = parameters.get(key, False)
    if type(value) is not bool:
        raise InvalidInputError(f"{where}.{key} must be true or false")
    return value


def _optional_string(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if type(value) is not str:
        raise InvalidInputError(f"'{key}' must be a string")
    return value


@dataclass(frozen=True, slots=True)
class EncodedResponse:
    """A body; `header_length` says how much of it is JSON where binary tensors follow, else None."""

    body: bytes
    header_length: int | None = None


def encode_response(request: InferRequest, outputs: Tensors, name: str, version: str = "") -> EncodedResponse:
    """Writes the answer to a request. Raises NotRepresentableError where an output has no JSON form."""
    document: dict[str, Any] = {"model_name": name}
    if version:
        document["model_version"] = version
    if request.id:
        document["id"] = request.id
    if request.classes is not None:
        outputs = request.classes.of(outputs)
    blobs: list[bytes] = []
    document["outputs"] = [
        _output(output, array, blobs if request.wants_binary(output) else None) for output, array in outputs.items()
    ]
    text = elements.dumps(document)
    if not blobs:
        return EncodedResponse(text)
    return EncodedResponse(b"".join((text, *blobs)), len(text))


def _output(name: str, array: Array, blobs: list[bytes] | None) -> dict[str, Any]:
    datatype = _datatype(name, array)
    tensor: dict[str, Any] = {"name": name, "datatype": datatype.name, "shape": array.shape}
    if blobs is not None:
        blobs.append(binary.bytes_of(array, datatype))
        tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
        return tensor
    if not datatype.has_json_form:
        raise NotRepresentableError(
            f"output '{name}' is {datatype}, which has no JSON form in the protocol; ask with binary_data"
        )
    tensor["data"] = elements.json_data(array, datatype, f"output '{name}'")
    return tensor


def _datatype(name: str, array: Array) -> Datatype:
    try:
        return datatype_of(array)
    except ValueError as error:
        raise ModelFailedError(f"output '{name}': {error}") from None
