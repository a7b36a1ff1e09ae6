"""The binary tensor extension: little-endian, row-major; BYTES elements each after their length as uint32."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from slipway_serving.datatypes import BYTES, Array, Datatype
from slipway_serving.errors import InvalidInputError
from slipway_serving.signature import count

_LENGTH = struct.Struct("<I")


def array_from(data: memoryview, datatype: Datatype, shape: Sequence[int], where: str) -> Array:
    """A tensor out of a body, aligned numbers without a copy. Raises InvalidInputError where sizes disagree."""
    if datatype is BYTES:
        return _strings(data, count(shape), where).reshape(shape)
    dtype = datatype.dtype.newbyteorder("<")
    expected = count(shape) * dtype.itemsize
    if len(data) != expected:
        raise InvalidInputError(f"{where} has {len(data)} bytes, but {datatype} {list(shape)} has {expected}")
    if datatype.dtype.kind == "b" and len(data) and np.frombuffer(data, dtype=np.uint8).max() > 1:
        raise InvalidInputError(f"{where}: a BOOL is one byte, 0 or 1")
    array = np.frombuffer(data, dtype=dtype).reshape(shape)
    return array if array.flags.aligned else array.copy()


def _strings(data: memoryview, expected: int, where: str) -> Array:
    items: list[bytes] = []
    offset = 0
    while offset < len(data):
        start = offset + _LENGTH.size
        if start > len(data):
            raise InvalidInputError(f"{where}: {len(data) - offset} stray bytes after string {len(items)}")
        (length,) = _LENGTH.unpack_from(data, offset)
        offset = start + length
        if offset > len(data):
            raise InvalidInputError(
                f"{where}: string {len(items)} says {length} bytes, but {len(data) - start} are left"
            )
        items.append(bytes(data[start:offset]))
    if len(items) != expected:
        raise InvalidInputError(f"{where} has {len(items)} strings, but the shape has {expected} elements")
    array = np.empty(expected, dtype=np.object_)
    array[:] = items
    return array


def bytes_of(array: Array, datatype: Datatype) -> bytes:
    """A tensor as the body of an answer."""
    if datatype is not BYTES:
        return np.ascontiguousarray(array, dtype=datatype.dtype.newbyteorder("<")).tobytes()
    encoded = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()]
    return b"".join(part for item in encoded for part in (_LENGTH.pack(len(item)), item))
