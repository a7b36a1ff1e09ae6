"""Whether bytes are one whole UBJSON document (https://ubjson.org, draft 12), without building what they say.

XGBoost reads beyond the end of a document that is cut off, which ends the process.
"""

from __future__ import annotations

import struct
from typing import Final

_SIZES: Final = {
    **dict.fromkeys((b"Z", b"N", b"T", b"F"), 0),
    **dict.fromkeys((b"i", b"U", b"C"), 1),
    b"I": 2,
    b"l": 4,
    b"d": 4,
    b"L": 8,
    b"D": 8,
}
_LENGTHS: Final = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q"}
_CLOSING: Final = {b"{": b"}", b"[": b"]"}
_DEEPEST = 64


def check_ubjson(content: bytes) -> None:
    """Raises ValueError, saying where, unless the bytes are one whole document."""
    walk = _Walk(content)
    walk.value(walk.take(1), 0)
    if walk.position != len(content):
        raise ValueError(f"something follows its end, at byte {walk.position}")


class _Walk:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    def take(self, size: int) -> bytes:
        start = self.position
        self._skip(size)
        return self._content[start : self.position]

    def value(self, marker: bytes, depth: int) -> None:
        """Passes by what a marker announces."""
        if marker in _SIZES:
            self._skip(_SIZES[marker])
        elif marker in (b"S", b"H"):
            self._skip(self._length())
        elif marker in _CLOSING and depth < _DEEPEST:
            self._container(marker, depth + 1)
        else:
            raise ValueError(f"unknown marker {marker!r} before byte {self.position}")

    def _container(self, opening: bytes, depth: int) -> None:
        kind = self.take(1) if self._found(b"$") else b""
        count = self._length() if self._found(b"#") else None
        keyed = opening == b"{"
        if count is None:
            while not self._found(_CLOSING[opening]):
                self._entry(keyed, kind, depth)
        elif kind in _SIZES and not keyed:
            self._skip(count * _SIZES[kind])
        else:
            for _ in range(count):
                self._entry(keyed, kind, depth)

    def _entry(self, keyed: bool, kind: bytes, depth: int) -> None:
        if keyed:
            self._skip(self._length())
        self.value(kind or self.take(1), depth)

    def _length(self) -> int:
        marker = self.take(1)
        if marker not in _LENGTHS:
            raise ValueError(f"no length before byte {self.position}")
        (length,) = struct.unpack(_LENGTHS[marker], self.take(_SIZES[marker]))
        return int(length)

    def _found(self, marker: bytes) -> bool:
        found = self._content[self.position : self.position + 1] == marker
        self.position += found
        return found

    def _skip(self, size: int) -> None:
        if not 0 <= size <= len(self._content) - self.position:
            raise ValueError(f"it is cut off: {size} bytes should follow byte {self.position} of {len(self._content)}")
        self.position += size
