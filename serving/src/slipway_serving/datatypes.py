"""The datatypes of the Open Inference Protocol and what each is in numpy and in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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

    @property
    def is_float(self) -> bool:
        return self.dtype.kind == "f"

    @property
    def is_numeric(self) -> bool:
        return self.dtype.kind in "fiu"

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return datatype_named, (self.name,)  # there is one of each, in a worker process too


def _integer(name: str, numpy_name: str) -> Datatype:
    info = np.iinfo(numpy_name)
    words = f"whole numbers from {info.min} to {info.max}"
    return Datatype(name, np.dtype(numpy_name), frozenset({int}), words)


def _floating(name: str, numpy_name: str) -> Datatype:
    largest = float(np.finfo(numpy_name).max)
    return Datatype(name, np.dtype(numpy_name), frozenset({int, float}), f"finite numbers up to ±{largest:.4g}")


BOOL = Datatype("BOOL", np.dtype(np.bool_), frozenset({bool}), "true or false")
BYTES = Datatype("BYTES", np.dtype(np.object_), frozenset({str}), "strings")
FP16 = _floating("FP16", "float16")
FP32 = _floating("FP32", "float32")
FP64 = _floating("FP64", "float64")
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
        BYTES,
    )
}
NUMERIC = frozenset(datatype for datatype in DATATYPES.values() if datatype.is_numeric)

_BY_DTYPE = {datatype.dtype: datatype for datatype in DATATYPES.values()}


def datatype_named(name: object) -> Datatype:
    """Raises ValueError with a sentence for anything that is not one of the thirteen names."""
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
