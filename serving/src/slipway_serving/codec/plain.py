"""The plain case, `/predict`: inputs by name, rows of numbers, or records by column name."""

from __future__ import annotations

from typing import Any

import numpy as np

from slipway_serving.codec import elements
from slipway_serving.datatypes import BOOL, BYTES, FP64, INT64, Array, Datatype, Tensors, datatype_of
from slipway_serving.errors import InvalidInputError, ModelFailedError, did_you_mean
from slipway_serving.signature import Signature, TensorSpec, count

ROWS = ("x", "instances")
_EXPECTED = 'expected {"x": [[…], …]}, an object of inputs by name, or a list of records by column name'


def decode_rows(body: bytes | bytearray | memoryview, signature: Signature) -> Tensors:
    """Reads a plain request into the model's inputs. Raises InvalidInputError naming the field."""
    document = elements.loads(body)
    if type(document) is dict:
        if signature.inputs:
            return _object(document, signature)
        return {name: undeclared(value, name) for name, value in _not_empty(document).items()}
    if type(document) is list:
        return _rows(document, signature)
    raise InvalidInputError(_EXPECTED)


def _not_empty(document: dict[str, Any]) -> dict[str, Any]:
    if not document:
        raise InvalidInputError(_EXPECTED)
    return document


def _object(document: dict[str, Any], signature: Signature) -> Tensors:
    names = {spec.name for spec in signature.inputs}
    if document.keys() <= names:
        signature.check_complete(document)
        return {name: tensor(value, signature.input(name), name) for name, value in document.items()}
    if len(document) == 1:
        ((key, value),) = document.items()
        if key in ROWS and type(value) is list:
            return _rows(value, signature)
    columns = column_names(signature)
    if columns and document.keys() & set(columns):
        return _records([document], signature)
    unknown = next(key for key in document if key not in names)
    raise InvalidInputError(f"unknown input '{unknown:.80}'; {did_you_mean(unknown, [*names, *columns])}")


def _rows(rows: list[Any], signature: Signature) -> Tensors:
    if rows and type(rows[0]) is dict:
        return _records(rows, signature)
    if len(signature.inputs) > 1:
        raise InvalidInputError(
            f"the model has {len(signature.inputs)} inputs; send an object with each by name, or records"
        )
    spec = signature.inputs[0] if signature.inputs else None
    name = spec.name if spec else "x"
    return {name: tensor(rows, spec, name) if spec else undeclared(rows, name)}


def tensor(value: object, spec: TensorSpec | None, where: str) -> Array:
    """One input; a single row gets the batch dimension that it lacks."""
    if spec is None:
        return undeclared(value, where)
    flat, lengths = elements.flatten(value, where)
    shape = tuple(lengths)
    if spec.is_batch and spec.shape is not None and len(shape) == len(spec.shape) - 1:
        shape = (1, *shape)
    if len(flat) != count(shape):
        raise InvalidInputError(f"{where}: the nested lists are ragged")
    spec.check(spec.datatype, shape)
    return elements.elements(flat, spec.datatype, where).reshape(shape)


def undeclared(value: object, where: str) -> Array:
    """An input of a model that declares none: the narrowest of BOOL, INT64, FP64 and BYTES that holds every element."""
    flat, lengths = elements.flatten(value, where)
    kinds = set(map(type, flat))
    candidates: tuple[Datatype, ...] = (BOOL, INT64, FP64, BYTES)
    datatype = next((each for each in candidates if each.json >= kinds), FP64)
    return elements.elements(flat, datatype, where).reshape(lengths)


def column_names(signature: Signature) -> tuple[str, ...]:
    """The column names that records may have: of the only input, or the inputs themselves where each is one column."""
    if len(signature.inputs) == 1:
        return signature.inputs[0].columns
    one_column = all(spec.shape is not None and spec.shape[1:] in ((), (1,)) for spec in signature.inputs)
    return tuple(spec.name for spec in signature.inputs) if one_column else ()


def _records(records: list[Any], signature: Signature) -> Tensors:
    columns = column_names(signature)
    if not columns:
        raise InvalidInputError("the model has no column names; send rows of numbers, or give 'columns' in model.yaml")
    expected = set(columns)
    for index, record in enumerate(records):
        if type(record) is not dict:
            raise InvalidInputError(f"record {index} must be an object of values by column name")
        for name in record.keys() - expected:
            raise InvalidInputError(f"record {index} has an unknown column '{name:.80}'; {did_you_mean(name, columns)}")
        for name in expected - record.keys():
            raise InvalidInputError(f"record {index} has no column '{name}'")
    if len(signature.inputs) == 1:
        spec = signature.inputs[0]
        return {spec.name: tensor([[record[name] for name in columns] for record in records], spec, spec.name)}
    return {
        spec.name: elements.elements([record[spec.name] for record in records], spec.datatype, spec.name).reshape(
            (-1, *(spec.shape or ())[1:])
        )
        for spec in signature.inputs
    }


def encode_rows(model: str, outputs: Tensors) -> bytes:
    """Writes `{"model": …, "outputs": {name: nested lists}}`. Raises NotRepresentableError for NaN and infinity."""
    return elements.dumps({"model": model, "outputs": {name: nested(array, name) for name, array in outputs.items()}})


def nested(array: Array, name: str) -> Any:
    """A tensor as what `elements.dumps` writes as nested lists. Raises NotRepresentableError for NaN and infinity."""
    try:
        datatype = datatype_of(array)
    except ValueError as error:
        raise ModelFailedError(f"output '{name}': {error}") from None
    flat = elements.json_data(array, datatype, f"output '{name}'")
    if isinstance(flat, list):
        strings = np.empty(len(flat), dtype=np.object_)
        strings[:] = flat
        return strings.reshape(array.shape).tolist()
    return flat.reshape(array.shape) if array.ndim else flat[0].item()
