"""The datatypes of the Open Inference Protocol, and BF16 as Triton has it, and what each is in numpy and in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from slipway_serving.errors import did_you_mean

Array = NDArray[Any]
Tensors = dict[str, Array]
"""Arrays by tensor name. BYTES tensors are object arrays of `bytes`; a model may also answer with `str`."""


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype; `json` are the exact Python types its elements may have in a decoded JSON document."""

    name: str
    dtype: np.dtype[Any]
    json: frozenset[type]
    says: str
    """What a person has to send, in words."""
    is_float: bool = False
    lowest: float = 0
    """Of numbers, the least and greatest that has a finite value."""
    highest: float = 0

    @property
    def is_numeric(self) -> bool:
        return self.is_float or self.dtype.kind in "iu"

    @property
    def has_json_form(self) -> bool:
        """Whether the protocol has a JSON form for it: not for the two-byte floats."""
        return self is not FP16 and self is not BF16

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return datatype_named, (self.name,)  # there is one of each, in a worker process too


def _integer(name: str, numpy_name: str) -> Datatype:
    info = np.iinfo(numpy_name)
    words = f"whole numbers from {info.min} to {info.max}"
    return Datatype(name, np.dtype(numpy_name), frozenset({int}), words, lowest=int(info.min), highest=int(info.max))


def _floating(name: str, dtype: type[Any]) -> Datatype:
    info = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]  # it has no types
    largest, epsilon = float(info.max), float(info.eps)
    # What lies less than half a step above the largest value is rounded to it: 3.4028235e38 is how FP32's is written.
    limit = largest
    if np.dtype(dtype).itemsize < np.dtype(np.float64).itemsize:
        limit = float(np.nextafter(largest + largest / (2 - epsilon) * epsilon / 2, 0))
    words = f"finite numbers up to ±{largest:.4g}"
    return Datatype(name, np.dtype(dtype), frozenset({int, float}), words, is_float=True, lowest=-limit, highest=limit)


BOOL = Datatype("BOOL", np.dtype(np.bool_), frozenset({bool}), "true or false")
BYTES = Datatype("BYTES", np.dtype(np.object_), frozenset({str}), "strings")
FP16 = _floating("FP16", np.float16)
FP32 = _floating("FP32", np.float32)
FP64 = _floating("FP64", np.float64)
BF16 = _floating("BF16", ml_dtypes.bfloat16)
INT64 = _integer("INT64", "int64")

DATATYPES: dict[str, Datatype] = {
    datatype.name: datatype
    for datatype in (
        BOOL,
        *(_integer(f"UINT{bits}", f"uint{bits}") for bits in (8, 16, 32, 64)),
        *(_integer(f"INT{bits}", f"int{bits}") for bits in (8, 16, 32)),
        INT64,
        FP16,
        FP32,
        FP64,
        BF16,
        BYTES,
    )
}
NUMERIC = frozenset(datatype for datatype in DATATYPES.values() if datatype.is_numeric)

_BY_DTYPE = {datatype.dtype: datatype for datatype in DATATYPES.values()}


def datatype_named(name: object) -> Datatype:
    """Raises ValueError with a sentence for anything that is not one of the names."""
    found = DATATYPES.get(name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(f"unknown datatype {name!r:.40}; {did_you_mean(str(name), DATATYPES)}")
    return found


def datatype_of(array: Array) -> Datatype:
    """The datatype that carries an array; strings of any kind are BYTES. Raises ValueError where none does."""
    found = _BY_DTYPE.get(array.dtype)
    if found is None:
        if array.dtype.kind in "US":
            return BYTES
        found = _BY_DTYPE.get(array.dtype.newbyteorder("="))
    if found is None:
        raise ValueError(f"numpy's {array.dtype} has no datatype in the Open Inference Protocol")
    return found
