"""Values of a JSON document as arrays, and back: exact or refused, never coerced in silence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson

from slipway_serving.datatypes import BYTES, Array, Datatype
from slipway_serving.errors import InvalidInputError, NotRepresentableError
from slipway_serving.signature import count

MAX_RANK = 32
"""Dimensions that a tensor may have; numpy has 64."""
_FEW = 64
"""So many numbers are looked through faster as they are than as an array."""


def loads(body: bytes | bytearray | memoryview) -> Any:
    """The JSON document in a request's body. Raises InvalidInputError saying where it breaks."""
    if not body:
        raise InvalidInputError("the request body is empty; expected a JSON document")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(
            f"the request body is not valid JSON: {error} (NaN and infinity have no JSON form)"
        ) from None


def dumps(document: Any) -> bytes:
    """A document as JSON; arrays become lists. Raises NotRepresentableError where a string is not Unicode."""
    try:
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise NotRepresentableError(f"the answer cannot be written as JSON: {error}") from None


def flatten(data: object, where: str) -> tuple[list[Any], list[int]]:
    """The elements of nested lists in row-major order, and each level's length. Raises InvalidInputError if ragged."""
    if type(data) is not list:
        return [data], []
    flat: list[Any] = data
    lengths = [len(flat)]
    while flat and type(flat[0]) is list:
        width = len(flat[0])
        for item in flat:
            if type(item) is not list or len(item) != width:
                raise InvalidInputError(f"{where}: the nested lists are ragged at depth {len(lengths) + 1}")
        lengths.append(width)
        if len(lengths) > MAX_RANK:
            raise InvalidInputError(f"{where} is nested deeper than the {MAX_RANK} dimensions that a tensor may have")
        flat = list(chain.from_iterable(flat))
    return flat, lengths


def array_of(data: object, datatype: Datatype, shape: Sequence[int], where: str) -> Array:
    """A tensor from its JSON data, flat or nested like its shape. Raises InvalidInputError naming the field `where`."""
    flat, lengths = flatten(data, where)
    if len(flat) != count(shape):
        raise InvalidInputError(f"{where} has {len(flat)} elements, but shape {list(shape)} has {count(shape)}")
    shown = list(shape) if flat else list(shape)[: len(lengths)]  # nothing is nested below an empty list
    if len(lengths) > 1 and lengths != shown:
        raise InvalidInputError(
            f"{where} is nested as {lengths}, but the shape is {list(shape)}; send it flat or nested alike"
        )
    return elements(flat, datatype, where).reshape(shape)


def elements(flat: list[Any], datatype: Datatype, where: str) -> Array:
    """A one-dimensional array of exactly these values. Raises InvalidInputError for the first one that does not fit."""
    if not datatype.json.issuperset(map(type, flat)):
        raise _misfit(flat, datatype, where)
    if datatype is BYTES:
        array = np.empty(len(flat), dtype=np.object_)
        array[:] = [text.encode() for text in flat]
        return array
    if len(flat) <= _FEW:
        if flat and not (datatype.lowest <= min(flat) and max(flat) <= datatype.highest) and datatype.is_numeric:
            raise _misfit(flat, datatype, where)
        return np.array(flat, dtype=datatype.dtype)
    return _many(flat, datatype, where)


def _many(flat: list[Any], datatype: Datatype, where: str) -> Array:
    try:
        with np.errstate(over="ignore"):
            array = np.array(flat, dtype=datatype.dtype)
    except OverflowError:
        raise _misfit(flat, datatype, where) from None
    if datatype.is_float and not np.isfinite(array).all():
        raise _misfit(flat, datatype, where)
    return array


def _misfit(flat: list[Any], datatype: Datatype, where: str) -> InvalidInputError:
    index = next(index for index, value in enumerate(flat) if not _fits(value, datatype))
    shown = "null" if flat[index] is None else repr(flat[index])
    return InvalidInputError(f"{where}: element {index} is {shown:.60}, but {datatype} takes {datatype.says}")


def _fits(value: Any, datatype: Datatype) -> bool:
    if type(value) not in datatype.json:
        return False
    return not datatype.is_numeric or bool(datatype.lowest <= value <= datatype.highest)


def json_data(array: Array, datatype: Datatype, where: str) -> Array | list[Any]:
    """A tensor as flat data for `dumps`. Raises NotRepresentableError for NaN, infinity and bytes that are no text."""
    if datatype is BYTES:
        return [_text(item, where) for item in array.ravel().tolist()]
    flat = array.ravel()
    if datatype.is_float and not np.isfinite(flat).all():
        index = int(np.flatnonzero(~np.isfinite(flat))[0])
        raise NotRepresentableError(
            f"{where}: element {index} is {flat[index]}, which JSON cannot carry; ask for it with binary_data"
        )
    return flat if flat.dtype.isnative else flat.astype(datatype.dtype)


def _text(item: object, where: str) -> str:
    if not isinstance(item, bytes):
        return str(item)
    try:
        return item.decode()
    except UnicodeDecodeError:
        raise NotRepresentableError(f"{where} has bytes that are not UTF-8 text; ask for it with binary_data") from None
