"""One HTTP/2 connection with gRPC calls on it (RFC 9113; gRPC over HTTP2).

Written on asyncio itself: grpcio spends 1.4 ms of processor time on a call with a tensor of 1 MB, most of it on copies,
and 20 MB of disk. Here a message is received into the memory that becomes the tensor. Header blocks are decoded by
hpack; those that are sent use none of its state.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
from hpack import Decoder, HPACKError

from slipway_serving.grpc import frames
from slipway_serving.grpc.streams import WINDOW, Stream

if TYPE_CHECKING:
    from slipway_serving.grpc.server import GrpcServer, OpenCall

STREAMS = 256
"""Calls that a client may have at once on one connection."""
FRAME = 1 << 20
HEAD_BYTES = 64 << 10
_MOST_RESETS = 2000
_PREFIX = 5
_ALIGNMENT = 16
_ODD = 1


class BrokenError(Exception):
    """The client broke the protocol; the connection ends with this error code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Connection(asyncio.BufferedProtocol):
    """A client's connection."""

    def __init__(self, server: GrpcServer) -> None:
        self.server = server
        self.peer = ""
        self._transport: Any = None
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, Stream] = {}
        self._decoder = Decoder(HEAD_BYTES)
        self._known: dict[bytes, dict[bytes, bytes]] = {}
        self._buffered = bytearray()
        self._preface = True
        self._data: tuple[Stream | None, int] | None = None
        self._left = 0
        self._block: tuple[int, int, bytearray] | None = None
        self._last = 0
        self._resets = 0
        self._window = frames.DEFAULT_WINDOW
        self._first_window = frames.DEFAULT_WINDOW
        self._frame = frames.DEFAULT_FRAME
        self._taken = 0
        self._closing = self.is_full = False
        self._open_call: OpenCall = server.open_call

    # asyncio's side

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if isinstance(peer, tuple) else ""
        open_call = self.server.admit(self)
        if open_call is None:
            self.abort()
            return
        self._open_call = open_call
        asked = {
            frames.SETTING_STREAMS: STREAMS,
            frames.SETTING_WINDOW: WINDOW,
            frames.SETTING_FRAME: FRAME,
            frames.SETTING_HEADERS: HEAD_BYTES,
        }
        transport.write(frames.settings(asked) + frames.window_update(0, 16 * WINDOW - frames.DEFAULT_WINDOW))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._closing = True
        self.server.connections.discard(self)
        for stream in list(self._streams.values()):
            if stream.call is not None:
                stream.call.cancel()
        self._streams.clear()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's signature
        return self.server.buffer

    def pause_writing(self) -> None:
        self._transport.pause_reading()  # who does not read is not read either
        self.is_full = True
        for stream in self._streams.values():
            if stream.room is not None:
                stream.room.clear()

    def resume_writing(self) -> None:
        self._transport.resume_reading()
        self.is_full = False
        self._flush_all()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            self._feed(self.server.buffer[:nbytes])
        except BrokenError as error:
            self._end(error.code)
        except HPACKError:
            self._end(frames.COMPRESSION_ERROR)

    # Frames

    def _feed(self, view: memoryview) -> None:
        at = 0
        while at < len(view) and not self._closing:
            if self._left:
                size = min(self._left, len(view) - at)
                self._take(view[at : at + size])
                at += size
            else:
                at = self._next(view, at)

    def _next(self, view: memoryview, at: int) -> int:
        """Reads the head of a frame and, but for data, all of it; returns where the next one begins."""
        if self._preface:
            return self._read_preface(view, at)
        if self._buffered:
            return self._gather(view, at)
        if len(view) - at < frames.HEAD_BYTES:
            self._buffered += view[at:]
            return len(view)
        length, kind, flags, number = self._head(view, at)
        at += frames.HEAD_BYTES
        if kind == frames.DATA and not flags & frames.PADDED:
            self._begin_data(number, flags, length)
            return at
        if len(view) - at < length:
            self._buffered += view[at - frames.HEAD_BYTES :]
            return len(view)
        self._frame_read(kind, flags, number, bytes(view[at : at + length]))
        return at + length

    def _gather(self, view: memoryview, at: int) -> int:
        """Adds to a frame of which a part has come."""
        have = len(self._buffered)
        if have < frames.HEAD_BYTES:
            wanted = frames.HEAD_BYTES
        else:
            length, kind, flags, number = self._head(self._buffered, 0)
            wanted = frames.HEAD_BYTES + length
            if kind == frames.DATA and not flags & frames.PADDED:
                self._buffered.clear()
                self._begin_data(number, flags, length)
                return at
        piece = view[at : at + wanted - have]
        self._buffered += piece
        if len(self._buffered) == wanted and wanted > frames.HEAD_BYTES - 1:
            self._gathered()
        return at + len(piece)

    def _gathered(self) -> None:
        length, kind, flags, number = self._head(self._buffered, 0)
        if kind == frames.DATA and not flags & frames.PADDED:
            self._buffered.clear()
            self._begin_data(number, flags, length)
        elif len(self._buffered) == frames.HEAD_BYTES + length:
            payload = bytes(self._buffered[frames.HEAD_BYTES :])
            self._buffered.clear()
            self._frame_read(kind, flags, number, payload)

    def _head(self, view: memoryview | bytes | bytearray, at: int) -> tuple[int, int, int, int]:
        length, kind, flags, number = frames.head(view, at)
        if length > (FRAME if kind == frames.DATA else HEAD_BYTES):
            raise BrokenError(frames.FRAME_SIZE_ERROR)
        if self._block is not None and (kind != frames.CONTINUATION or number != self._block[0]):
            raise BrokenError(frames.PROTOCOL_ERROR)
        return length, kind, flags, number

    def _read_preface(self, view: memoryview, at: int) -> int:
        piece = view[at : at + len(frames.PREFACE) - len(self._buffered)]
        self._buffered += piece
        if not frames.PREFACE.startswith(bytes(self._buffered)):
            raise BrokenError(frames.PROTOCOL_ERROR)
        if len(self._buffered) == len(frames.PREFACE):
            self._preface = False
            self._buffered.clear()
        return at + len(piece)

    def _frame_read(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.HEADERS:
            self._headers(number, flags, _unpadded(payload, flags))
        elif kind == frames.CONTINUATION:
            self._continued(number, flags, payload)
        elif kind == frames.DATA:
            self._begin_data(number, flags, len(payload))
            content = _unpadded(payload, flags)
            self._left -= len(payload) - len(content)
            self.took(self._data[0] if self._data else None, len(payload) - len(content))
            self._take(memoryview(content))
        elif kind == frames.RST_STREAM:
            self._reset(number)
        elif kind == frames.WINDOW_UPDATE:
            self._opened(number, payload)
        elif kind == frames.SETTINGS:
            self._settings(flags, number, payload)
        elif kind == frames.PING:
            self._ping(flags, payload)
        elif kind == frames.PUSH_PROMISE:
            raise BrokenError(frames.PROTOCOL_ERROR)

    def _ping(self, flags: int, payload: bytes) -> None:
        if len(payload) != 8:  # noqa: PLR2004  # RFC 9113, 6.7
            raise BrokenError(frames.FRAME_SIZE_ERROR)
        if not flags & frames.ACK:
            self._transport.write(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) % 6 or (flags & frames.ACK and payload):
            raise BrokenError(frames.FRAME_SIZE_ERROR)
        if flags & frames.ACK:
            return
        given = frames.read_settings(payload)
        window = given.get(frames.SETTING_WINDOW, self._first_window)
        frame = given.get(frames.SETTING_FRAME, self._frame)
        if window > frames.LARGEST_WINDOW:
            raise BrokenError(frames.FLOW_CONTROL_ERROR)
        if not frames.DEFAULT_FRAME <= frame <= frames.LARGEST_FRAME:
            raise BrokenError(frames.PROTOCOL_ERROR)
        for stream in self._streams.values():
            stream.window += window - self._first_window
        self._first_window, self._frame = window, frame
        self._transport.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._flush_all()

    # Calls

    def _headers(self, number: int, flags: int, block: bytes) -> None:
        if flags & frames.PRIORITISED:
            block = block[5:]
        if flags & frames.END_HEADERS:
            self._opening(number, flags, block)
        else:
            self._block = (number, flags, bytearray(block))

    def _continued(self, number: int, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise BrokenError(frames.PROTOCOL_ERROR)
        _, first, block = self._block
        block += payload
        if len(block) > HEAD_BYTES:
            raise BrokenError(frames.ENHANCE_YOUR_CALM)
        if flags & frames.END_HEADERS:
            self._block = None
            self._opening(number, first, bytes(block))

    def _opening(self, number: int, flags: int, block: bytes) -> None:
        headers = self._decode(block)
        if number in self._streams:  # trailers of a client say nothing in gRPC
            self._ended(self._streams[number])
            return
        if not number & _ODD or number <= self._last:
            raise BrokenError(frames.PROTOCOL_ERROR)
        self._last = number
        if len(self._streams) >= STREAMS:
            self._transport.write(frames.reset(number, frames.REFUSED_STREAM))
            return
        if not headers.get(b"content-type", b"").startswith(b"application/grpc"):
            sent = frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, number, frames.NO_GRPC)
            self._transport.write(sent)
            return
        stream = self._streams[number] = Stream(number, self._first_window)
        stream.call = self._open_call(self, stream, headers)
        if flags & frames.END_STREAM:
            self._ended(stream)

    def _decode(self, block: bytes) -> dict[bytes, bytes]:
        """Headers by name. Blocks that only refer to what is known mean the same until something new is known."""
        known = self._known.get(block)
        if known is not None:
            return known
        headers: dict[bytes, bytes] = {}
        for name, value in self._decoder.decode(block, raw=True):
            before = headers.get(name)
            headers[name] = value if before is None else before + b"," + value
        if min(block, default=0) >= 0x80:  # noqa: PLR2004  # each byte an index: nothing was added to the table
            self._known[block] = headers
        else:
            self._known.clear()
        return headers

    def _begin_data(self, number: int, flags: int, length: int) -> None:
        stream = self._streams.get(number)
        if stream is None and number > self._last:
            raise BrokenError(frames.PROTOCOL_ERROR)
        if stream is not None:
            stream.left -= length
            if stream.left < 0:
                raise BrokenError(frames.FLOW_CONTROL_ERROR)
        self._data = (stream, flags)
        self._left = length
        if not length:
            self._data_done()

    def _take(self, piece: memoryview) -> None:
        """A part of a data frame's content."""
        size = len(piece)
        stream = self._data[0] if self._data else None
        self._left -= size
        self.took(stream, size)
        if stream is not None and stream.call is not None:
            filled = stream.filled + size
            if stream.message is not None and filled < len(stream.message):
                stream.message[stream.filled : filled] = piece
                stream.filled = filled
            else:
                self._fill(stream, piece)
        if not self._left:
            self._data_done()

    def took(self, stream: Stream | None, size: int = 0) -> None:
        """Tells the client that it may send as much again, before it has to wait, once somebody wants more of it."""
        self._taken += size
        if self._taken >= 4 * WINDOW:
            self._transport.write(frames.window_update(0, self._taken))
            self._taken = 0
        if stream is None:
            return
        stream.taken += size
        if stream.taken >= WINDOW // 2 and stream.call is not None and stream.call.wants_more:
            stream.left += stream.taken
            self._transport.write(frames.window_update(stream.id, stream.taken))
            stream.taken = 0

    def _data_done(self) -> None:
        stream, flags = self._data or (None, 0)
        self._data = None
        if stream is not None and flags & frames.END_STREAM:
            self._ended(stream)

    def _fill(self, stream: Stream, piece: memoryview) -> None:
        """Puts messages together: a flag, a length of four bytes, and so many bytes."""
        at = 0
        while at < len(piece):
            if stream.message is None:
                taken = piece[at : at + _PREFIX - len(stream.prefix)]
                stream.prefix += bytes(taken)
                at += len(taken)
                if len(stream.prefix) == _PREFIX and not self._begin_message(stream):
                    return
            else:
                size = min(len(stream.message) - stream.filled, len(piece) - at)
                stream.message[stream.filled : stream.filled + size] = piece[at : at + size]
                stream.filled += size
                at += size
            if stream.message is not None and stream.filled == len(stream.message):
                message, stream.message, stream.prefix = stream.message, None, b""
                if stream.call is not None:
                    stream.call.received(message, compressed=stream.flags == 1)

    def _begin_message(self, stream: Stream) -> bool:
        stream.flags = stream.prefix[0]
        length = int.from_bytes(stream.prefix[1:])
        if length > self.server.max_body:
            if stream.call is not None:
                stream.call.too_large(length)
            return False
        # Raw tensors come last: where the message ends on a multiple of 16, the last one begins on one of its elements.
        offset = -length % _ALIGNMENT
        stream.message = np.empty(offset + length, dtype=np.uint8).data[offset:]
        stream.filled = 0
        return True

    def _ended(self, stream: Stream) -> None:
        stream.ended = True
        if stream.call is not None:
            stream.call.complete(whole=stream.message is None and not stream.prefix)

    def _reset(self, number: int) -> None:
        stream = self._streams.pop(number, None)
        if stream is not None and stream.call is not None:
            stream.call.cancel()
        self._resets += 1
        if self._resets > _MOST_RESETS and self._resets * 4 > self._last:  # opening and resetting is all that it does
            raise BrokenError(frames.ENHANCE_YOUR_CALM)

    # Sending

    def send(self, stream: Stream, payload: bytes | memoryview, kind: int, flags: int) -> None:
        """Sends headers or data of a call, data as the client's windows allow."""
        if stream.id not in self._streams or self._closing:
            return
        if not stream.out and (kind == frames.HEADERS or len(payload) <= min(stream.window, self._window, self._frame)):
            self._write(stream, payload, kind, flags)
            return
        stream.out.append((payload, kind, flags))
        self._flush(stream)
        if stream.out and stream.room is not None:
            stream.room.clear()

    def _write(self, stream: Stream, payload: bytes | memoryview, kind: int, flags: int) -> None:
        if kind == frames.DATA:
            stream.window -= len(payload)
            self._window -= len(payload)
        head = frames.data_head(kind, flags, stream.id, len(payload))
        if len(payload) < frames.DEFAULT_FRAME:
            self._transport.write(head + payload)
        else:
            self._transport.writelines((head, payload))
        if flags & frames.END_STREAM:
            self._streams.pop(stream.id, None)
            if not stream.ended:  # the client need not say the rest (RFC 9113, 8.1)
                self._transport.write(frames.reset(stream.id, frames.NO_ERROR))

    def _flush(self, stream: Stream) -> None:
        while stream.out:
            payload, kind, flags = stream.out[0]
            if kind == frames.HEADERS:
                stream.out.popleft()
                self._write(stream, payload, kind, flags)
                continue
            size = min(len(payload), stream.window, self._window, self._frame)
            if size <= 0 and len(payload):
                return
            if size == len(payload):
                stream.out.popleft()
                self._write(stream, payload, kind, flags)
            else:
                view = memoryview(payload)
                stream.out[0] = (view[size:], kind, flags)
                self._write(stream, view[:size], kind, 0)
        if stream.room is not None and not self.is_full:
            stream.room.set()

    def _flush_all(self) -> None:
        for stream in list(self._streams.values()):
            self._flush(stream)

    def _opened(self, number: int, payload: bytes) -> None:
        size = frames.number(payload) if len(payload) == 4 else 0  # noqa: PLR2004  # RFC 9113, 6.9
        if not size:
            raise BrokenError(frames.PROTOCOL_ERROR)
        if not number:
            self._window += size
            if self._window > frames.LARGEST_WINDOW:
                raise BrokenError(frames.FLOW_CONTROL_ERROR)
            self._flush_all()
        elif number in self._streams:
            stream = self._streams[number]
            stream.window += size
            self._flush(stream)

    # Ends

    def drain(self) -> None:
        """Asks the client to open a new connection for its next call; calls are still answered."""
        if not self._closing:
            self._transport.write(frames.goaway(frames.LARGEST_WINDOW))

    def end_streams(self) -> None:
        for stream in list(self._streams.values()):
            if stream.call is not None:
                stream.call.no_more()

    def abort(self) -> None:
        """There is no more time, or no room: whoever waits learns it from the connection."""
        self._closing = True
        self._transport.abort()

    def close_when_idle(self) -> None:
        if not self._streams:
            self._end(frames.NO_ERROR)

    def _end(self, error: int) -> None:
        if not self._closing:
            self._closing = True
            self._transport.write(frames.goaway(self._last, error))
            self._transport.close()


def _unpadded(payload: bytes, flags: int) -> bytes:
    if not flags & frames.PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise BrokenError(frames.PROTOCOL_ERROR)
    return payload[1 : len(payload) - payload[0]]
