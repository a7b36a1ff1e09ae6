"""ModelInfer's messages as arrays, and back: raw contents are never copied on their way in.

protobuf would copy each raw tensor twice. So the top-level fields of a request are walked here, `raw_input_contents`
are taken as views, and protobuf reads what is left; an answer's head is protobuf's, its raw contents are appended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from slipway_serving.codec import binary, elements
from slipway_serving.codec.v2 import InferRequest
from slipway_serving.datatypes import BYTES, Array, Datatype, Tensors, datatype_named, datatype_of
from slipway_serving.errors import InvalidInputError, ModelFailedError
from slipway_serving.grpc import messages
from slipway_serving.signature import Shape, Signature, count

_RAW_INPUT = 7 << 3 | 2
_RAW_OUTPUT = 6 << 3 | 2
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_MAX_RANK = 32
_MAX_VARINT_BITS = 63
_BAD = "the message is not a ModelInferRequest"
_TYPED = {
    "BOOL": "bool_contents",
    **{f"INT{bits}": "int_contents" for bits in (8, 16, 32)},
    **{f"UINT{bits}": "uint_contents" for bits in (8, 16, 32)},
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def parse(data: bytes | bytearray | memoryview) -> tuple[Any, list[memoryview]]:
    """A ModelInferRequest without its raw contents, and those. Raises InvalidInputError."""
    head, raw = _split(memoryview(data))
    try:
        return messages.ModelInferRequest.FromString(head), raw
    except Exception:  # noqa: BLE001  # protobuf's DecodeError; whatever it is, the message cannot be read
        raise InvalidInputError(_BAD) from None


def _split(data: memoryview) -> tuple[bytes, list[memoryview]]:
    kept: list[memoryview] = []
    raw: list[memoryview] = []
    position = since = 0
    while position < len(data):
        start = position
        tag, position = _varint(data, position)
        end = _end(data, tag & 7, position)
        if tag == _RAW_INPUT:
            _, position = _varint(data, position)
            raw.append(data[position:end])
            kept.append(data[since:start])
            since = end
        position = end
    kept.append(data[since:])
    return (b"".join(kept) if raw else bytes(data)), raw


def _end(data: memoryview, wire: int, position: int) -> int:
    """Where a field's value ends. Groups and unknown wire types are no part of the protocol."""
    if wire == _BYTES:
        length, position = _varint(data, position)
        end = position + length
    elif wire == _VARINT:
        _, end = _varint(data, position)
    elif wire in (_EIGHT, _FOUR):
        end = position + (8 if wire == _EIGHT else 4)
    else:
        raise InvalidInputError(_BAD)
    if end > len(data):
        raise InvalidInputError(_BAD)
    return end


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift <= _MAX_VARINT_BITS:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the last byte of a number has no high bit
            return value, position
        shift += 7
    raise InvalidInputError(_BAD)


def decode(message: Any, raw: list[memoryview], signature: Signature) -> InferRequest:
    """Reads a request to a model of this signature. Raises InvalidInputError, always naming the field."""
    if raw and len(raw) != len(message.inputs):
        raise InvalidInputError(
            f"raw_input_contents has {len(raw)} entries, but there are {len(message.inputs)} inputs"
        )
    inputs: Tensors = {}
    for index, entry in enumerate(message.inputs):
        where = f"inputs[{index}] '{entry.name:.80}'"
        if not entry.name:
            raise InvalidInputError(f"inputs[{index}].name is missing")
        if entry.name in inputs:
            raise InvalidInputError(f"input '{entry.name:.80}' is given twice")
        inputs[entry.name] = _input(entry, where, signature, raw[index] if raw else None)
    if not inputs:
        raise InvalidInputError("'inputs' is empty")
    signature.check_complete(inputs)
    names = _output_names(message)
    signature.check_outputs(names)
    return InferRequest(inputs, names, parameters(message.parameters, "parameters"), message.id)


def _input(entry: Any, where: str, signature: Signature, raw: memoryview | None) -> Array:
    spec = signature.input(entry.name)
    shape = _shape(entry.shape, where)
    try:
        datatype = datatype_named(entry.datatype)
    except ValueError as error:
        raise InvalidInputError(f"{where}: {error}") from None
    if spec is not None:
        spec.check(datatype, shape)
    typed = entry.HasField("contents") and entry.contents.ByteSize() > 0
    if raw is not None:
        if typed:
            raise InvalidInputError(f"{where} has both contents and raw_input_contents; send one")
        return binary.array_from(raw, datatype, shape, where)
    return _typed(entry.contents, datatype, shape, f"{where}.contents")


def _shape(lengths: Any, where: str) -> Shape:
    shape = tuple(lengths)
    if len(shape) > _MAX_RANK:
        raise InvalidInputError(f"{where}.shape has {len(shape)} lengths; at most {_MAX_RANK} are possible")
    for length in shape:
        if length < 0:
            raise InvalidInputError(f"{where}.shape has {length}; lengths are whole numbers from 0")
    return shape


def _typed(contents: Any, datatype: Datatype, shape: Shape, where: str) -> Array:
    field = _TYPED.get(datatype.name)
    if field is None:
        raise InvalidInputError(f"{where}: {datatype} has no typed contents in the protocol; use raw_input_contents")
    for descriptor, _ in contents.ListFields():
        if descriptor.name != field:
            raise InvalidInputError(f"{where} has {descriptor.name}, but {datatype} is in {field}")
    values = list(getattr(contents, field))
    if len(values) != count(shape):
        raise InvalidInputError(f"{where} has {len(values)} elements, but shape {list(shape)} has {count(shape)}")
    if datatype is BYTES:
        array = np.empty(len(values), dtype=np.object_)
        array[:] = values
        return array.reshape(shape)
    if datatype.is_float:  # NaN and infinity have a form here
        return np.array(values, dtype=datatype.dtype).reshape(shape)
    return elements.elements(values, datatype, where).reshape(shape)


def _output_names(message: Any) -> tuple[str, ...]:
    names = tuple(entry.name for entry in message.outputs)
    for index, name in enumerate(names):
        if not name:
            raise InvalidInputError(f"outputs[{index}].name is missing")
        if name in names[:index]:
            raise InvalidInputError(f"output '{name:.80}' is asked for twice")
    return names


def parameters(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The value of each parameter. Raises InvalidInputError for one without a value."""
    values: dict[str, Any] = {}
    for key, parameter in given.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise InvalidInputError(f"{where}['{key:.80}'] has no value")
        values[key] = getattr(parameter, choice)
    return values


def encode(request: InferRequest, outputs: Tensors, name: str, version: str) -> bytes:
    """The ModelInferResponse; its contents are raw, because Triton's clients read no others."""
    answer = messages.ModelInferResponse(model_name=name, model_version=version, id=request.id)
    parts = [b""]
    for output, array in outputs.items():
        datatype = _datatype(output, array)
        answer.outputs.add(name=output, datatype=datatype.name, shape=array.shape)
        data = binary.bytes_of(array, datatype)
        parts += (bytes((_RAW_OUTPUT,)), _as_varint(len(data)), data)
    parts[0] = answer.SerializeToString()
    return b"".join(parts)


def _datatype(name: str, array: Array) -> Datatype:
    try:
        return datatype_of(array)
    except ValueError as error:
        raise ModelFailedError(f"output '{name}': {error}") from None


def _as_varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:  # noqa: PLR2004  # seven bits a byte
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
