"""Compressed bodies: gzip and deflate, both ways (RFC 9110, 8.4; RFC 7694 for what a request may be encoded with)."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

from slipway_serving.errors import BodyTooLargeError, InvalidInputError, UnsupportedEncodingError
from slipway_serving.http.messages import Request, Response

CONTENT_ENCODING = b"content-encoding"
ACCEPT_ENCODING = b"accept-encoding"
SMALLEST = 1024
"""Bodies up to this size are answered as they are: they would hardly become smaller."""
_WINDOWS = {b"gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}
_ALIASES = {b"x-gzip": b"gzip"}
_PIECE = 64 << 10
_ON_LOOP = 64 << 10
"""What is larger is compressed in a thread."""
_ON_LOOP_COMPRESSED = 1 << 10
"""Of a request, whose size is known only afterwards; deflate makes at most 1032 bytes of one."""
_LEVEL = 1
"""The higher levels take several times as long, and tensors become hardly smaller."""


async def decoded(request: Request, limit: int) -> None:
    """Replaces the body of a request by what was compressed.

    Raises UnsupportedEncodingError, InvalidInputError, and BodyTooLargeError before more than `limit` bytes have come
    of it.
    """
    name = request.headers[CONTENT_ENCODING].strip().lower()
    if name in {b"", b"identity"}:
        return
    encoding = _ALIASES.get(name, name)
    if encoding not in _WINDOWS:
        raise UnsupportedEncodingError(
            f"Content-Encoding {name[:40].decode('latin-1')!r} is not possible; "
            "send the body as gzip, deflate or as it is"
        )
    body = request.body
    if len(body) <= _ON_LOOP_COMPRESSED:
        request.body = decompress(body, encoding, limit)
    else:
        request.body = await asyncio.to_thread(decompress, body, encoding, limit)


def decompress(body: bytes | bytearray | memoryview, encoding: bytes, limit: int) -> bytearray:
    """A body without its encoding. Raises InvalidInputError, and BodyTooLargeError beyond `limit` bytes."""
    window = _window(body, encoding)
    result = bytearray()
    rest: bytes | bytearray | memoryview = body
    try:
        while rest:
            rest = _append_member(rest, window, result, limit)
            if encoding == b"deflate" and rest:
                raise InvalidInputError(f"{len(rest)} bytes follow the end of the deflate body")
    except zlib.error as error:
        raise InvalidInputError(f"the request body is not valid {encoding.decode()}: {error}") from None
    return result


def _window(body: bytes | bytearray | memoryview, encoding: bytes) -> int:
    """`wbits` for zlib. What calls itself deflate often lacks zlib's two bytes of header, against the RFC."""
    if encoding == b"deflate" and len(body) > 1 and (body[0] & 15 != zlib.DEFLATED or (body[0] << 8 | body[1]) % 31):
        return -zlib.MAX_WBITS
    return _WINDOWS[encoding]


def _append_member(
    data: bytes | bytearray | memoryview, window: int, result: bytearray, limit: int
) -> bytes | bytearray | memoryview:
    """Adds one member (a gzip body may have several) to `result`; returns what follows it."""
    decompressor = zlib.decompressobj(window)
    view = memoryview(data)
    taken = 0
    while not decompressor.eof:
        piece = decompressor.unconsumed_tail or view[taken : taken + _PIECE]
        if not decompressor.unconsumed_tail:
            taken += len(piece)
        made = decompressor.decompress(piece, _PIECE)
        if len(result) + len(made) > limit:
            raise BodyTooLargeError(
                f"the request body is larger than {limit} bytes once decompressed; the limit is set with --max-body"
            )
        result += made
        if not piece and not made and not decompressor.eof:
            raise InvalidInputError("the compressed request body ends too early")
    return view[taken - len(decompressor.unused_data) :]


def encoded(request: Request, response: Response) -> Response:
    """The answer, compressed where the client asks for it and it is worth it; large ones as a stream."""
    accepted = request.headers.get(ACCEPT_ENCODING)
    if accepted is None or response.stream is not None or len(response.body) <= SMALLEST or request.method == "HEAD":
        return response
    encoding = chosen(accepted)
    if encoding is None:
        return response
    headers = [*(response.headers or ()), (CONTENT_ENCODING, encoding), (b"vary", ACCEPT_ENCODING)]
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[encoding])
    if len(response.body) > _ON_LOOP:
        return Response(b"", response.status, response.content_type, headers, _pieces(response.body, compressor))
    body = compressor.compress(response.body) + compressor.flush()
    return Response(body, response.status, response.content_type, headers)


async def _pieces(body: bytes, compressor: zlib._Compress) -> AsyncIterator[bytes]:
    view = memoryview(body)
    for start in range(0, len(view), _PIECE):
        yield await asyncio.to_thread(compressor.compress, view[start : start + _PIECE])
    yield compressor.flush()


def chosen(accepted: bytes) -> bytes | None:
    """Whichever of gzip and deflate an Accept-Encoding header likes better; None where it wants neither."""
    weights: dict[bytes, float] = {}
    for entry in accepted.lower().split(b","):
        name, _, parameter = entry.partition(b";")
        weights[_ALIASES.get(name.strip(), name.strip())] = _weight(parameter.strip())
    best = max(_WINDOWS, key=lambda name: weights.get(name, 0.0))
    return best if weights.get(best, 0.0) > 0 else None


def _weight(parameter: bytes) -> float:
    if not parameter:
        return 1.0
    try:
        return float(parameter.removeprefix(b"q="))
    except ValueError:
        return 0.0
