"""Streams through the API server: websockets on which each message is bytes.

Kubernetes' port forwarding speaks `v4.channel.k8s.io` on them (k8s.io/cri-streaming, `portforward/websocket.go`).
"""

from __future__ import annotations

import base64
import secrets
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from httpx2.websockets import AsyncWebSocketSession

LARGEST_MESSAGE = 1024 * 1024  # bytes; the kubelet's are of 32 KiB


class WebSocket(Protocol):
    """An open websocket. Nothing here raises: a stream that is lost has ended."""

    async def send(self, message: bytes) -> bool:
        """Sends one message; False when the stream has ended."""
        ...

    async def receive(self) -> bytes | None:
        """The next message, None when the stream has ended."""
        ...


class WebSockets(Protocol):
    """Who can open websockets: `RestClient`, and stand-ins in tests."""

    def websocket(self, path: str, protocol: str) -> AbstractAsyncContextManager[WebSocket]:
        """Opens one with a subprotocol; raises the errors of `slipway.kit.client`. Closed at the end of the block."""
        ...


def handshake(protocol: str) -> dict[str, str]:
    """The headers of a request to open one (RFC 6455, section 4.1)."""
    return {
        "Accept": "*/*",  # the kubelet's routes name no type that they answer with: asked for one, they refuse
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": protocol,
    }


class Session:
    """A `WebSocket` on an HTTP connection that was upgraded."""

    def __init__(self, session: AsyncWebSocketSession) -> None:
        from httpx2.websockets import HTTPXWSException  # noqa: PLC0415  # a tenth of a second that few need

        self._session = session
        self._ends = (
            HTTPXWSException,
            OSError,
            RuntimeError,
        )  # RuntimeError: wsproto, once it is closed
        self._over = False

    async def send(self, message: bytes) -> bool:
        try:
            await self._session.send_bytes(message)
        except self._ends:
            self._over = True
        return not self._over

    async def receive(self) -> bytes | None:
        if self._over:
            return None
        try:
            return await self._session.receive_bytes()
        except self._ends:
            self._over = True
            return None
