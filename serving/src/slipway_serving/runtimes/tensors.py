"""What runtimes share: tensors as `model.yaml` completes them, and arrays as the protocol carries them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from slipway_serving.config import TensorConfig
from slipway_serving.datatypes import BYTES, FP32, Array
from slipway_serving.errors import InvalidInputError, ModelFailedError, ModelLoadError, did_you_mean
from slipway_serving.signature import TensorSpec


def declared_specs(
    read: tuple[TensorSpec, ...], declared: tuple[TensorConfig, ...], where: str
) -> tuple[TensorSpec, ...]:
    """What the model says of its tensors, completed by `model.yaml`. Raises ModelLoadError where the two disagree."""
    known = {spec.name: spec for spec in read}
    for tensor in declared:
        if known and tensor.name not in known:
            hint = did_you_mean(tensor.name, known)
            raise ModelLoadError(f"model.yaml declares {where} '{tensor.name}', which the model does not have; {hint}")
        spec = known.get(tensor.name)
        if spec is None:
            continue
        if tensor.datatype not in (None, spec.datatype, *spec.accepts):
            raise ModelLoadError(
                f"model.yaml says {where} '{spec.name}' is {tensor.datatype}; the model: {spec.datatype}"
            )
        if tensor.shape is not None and not _compatible(spec, tensor):
            raise ModelLoadError(f"model.yaml gives {where} '{spec.name}' a shape that the model's own does not allow")
        known[spec.name] = replace(
            spec,
            datatype=tensor.datatype or spec.datatype,
            shape=spec.shape if tensor.shape is None else tensor.shape,
            columns=tensor.columns or spec.columns,
            example=spec.example if tensor.example is None else tensor.example,
        )
    specs = tuple(known.values()) if known else tuple(specs_from(declared, where))
    for spec in specs:
        _check_example(spec, where)
    return specs


def specs_from(declared: tuple[TensorConfig, ...], where: str) -> list[TensorSpec]:
    """Specs of a model that says nothing itself: the datatype has to be given."""
    for tensor in declared:
        if tensor.datatype is None:
            raise ModelLoadError(
                f"{where} '{tensor.name}' needs a datatype", "for example: datatype: FP32, shape: [-1, 4]"
            )
    return [
        TensorSpec(tensor.name, tensor.datatype or FP32, tensor.shape, frozenset(), tensor.columns, tensor.example)
        for tensor in declared
    ]


def _compatible(spec: TensorSpec, tensor: TensorConfig) -> bool:
    if spec.shape is None or tensor.shape is None:
        return True
    if len(spec.shape) != len(tensor.shape):
        return False
    return all(own in (-1, given) for own, given in zip(spec.shape, tensor.shape, strict=True))


def _check_example(spec: TensorSpec, where: str) -> None:
    width = spec.shape[-1] if spec.shape else -1
    if spec.columns and width not in (-1, len(spec.columns)):
        raise ModelLoadError(
            f"{where} '{spec.name}' has {len(spec.columns)} columns, but its last dimension is {width}"
        )
    if spec.example is None:
        return
    try:
        spec.check(spec.datatype, spec.example_array().shape)
    except (InvalidInputError, ValueError, TypeError, OverflowError) as error:
        raise ModelLoadError(f"the example of {where} '{spec.name}' does not fit: {error}") from None


def conform(value: Any, spec: TensorSpec | None) -> Array:
    """What a model returned, as an array of the datatype that it declared. Raises ModelFailedError otherwise."""
    if value is None:
        raise ModelFailedError("the model returned None where an array was expected")
    if spec is None or spec.datatype is BYTES:
        return np.asarray(value)
    try:
        return np.asarray(value, dtype=spec.datatype.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise ModelFailedError(f"output '{spec.name}' is not {spec.datatype}: {str(error)[:200]}") from error


def text_array(array: Array) -> Array:
    """A BYTES tensor as an object array of str, what most libraries call a string. Raises InvalidInputError."""
    try:
        flat = [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]
    except UnicodeDecodeError:
        raise InvalidInputError(f"the model takes text, and a {BYTES} element is not UTF-8") from None
    result = np.empty(len(flat), dtype=np.object_)
    result[:] = flat
    return result.reshape(array.shape)
