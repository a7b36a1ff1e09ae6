"""ModelInfer's messages as arrays, and back: raw contents are never copied on their way in.

protobuf would copy each raw tensor twice. So the top-level fields of a request are walked here, `raw_input_contents`
are taken as views, and protobuf reads what is left; an answer's head is protobuf's, its raw contents are appended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from slipway_serving.codec import binary, elements
from slipway_serving.codec.classification import CLASSIFICATION, class_count, classes
from slipway_serving.codec.v2 import InferRequest, check_offered
from slipway_serving.datatypes import BYTES, Array, Datatype, Tensors, datatype_named, datatype_of
from slipway_serving.errors import InvalidInputError, ModelFailedError
from slipway_serving.grpc import messages
from slipway_serving.signature import Shape, Signature, count

_RAW_INPUT = 7 << 3 | 2
_RAW_OUTPUT = 6 << 3 | 2
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_INFER_RESPONSE = 2 << 3 | 2
_MAX_RANK = 32
_MAX_VARINT_BITS = 63
_MAX_FIELDS = 1 << 14
"""Inputs, raw contents, outputs and parameters of one request: walking them is this process's work, not protobuf's."""
_TAKEN_WHOLE = 16
"""A byte of numbers in raw contents costs at most such a part of one that is looked at."""
_BAD = "the message is not a ModelInferRequest"
FINAL_RESPONSE, WANTS_EMPTY_FINAL = "triton_final_response", "triton_enable_empty_final_response"
"""Triton's parameters of streams: whether an answer is a request's last, and that one without outputs shall say so."""
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
_ON_THE_WIRE = {"int_contents": np.dtype(np.int32), "uint_contents": np.dtype(np.uint32)}


def parse(data: bytes | bytearray | memoryview) -> tuple[Any, list[memoryview]]:
    """A ModelInferRequest without its raw contents, and those. Raises InvalidInputError."""
    head, raw = _split(memoryview(data))
    return messages.read("ModelInferRequest", head), raw


def _split(data: memoryview) -> tuple[bytes, list[memoryview]]:
    kept: list[memoryview] = []
    raw: list[memoryview] = []
    position = since = fields = 0
    while position < len(data):
        start = position
        fields += 1
        if fields > _MAX_FIELDS:
            raise InvalidInputError(f"the message has more than {_MAX_FIELDS} inputs, outputs and parameters")
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


def reading(message: Any, raw: list[memoryview], head: int) -> int:
    """Roughly how many bytes `decode` has to look at, of `head` that are not raw contents and of those."""
    pairs = zip(message.inputs, raw, strict=False)  # whether there are as many is for `decode` to say
    return head + sum(len(data) if entry.datatype == "BYTES" else len(data) // _TAKEN_WHOLE for entry, data in pairs)


def writing(request: InferRequest, outputs: Tensors) -> int:
    """Roughly how many bytes `encode` has to look at."""
    looked_at = () if request.classes is None else request.classes.counts
    return sum(
        array.nbytes if array.dtype.kind in "OUS" or name in looked_at else array.nbytes // _TAKEN_WHOLE
        for name, array in outputs.items()
    )


def identifier(data: bytes | bytearray | memoryview) -> str:
    """The id of a request that cannot be answered; empty where it has none, or cannot be read."""
    with contextlib.suppress(InvalidInputError):
        return str(parse(data)[0].id)
    return ""


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
    names, counts = _outputs(message)
    signature.check_outputs(names)
    given = parameters(message.parameters, "parameters")
    return InferRequest(inputs, names, given, message.id, classes=classes(counts, signature) if counts else None)


def _input(entry: Any, where: str, signature: Signature, raw: memoryview | None) -> Array:
    spec = signature.input(entry.name)
    check_offered(entry.parameters, where)
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
    if len(lengths) > _MAX_RANK:
        raise InvalidInputError(f"{where}.shape has {len(lengths)} lengths; at most {_MAX_RANK} are possible")
    shape = tuple(lengths)
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
    values = getattr(contents, field)
    if len(values) != count(shape):
        raise InvalidInputError(f"{where} has {len(values)} elements, but shape {list(shape)} has {count(shape)}")
    if datatype is BYTES:
        array = np.empty(len(values), dtype=np.object_)
        array[:] = list(values)
        return array.reshape(shape)
    array = np.fromiter(values, _ON_THE_WIRE.get(field, datatype.dtype), len(values))
    if array.dtype != datatype.dtype:
        array, wide = array.astype(datatype.dtype), array
        if (array != wide).any():
            elements.elements(wide.tolist(), datatype, where)  # raises, and says which
    return array.reshape(shape)


def _outputs(message: Any) -> tuple[tuple[str, ...], dict[str, int]]:
    """The names of the requested outputs, and how many classes are asked for, by name."""
    names: dict[str, None] = {}
    counts: dict[str, int] = {}
    for index, entry in enumerate(message.outputs):
        if not entry.name:
            raise InvalidInputError(f"outputs[{index}].name is missing")
        if entry.name in names:
            raise InvalidInputError(f"output '{entry.name:.80}' is asked for twice")
        names[entry.name] = None
        if not entry.parameters:
            continue
        where = f"outputs[{index}] '{entry.name:.80}'"
        check_offered(entry.parameters, where)
        if CLASSIFICATION in entry.parameters:
            given = parameters({CLASSIFICATION: entry.parameters[CLASSIFICATION]}, f"{where}.parameters")
            counts[entry.name] = class_count(given[CLASSIFICATION], where)
    return tuple(names), counts


def parameters(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The value of each parameter. Raises InvalidInputError for one without a value."""
    values: dict[str, Any] = {}
    for key, parameter in given.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise InvalidInputError(f"{where}['{key:.80}'] has no value")
        values[key] = getattr(parameter, choice)
    return values


def encode(request: InferRequest, outputs: Tensors, name: str, version: str, *, final: bool | None = None) -> bytes:
    """The ModelInferResponse; its contents are raw, because Triton's clients read no others.

    `final` says whether it is the last answer to its request, in a stream; None says nothing.
    """
    answer = messages.ModelInferResponse(model_name=name, model_version=version, id=request.id)
    if final is not None:
        answer.parameters[FINAL_RESPONSE].bool_param = final
    parts = [b""]
    if request.classes is not None:
        outputs = request.classes.of(outputs)
    for output, array in outputs.items():
        datatype = _datatype(output, array)
        answer.outputs.add(name=output, datatype=datatype.name, shape=array.shape)
        data = binary.bytes_of(array, datatype)
        parts += (bytes((_RAW_OUTPUT,)), _as_varint(len(data)), data)
    parts[0] = answer.SerializeToString()
    return b"".join(parts)


def stream_item(answer: bytes) -> bytes:
    """The ModelStreamInferResponse with this ModelInferResponse."""
    return b"".join((bytes((_INFER_RESPONSE,)), _as_varint(len(answer)), answer))


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
