"""Triton's generate extension: JSON objects with a value for each input, and for each output."""

from __future__ import annotations

from typing import Any

from slipway_serving.codec import elements, plain
from slipway_serving.datatypes import Array, Tensors
from slipway_serving.errors import InvalidInputError
from slipway_serving.runtimes.base import Inference
from slipway_serving.signature import Signature, TensorSpec

_SCALARS = (str, int, float, bool)


def decode_request(body: bytes | bytearray | memoryview, signature: Signature) -> Inference:
    """Reads a request: values by input name, `parameters`, and an `id`, which Triton allows and does not answer.

    A single value stands for a tensor of one element, whatever the input's rank. Other keys are parameters of the
    request, as Triton has it. Raises InvalidInputError naming the field.
    """
    document = elements.loads(body)
    if type(document) is not dict:
        raise InvalidInputError("the request must be a JSON object with a value for each input")
    document.pop("id", None)
    parameters = document.pop("parameters", None)
    if parameters is None:
        parameters = {}
    if type(parameters) is not dict:
        raise InvalidInputError("'parameters' must be an object")
    names = {spec.name for spec in signature.inputs} or document.keys()
    values = {name: value for name, value in document.items() if name in names}
    parameters |= {name: value for name, value in document.items() if name not in names}
    for name, value in parameters.items():
        if type(value) not in _SCALARS:
            raise InvalidInputError(
                f"'{name:.80}' is neither an input of the model nor, as it is no string, number or boolean, a parameter"
            )
    if not values:
        raise InvalidInputError("the request has no value for any input")
    signature.check_complete(values)
    specs = {spec.name: spec for spec in signature.inputs}
    return Inference({name: _tensor(value, specs.get(name), name) for name, value in values.items()}, (), parameters)


def _tensor(value: Any, spec: TensorSpec | None, name: str) -> Array:
    if spec is not None and type(value) is not list:
        shape = tuple(1 if length == -1 else length for length in spec.shape or ())
        spec.check(spec.datatype, (1,) * len(shape))
        return elements.elements([value], spec.datatype, name).reshape(shape)
    return plain.tensor(value, spec, name)


def values(outputs: Tensors) -> dict[str, Any]:
    """Each output: its only element, else its elements one after the other. Raises NotRepresentableError."""
    return {
        name: plain.nested(array.reshape(()) if array.size == 1 else array.reshape(-1), name)
        for name, array in outputs.items()
    }
