"""A local port that leads to a ready pod of a model service, through the API server.

Each connection is a websocket of its own, `v4.channel.k8s.io`, to the pod's `portforward` subresource: channel 0
carries the data and channel 1 says what went wrong; the first message on each is the port, two bytes, little-endian
(k8s.io/cri-streaming, `portforward/websocket.go`). docs/decisions/0010 says why this and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from slipway.client.connection import Connection
from slipway.client.errors import FailedError, InvalidInputError, NotFoundError, SlipwayError, UnreachableError
from slipway.kit.objects import POD, Manifest
from slipway.kit.websocket import WebSocket, WebSockets
from slipway.views.pods import pod_view

PROTOCOL: Final = "v4.channel.k8s.io"
DEFAULT_PORT: Final = 8080
"""Where a model server listens, unless its container says otherwise."""
HOST: Final = "127.0.0.1"
_DATA, _ERROR = 0, 1
_CHUNK = 32 * 1024  # bytes
_PATIENCE = 30.0  # seconds until a connection is given up for which no pod is ready
_PAUSE = 0.5  # seconds between two looks for a ready pod
_SILENCE = 10.0  # seconds that the pod may be silent once the client has said that it will send no more


class Report(Protocol):
    """Is told what happens, and whether it is a trouble."""

    def __call__(self, text: str, *, trouble: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Ports:
    """`local`: on this machine, 0 is any free one. `remote`: of the pod, None is the model server's."""

    local: int = 0
    remote: int | None = None


def parse_ports(text: str | None) -> Ports:
    """`LOCAL`, `LOCAL:REMOTE` or `:REMOTE`. Without anything the local port is the model server's."""
    if not text:
        return Ports(DEFAULT_PORT)
    local, colon, remote = text.partition(":")
    numbers = [int(part) if part.isdecimal() else -1 for part in (local or "0", remote or "1")]
    if not all(0 <= number < 65536 for number in numbers) or (colon and not remote) or not numbers[1]:  # noqa: PLR2004
        raise InvalidInputError(
            f"{text} is no port.", "Write LOCAL, LOCAL:REMOTE or :REMOTE, for example 8000:8080; LOCAL 0 is any."
        )
    return Ports(numbers[0], numbers[1] if remote else None)


class Forward:
    """Accepts connections on loopback and carries each to a ready pod; while there is none, they wait."""

    def __init__(self, client: Connection, name: str, remote: int | None, report: Report) -> None:
        self.port = 0
        self._client = client
        self._name = name
        self._remote = remote
        self._report = report
        self._pod = ""
        self._failed = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def choose(self) -> tuple[str, int]:
        """The pod for the next connection, and its port: the one before while it is ready, else another ready one."""
        pods = {pod["metadata"]["name"]: pod for pod in await self._client.pods(self._name) if pod_view(pod).ready}
        if not pods:
            raise FailedError(f"No pod of {self._name} is ready.", f"See why with `slipway describe {self._name}`.")
        others = [name for name in pods if name != self._failed] or [*pods]
        chosen = self._pod if self._pod in pods else others[0]
        http = _port(pods[chosen])
        port = self._remote or http
        if chosen != self._pod:
            self._pod = chosen
            here = f"{'http://' if port == http else ''}{HOST}:{self.port}"
            self._report(f"Forwarding {here} -> {self._name} (pod {chosen})", trouble=False)
        return chosen, port

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries one connection to its end."""
        carrying = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(carrying)
        try:
            await carrying
        except SlipwayError as error:
            self._report(error.message, trouble=True)
        except asyncio.CancelledError:
            carrying.cancel()
        finally:
            self._tasks.discard(carrying)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def close(self) -> None:
        """Ends all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sockets = self._client.sockets
        if sockets is None:
            raise InvalidInputError(
                "This client has no connection that could be forwarded.", "Use `AsyncClient.connect`."
            )
        if not await self._tunnel(sockets, reader, writer):
            await self._tunnel(sockets, reader, writer)

    async def _tunnel(self, sockets: WebSockets, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Carries it to a pod; False where that pod cannot be reached, so that another one may."""
        pod, port = await self._ready()
        path = f"{POD.url(self._client.namespace, pod, 'portforward')}?ports={port}"
        try:
            with self._client.errors():
                async with sockets.websocket(path, PROTOCOL) as socket:
                    said = await _relay(socket, reader, writer)
        except (NotFoundError, FailedError, UnreachableError) as error:
            self._note(pod, error.message)
            return False
        self._note(pod, said)
        return True

    def _note(self, pod: str, said: str) -> None:
        """What went wrong with a pod; it may be gone, so that the next connection looks for another one."""
        if said:
            self._failed, self._pod = pod, ""
            self._report(f"{pod}: {said}", trouble=True)

    async def _ready(self) -> tuple[str, int]:
        """A ready pod, awaited for half a minute: between two pods there may be none."""
        until, waits = asyncio.get_running_loop().time() + _PATIENCE, False
        while True:
            try:
                return await self.choose()
            except FailedError as error:
                if asyncio.get_running_loop().time() > until:
                    raise
                if not waits:
                    self._report(f"{error.message} Waiting for one.", trouble=True)
                waits, self._pod = True, ""
            await asyncio.sleep(_PAUSE)


def silent(text: str, *, trouble: bool) -> None:
    """Tells nobody."""


@asynccontextmanager
async def forward(client: Connection, name: str, ports: Ports, report: Report) -> AsyncIterator[Forward]:
    """Listens while the block runs; `report` is told of each pod that is used. A pod is looked for at once."""
    await client.get(name)
    forwarded = Forward(client, name, ports.remote, report)
    try:
        server = await asyncio.start_server(forwarded.accept, HOST, ports.local)
    except OSError as error:
        raise InvalidInputError(
            f"{HOST}:{ports.local} cannot be listened on: {error.strerror or error}.",
            f"Choose another port: slipway port-forward {name} {ports.local + 1}, or 0 for any.",
        ) from error
    async with server:
        forwarded.port = server.sockets[0].getsockname()[1]
        await forwarded.choose()
        try:
            yield forwarded
        finally:
            await forwarded.close()


async def _relay(socket: WebSocket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Carries bytes both ways until one side ends; what went wrong at the pod, or nothing.

    The protocol cannot say that a client will send no more. So when it has said so, the pod may still answer, for as
    long as it is not silent.
    """
    sending = asyncio.create_task(_send(socket, reader))
    opened, said = set[int](), ""
    try:
        while (message := await _next(socket, sending)) is not None:
            channel, data = message[0] if message else _DATA, message[1:]
            if channel not in opened:
                opened.add(channel)  # the port
            elif channel == _ERROR:
                said += data.decode(errors="replace")
            else:
                writer.write(data)
                await writer.drain()
    except OSError:
        pass  # the client has gone
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return " ".join(said.split())


async def _next(socket: WebSocket, sending: asyncio.Task[None]) -> bytes | None:
    """The next message; None at the end, or when the client sends no more and the pod is silent."""
    receiving = asyncio.ensure_future(socket.receive())
    try:
        await asyncio.wait([receiving, sending], return_when=asyncio.FIRST_COMPLETED)
        with suppress(TimeoutError):
            return await asyncio.wait_for(receiving, _SILENCE if sending.done() else None)
        return None
    finally:
        receiving.cancel()


async def _send(socket: WebSocket, reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            if not await socket.send(bytes([_DATA]) + data):
                return


def _port(pod: Manifest) -> int:
    """The port of the model server's container: the one called http, else the first."""
    containers = pod.get("spec", {}).get("containers") or [{}]
    model = next((container for container in containers if container.get("name") == "model"), containers[0])
    ports = model.get("ports") or []
    named = [port for port in ports if port.get("name") == "http"] or ports
    return int(named[0]["containerPort"]) if named else DEFAULT_PORT
