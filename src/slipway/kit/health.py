"""One HTTP port for probes and metrics. It reads a request's first line and nothing else of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

log = logging.getLogger(__name__)

LONGEST_HEAD = 16 * 1024  # bytes
PATIENCE = 5.0  # seconds for a client to send its request and to take the answer
MOST_CONNECTIONS = 64

Check = Callable[[], Iterable[str]]
"""What is wrong, in a line each; nothing when all is well."""


class HealthServer:
    """Answers `/healthz`, `/readyz` and `/metrics`."""

    def __init__(self, registry: CollectorRegistry, *, healthy: Check, ready: Check) -> None:
        self._registry = registry
        self._checks = {"/healthz": healthy, "/livez": healthy, "/readyz": ready}
        self._connections = 0

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Listens; raises OSError when it cannot. Port 0 takes any free one."""
        return await asyncio.start_server(self._serve, host, port, limit=LONGEST_HEAD)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= MOST_CONNECTIONS:
                async with asyncio.timeout(PATIENCE):
                    await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            log.debug("A client of the health port sent no whole request")
        finally:
            self._connections -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        status, kind, body = self.respond(method, rest.partition(" ")[0].partition("?")[0])
        lines = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        writer.write("\r\n".join((*lines, "", "")).encode("latin-1") + (b"" if method == "HEAD" else body))
        await writer.drain()

    def respond(self, method: str, path: str) -> tuple[HTTPStatus, str, bytes]:
        """Status, content type and body of an answer."""
        if method not in {"GET", "HEAD"}:
            return HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"GET only\n"
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry)
        if path not in self._checks:
            return HTTPStatus.NOT_FOUND, "text/plain", b"/healthz, /readyz or /metrics\n"
        problems = [*self._checks[path]()]
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        return status, "text/plain; charset=utf-8", ("\n".join(problems or ["ok"]) + "\n").encode()
