"""The datatypes, values that show whether each is carried exactly, and the binary form."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from slipway_serving.conformance.checks import CheckFailed

NUMPY = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
DATATYPES = (*NUMPY, "BYTES")
"""The 13 of the protocol's table (Tensor Data Types)."""
BINARY_ONLY = ("FP16", "BF16")


def _limits(datatype: str) -> list[int]:
    info = np.iinfo(NUMPY[datatype])
    return [int(info.min), 0, 1, int(info.max)]


SAMPLES: dict[str, list[Any]] = {
    "BOOL": [True, False, True, True],
    **{name: _limits(name) for name in NUMPY if "INT" in name},
    "FP16": [0.5, -2.0, 65504.0, 0.0],
    "FP32": [0.5, -3.4028234663852886e38, 1.401298464324817e-45, 0.10000000149011612],
    "FP64": [0.1, -1.7976931348623157e308, 5e-324, 3.141592653589793],
    "BF16": [0.5, -2.0, 3.3895313892515355e38, 0.0],
    "BYTES": ["", 'a"\\\n', "größe", "😀"],
}
"""Four values of each datatype, at its limits."""


def to_raw(datatype: str, values: Sequence[Any]) -> bytes:
    """Values in the binary form. Raises ValueError, TypeError or OverflowError for values that are none."""
    if datatype == "BYTES":
        items = [value if isinstance(value, bytes) else value.encode() for value in values]
        return b"".join(struct.pack("<I", len(item)) + item for item in items)
    if datatype == "BF16":
        words = np.array(values, dtype="<f4").view("<u4") >> 16
        return words.astype("<u2").tobytes()
    return np.array(values, dtype=NUMPY[datatype]).tobytes()


def flatten(data: Any) -> list[Any]:
    """The elements of nested lists in row-major order."""
    if not isinstance(data, list):
        return [data]
    return [element for item in data for element in flatten(item)]


def expect_same(datatype: str, sent: Sequence[Any], data: Any, seen: str) -> None:
    """Raises CheckFailed where JSON data is not what was sent."""
    values = flatten(data) if isinstance(data, list) else None
    try:
        same = values is not None and len(values) == len(sent) and to_raw(datatype, values) == to_raw(datatype, sent)
    except (ValueError, TypeError, OverflowError, AttributeError):
        same = False
    if not same:
        raise CheckFailed(f"sent {list(sent)!r:.120}, got {seen}")
