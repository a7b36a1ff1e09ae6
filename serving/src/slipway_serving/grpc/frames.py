"""HTTP/2 frames (RFC 9113, 4 and 6) and the header blocks that a gRPC server sends (RFC 7541)."""

from __future__ import annotations

import struct
from typing import Final
from urllib.parse import quote

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20

SETTING_ENABLE_PUSH, SETTING_STREAMS, SETTING_WINDOW, SETTING_FRAME, SETTING_HEADERS = 2, 3, 4, 5, 6
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 5, 6, 7, 8, 9, 11

DEFAULT_WINDOW: Final = 65_535
LARGEST_WINDOW: Final = (1 << 31) - 1
DEFAULT_FRAME: Final = 16_384
LARGEST_FRAME: Final = (1 << 24) - 1

_HEAD = struct.Struct(">BHBBI")
_LONG = struct.Struct(">I")
_SETTING = struct.Struct(">HI")
_ERROR = struct.Struct(">II")


def head(view: memoryview | bytes | bytearray, at: int) -> tuple[int, int, int, int]:
    """Length, type, flags and stream of the frame whose head begins there."""
    high, low, kind, flags, stream = _HEAD.unpack_from(view, at)
    return high << 16 | low, kind, flags, stream & LARGEST_WINDOW


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return data_head(kind, flags, stream, len(payload)) + payload


def data_head(kind: int, flags: int, stream: int, length: int) -> bytes:
    return _HEAD.pack(length >> 16, length & 0xFFFF, kind, flags, stream)


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(key, value) for key, value in values.items()))


def read_settings(payload: bytes) -> dict[int, int]:
    """Later ones count where one is given twice."""
    return dict(_SETTING.iter_unpack(payload))


def window_update(stream: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _LONG.pack(size))


def reset(stream: int, error: int) -> bytes:
    return frame(RST_STREAM, 0, stream, _LONG.pack(error))


def goaway(last: int, error: int = NO_ERROR) -> bytes:
    return frame(GOAWAY, 0, 0, _ERROR.pack(last, error))


def number(payload: bytes) -> int:
    """The first four bytes, without their highest bit."""
    return int(_LONG.unpack_from(payload)[0]) & LARGEST_WINDOW


def literal(name: bytes, value: bytes) -> bytes:
    """A header without indexing, so that no state is shared with the client; its name is shorter than 127."""
    return b"\x00" + bytes((len(name),)) + name + _string(value)


def _string(value: bytes) -> bytes:
    """A length with a prefix of seven bits (RFC 7541, 5.1), and the bytes."""
    length = len(value)
    if length < 0x7F:  # noqa: PLR2004  # what the prefix holds
        return bytes((length,)) + value
    parts = bytearray((0x7F,))
    length -= 0x7F
    while length > 0x7F:  # noqa: PLR2004  # seven bits a byte
        parts.append(length & 0x7F | 0x80)
        length >>= 7
    parts.append(length)
    return bytes(parts) + value


_STATUS_200: Final = b"\x88"
_NOT_FOUND: Final = b"\x8d"
ANSWER: Final = (
    _STATUS_200
    + literal(b"content-type", b"application/grpc")
    + literal(b"grpc-accept-encoding", b"identity,deflate,gzip")
)
"""The headers of every answer."""
OK: Final = literal(b"grpc-status", b"0")
NO_GRPC: Final = b"\x0e\x03" + b"415"
"""What a client hears that speaks HTTP/2, but not gRPC: `:status` 415."""
_MOST_SAID = 1000
"""Percent-encoded it has to fit into the 8 KiB of headers that clients read."""


def trailers(status: int, message: str) -> bytes:
    """How a call ended; the message is percent-encoded (gRPC over HTTP2, Responses)."""
    said = quote(message[:_MOST_SAID], safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode()
    return literal(b"grpc-status", b"%d" % status) + literal(b"grpc-message", said)
