"""A connection's other end without a socket."""

from __future__ import annotations


class Wire:
    """A transport that keeps what was written."""

    def __init__(self):
        self.written = b""
        self.closed = self.aborted = self.paused = False

    def get_extra_info(self, _name):
        return ("127.0.0.1", 5)

    def write(self, data):
        self.written += bytes(data)

    def writelines(self, parts):
        for part in parts:
            self.write(part)

    def close(self):
        self.closed = True

    def abort(self):
        self.closed = self.aborted = True

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False


def feed(protocol, *pieces: bytes) -> None:
    """Hands bytes to a buffered protocol as a transport does, in parts that its buffer holds."""
    for piece in pieces:
        rest = memoryview(piece)
        while len(rest) > 0:
            buffer = protocol.get_buffer(-1)
            size = min(len(buffer), len(rest))
            buffer[:size] = rest[:size]
            protocol.buffer_updated(size)
            rest = rest[size:]
