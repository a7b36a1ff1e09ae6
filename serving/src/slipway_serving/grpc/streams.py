"""What a connection keeps of one of its streams."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

    from slipway_serving.grpc.calls import Call

WINDOW: Final = 8 << 20
"""What a client may send on a call, and 16 times that on a connection, before it hears that it was taken."""


class Stream:
    """What has come of a call, and what it may send."""

    __slots__ = (
        "call",
        "ended",
        "filled",
        "flags",
        "id",
        "left",
        "message",
        "out",
        "prefix",
        "room",
        "taken",
        "window",
    )

    def __init__(self, number: int, window: int) -> None:
        self.id = number
        self.window = window
        self.call: Call | None = None
        self.prefix = b""
        self.message: memoryview | None = None
        self.filled = 0
        self.ended = False
        """The client has sent all that it wants to."""
        self.flags = 0
        self.taken = 0
        self.left = WINDOW
        self.out: deque[tuple[bytes | memoryview, int, int]] = deque()
        """Frames that wait for a window: payload, kind, flags."""
        self.room: asyncio.Event | None = None
        """Set while nothing waits for the client to read; a call with one answer has none."""
