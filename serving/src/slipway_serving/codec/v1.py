"""Requests and answers of the V1 protocol, as KServe has it and TensorFlow Serving's REST API had it before.

`instances` lists the rows, each a value or an object of values by input name; `inputs` has whole tensors. Bytes that
are no text are `{"b64": "…"}` both ways. https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np

from slipway_serving.codec import elements, plain
from slipway_serving.datatypes import BYTES, Array, Tensors
from slipway_serving.errors import InvalidInputError, NotRepresentableError, did_you_mean
from slipway_serving.signature import Signature, TensorSpec

INSTANCES, INPUTS, SIGNATURE_NAME = "instances", "inputs", "signature_name"
_KEYS = (INSTANCES, INPUTS, SIGNATURE_NAME)
_DEFAULT_SIGNATURE = ("", "serving_default")
_B64 = "b64"
_BYTES_SUFFIX = "_bytes"
"""Outputs whose name ends so are always base64, as TensorFlow Serving has it."""
UNNAMED = "x"
"""What the only input of a model is called that declares none."""


def decode_request(body: bytes | bytearray | memoryview, signature: Signature) -> Tensors:
    """Reads a request into the model's inputs. Raises InvalidInputError naming the field."""
    document = elements.loads(body)
    if type(document) is not dict:
        raise InvalidInputError("the request must be a JSON object with 'instances' or 'inputs'")
    for key in document:
        if key not in _KEYS:
            raise InvalidInputError(f"unknown key '{key:.80}'; {did_you_mean(key, _KEYS)}")
    if document.get(SIGNATURE_NAME, "") not in _DEFAULT_SIGNATURE:
        raise InvalidInputError("'signature_name' must be 'serving_default': models have one signature here")
    if (INSTANCES in document) == (INPUTS in document):
        raise InvalidInputError("send either 'instances', a list of rows, or 'inputs', whole tensors")
    tensors = _rows(document[INSTANCES], signature) if INSTANCES in document else _columns(document[INPUTS], signature)
    signature.check_complete(tensors)
    return tensors


def _rows(instances: object, signature: Signature) -> Tensors:
    if type(instances) is not list or not instances:
        raise InvalidInputError("'instances' must be a list of at least one row")
    if not _is_named(instances[0], signature):
        spec = _only(signature, INSTANCES)
        return {spec.name if spec else UNNAMED: _tensor(instances, spec, INSTANCES)}
    names = instances[0].keys()
    for index, instance in enumerate(instances):
        if type(instance) is not dict or instance.keys() != names:
            raise InvalidInputError(f"instances[{index}] must be an object with {', '.join(names)}, as the first is")
    return {
        name: _tensor([instance[name] for instance in instances], signature.input(name), f"instances[…].{name:.80}")
        for name in names
    }


def _columns(inputs: object, signature: Signature) -> Tensors:
    if type(inputs) is dict and _is_named(inputs, signature):
        return {name: _tensor(value, signature.input(name), f"inputs.{name:.80}") for name, value in inputs.items()}
    spec = _only(signature, INPUTS)
    return {spec.name if spec else UNNAMED: _tensor(inputs, spec, INPUTS)}


def _is_named(value: object, signature: Signature) -> bool:
    """Whether it holds values by input name, rather than one value, which `{"b64": …}` is."""
    if type(value) is not dict:
        return False
    if not value:
        raise InvalidInputError("an object without any input is no row")
    return value.keys() != {_B64} or any(spec.name == _B64 for spec in signature.inputs)


def _only(signature: Signature, where: str) -> TensorSpec | None:
    if len(signature.inputs) > 1:
        names = ", ".join(spec.name for spec in signature.inputs)
        raise InvalidInputError(f"'{where}' must name the inputs, the model has several: {names}")
    return signature.inputs[0] if signature.inputs else None


def _tensor(value: object, spec: TensorSpec | None, where: str) -> Array:
    flat, lengths = elements.flatten(value, where)
    plain_flat = [_unpacked(item, where) if type(item) is dict else item for item in flat]
    if spec is None and any(type(item) is bytes for item in plain_flat):
        return _bytes(plain_flat, where).reshape(lengths)
    if spec is None:
        return plain.undeclared(value, where)
    spec.check(spec.datatype, lengths)
    if spec.datatype is BYTES:
        return _bytes(plain_flat, where).reshape(lengths)
    return elements.elements(flat, spec.datatype, where).reshape(lengths)


def _unpacked(item: dict[str, Any], where: str) -> bytes:
    text = item.get(_B64)
    if len(item) != 1 or type(text) is not str:
        raise InvalidInputError(f'{where}: an element that is an object must be {{"b64": "…"}}')
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInputError(f"{where}: an element's b64 is not valid base64") from None


def _bytes(flat: list[Any], where: str) -> Array:
    for index, item in enumerate(flat):
        if type(item) not in (str, bytes):
            shown = "null" if item is None else repr(item)
            raise InvalidInputError(
                f'{where}: element {index} is {shown:.60}, but {BYTES} takes strings, or {{"b64": "…"}}'
            )
    array = np.empty(len(flat), dtype=np.object_)
    array[:] = [item.encode() if type(item) is str else item for item in flat]
    return array


def encode_response(outputs: Tensors, signature: Signature) -> bytes:
    """Writes `{"predictions": …}`: a list of rows, each a value, or an object of values of several outputs.

    Where the model's outputs have no rows it is the value, or the object of values. Raises NotRepresentableError for
    NaN and infinity, and where several outputs of an undeclared model do not have the same rows.
    """
    values = {name: _value(array, name) for name, array in outputs.items()}
    if len(values) == 1:
        return elements.dumps({"predictions": next(iter(values.values()))})
    if not all(spec.is_batch for spec in signature.all_outputs if spec.name in outputs):
        return elements.dumps({"predictions": values})
    lengths = {name: array.shape[0] if array.ndim else None for name, array in outputs.items()}
    if len(set(lengths.values())) > 1 or None in lengths.values():
        raise NotRepresentableError(f"the outputs do not have the same number of rows ({lengths}); use V2")
    rows = zip(*values.values(), strict=True)
    return elements.dumps({"predictions": [dict(zip(values, row, strict=True)) for row in rows]})


def _value(array: Array, name: str) -> Any:
    if array.dtype == np.object_ and (name.endswith(_BYTES_SUFFIX) or not _is_text(array)):
        packed = np.empty(array.size, dtype=np.object_)
        packed[:] = [{_B64: base64.b64encode(_octets(item)).decode()} for item in array.ravel().tolist()]
        return packed.reshape(array.shape).tolist()
    return plain.nested(array, name)


def _octets(item: object) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()


def _is_text(array: Array) -> bool:
    try:
        for item in array.ravel().tolist():
            if isinstance(item, bytes):
                item.decode()
    except UnicodeDecodeError:
        return False
    return True
