"""Is this an ONNX file? Answered from the wire format, without a library.

Wire format: protobuf.dev, "Encoding". Fields of ModelProto: onnx/onnx.proto3.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from slipway.client.errors import InvalidInputError

_IR_VERSION, _GRAPH, _OPSET_IMPORT = 1, 7, 8
_FIELDS = {
    1: "ir_version",
    2: "producer_name",
    3: "producer_version",
    4: "domain",
    5: "model_version",
    6: "doc_string",
    7: "graph",
    8: "opset_import",
    14: "metadata_props",
    20: "training_info",
    25: "functions",
    26: "configuration",
}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT = 10
_LFS = b"version https://git-lfs"
_AGAIN = "Export the model again, or copy the file again."


class _BrokenError(Exception):
    """What is wrong with the file."""


def check_onnx(path: Path) -> None:
    """`InvalidInputError` when the file is no complete ONNX model. Reads the outline only, not the weights."""
    if path.stat().st_size == 0:
        raise InvalidInputError(f"{path}: not an ONNX model: the file is empty.", _AGAIN)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[: len(_LFS)] == _LFS:
            raise InvalidInputError(
                f"{path}: a Git LFS pointer, not the model itself.", "Fetch it with `git lfs pull`."
            )
        try:
            _outline(data)
        except _BrokenError as error:
            raise InvalidInputError(f"{path}: not a complete ONNX model: {error}.", _AGAIN) from None
    _check_with_library(path)


def _outline(data: mmap.mmap) -> None:
    """Walks the fields of the outermost message."""
    position, seen = 0, set[int]()
    while position < len(data):
        field, wire, after = _tag(data, position)
        if field not in _FIELDS:
            raise _BrokenError(f"byte {position} begins field {field}, which ONNX does not have")
        position = _skip(data, after, wire, _FIELDS[field])
        seen.add(field)
    missing = [_FIELDS[field] for field in (_IR_VERSION, _GRAPH, _OPSET_IMPORT) if field not in seen]
    if missing:
        raise _BrokenError(f"it has no {' and no '.join(missing)}")


def _tag(data: mmap.mmap, position: int) -> tuple[int, int, int]:
    value, after = _varint(data, position)
    return value >> 3, value & 7, after


def _skip(data: mmap.mmap, position: int, wire: int, name: str) -> int:
    """The position after a field's value."""
    if wire == _VARINT:
        return _varint(data, position)[1]
    if wire == _BYTES:
        length, start = _varint(data, position)
    elif wire in (_FIXED64, _FIXED32):
        length, start = (8 if wire == _FIXED64 else 4), position
    else:
        raise _BrokenError(f"byte {position} has wire type {wire}, which ONNX does not use")
    if start + length > len(data):
        raise _BrokenError(f"field {name} ends at byte {start + length}, but the file has {len(data)} bytes")
    return start + length


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    """A base-128 number and the position after it."""
    value = 0
    for index in range(_MAX_VARINT):
        if position + index >= len(data):
            raise _BrokenError(f"it ends at byte {len(data)} inside a number")
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004  # the continuation bit
            return value, position + index + 1
    raise _BrokenError(f"byte {position} begins a number of more than {_MAX_VARINT} bytes")


def _check_with_library(path: Path) -> None:
    """The full check, where the package `onnx` happens to be installed."""
    try:
        import onnx  # noqa: PLC0415  # optional, and half a second
    except ImportError:
        return
    try:
        onnx.checker.check_model(str(path))  # by path: this also finds missing external data, and works beyond 2 GiB
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InvalidInputError(f"{path}: onnx.checker refuses the model: {reason[:300]}", _AGAIN) from None
