"""The listening side: connections, what they share, and an end that answers everybody."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Protocol

from slipway_serving.errors import RequestError, TooManyConnectionsError
from slipway_serving.http.messages import Pending, Request, Response
from slipway_serving.http.protocol import HttpProtocol

_BUFFER_BYTES = 64 << 10
_BACKLOG = 2048
_SWEEP_SECONDS = 1.0
_POLL_SECONDS = 0.02
_HEALTH = "/v2/health/"
_SPARE = 64
"""Connections beyond the limit on which health is still told, and 503 to everybody else; what is more is dropped."""


class Application(Protocol):
    """What answers requests. No method raises."""

    def handle(self, request: Request) -> Response | Pending:
        """Answers at once, or says what the answer waits for."""

    def finish(self, request: Request, pending: Pending) -> Response:
        """The answer, now that `pending.future` is done."""

    def refuse(self, request: Request, error: RequestError) -> Response:
        """The answer to what is not read any further; `request` is as much of it as there is."""


class Full:
    """Serves connections beyond the limit: a probe must not find a server dead that is only busy."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self.finish = app.finish
        self.refuse = app.refuse

    def handle(self, request: Request) -> Response | Pending:
        if request.path.startswith(_HEALTH):
            return self._app.handle(request)
        error = TooManyConnectionsError("all connections are in use (--max-connections); try again later")
        return self._app.refuse(request, error)


class HttpServer:
    """Serves an application on one event loop.

    Times are in seconds: `keep_alive` is how long an idle connection is kept. While `draining`, answers close their
    connection. `max_connections` is how many are served at once, 0 for as many as the system lets the process have.
    `guard` raises a RequestError for a request, still without its body, whose body need not be read; the application
    has to refuse such a request too, because the guard is not asked where a body comes together with its head.
    """

    def __init__(
        self,
        app: Application,
        *,
        max_body: int = 64 << 20,
        keep_alive: float = 3660.0,
        max_connections: int = 0,
        guard: Callable[[Request], None] | None = None,
    ) -> None:
        self.app = app
        self.guard = guard
        self._full = Full(app)
        self._max_connections = max_connections or float("inf")
        self.max_body = max_body
        self.keep_alive = keep_alive
        self.draining = False
        self.in_flight = 0
        self.connections: set[HttpProtocol] = set()
        self.buffer = memoryview(bytearray(_BUFFER_BYTES))
        """Shared by all connections: each piece is read and parsed before the next is received."""
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._tick()
        self._sweeper = self._loop.create_task(self._sweep())
        self._servers: list[asyncio.Server] = []

    async def listen(self, listener: socket.socket) -> None:
        self._servers.append(
            await self._loop.create_server(lambda: HttpProtocol(self), sock=listener, backlog=_BACKLOG)
        )

    def admit(self, connection: HttpProtocol) -> Application | None:
        """Who answers a new connection, None where there is no room for it at all."""
        self.connections.add(connection)
        beyond = len(self.connections) - self._max_connections
        if beyond <= 0:
            return self.app
        return self._full if beyond <= _SPARE else None

    def _tick(self) -> None:
        self.date = b"date: " + formatdate(time.time(), usegmt=True).encode() + b"\r\n"

    async def _sweep(self) -> None:
        """One look a second at all deadlines costs less than a timer for each request."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._tick()
            self.expire()

    def expire(self) -> None:
        """Ends the connections whose deadline has passed."""
        now = self.now()
        for connection in [each for each in self.connections if each.deadline < now]:
            connection.expire()

    async def close(self, seconds: float) -> int:
        """Accepts nothing more, waits at most so long for what is in flight; returns how many stay unanswered."""
        self.draining = True
        for server in self._servers:
            server.close()
        deadline = self.now() + seconds
        while self.connections and self.now() < deadline:
            for connection in list(self.connections):
                connection.close_when_idle()
            await asyncio.sleep(_POLL_SECONDS)
        self._sweeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sweeper
        return self.in_flight
