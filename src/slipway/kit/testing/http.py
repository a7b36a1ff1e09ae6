"""The API server in memory behind HTTP on loopback: for tests of programs that would speak to a real one."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from slipway.kit import objects
from slipway.kit.client import ApiError
from slipway.kit.compare import MERGE_KEYS
from slipway.kit.objects import Kind, Manifest
from slipway.kit.testing.fields import Path
from slipway.kit.testing.server import ApiServer

T = TypeVar("T")
KINDS: Final = {(kind.path, kind.plural): kind for kind in vars(objects).values() if isinstance(kind, Kind)}
_ROUTE = re.compile(
    "(?P<base>/api/v1|/apis/[^/]+/[^/]+)(/namespaces/(?P<namespace>[^/]+)(?=/))?"
    "/(?P<plural>[a-z]+)(/(?P<name>[^/]+))?(/(?P<subresource>status))?"
)
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        return {key: values[-1] for key, values in parse_qs(urlsplit(self.target).query).items()}


Answer = tuple[int, bytes]


@dataclass
class Served:
    """A server under way at `url`.

    `others` answers what is no object: the version, logs, the service proxy; by method and path. Whoever changes
    `server` meanwhile does so with `do`, in the thread that serves it.
    """

    server: ApiServer
    loop: asyncio.AbstractEventLoop
    url: str = ""
    others: dict[tuple[str, str], Answer | Callable[[Request], Answer]] = field(default_factory=dict)
    upgrade: Callable[[Request, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None

    def do(self, function: Callable[..., T], *args: Any) -> T:
        """Calls a function in the thread of the server."""

        async def call() -> T:
            return function(*args)

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result()

    def put(self, kind: Kind, manifest: Manifest) -> Manifest:
        """`ApiServer.put`, in the thread of the server."""
        return self.do(self.server.put, kind, manifest)


@contextmanager
def serving() -> Iterator[Served]:
    """An API server in memory, reachable over HTTP while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="api-server")
    thread.start()

    async def start() -> tuple[Served, asyncio.Server]:
        served = Served(ApiServer(), loop)
        listener = await asyncio.start_server(lambda reader, writer: _connection(served, reader, writer), "127.0.0.1")
        served.url = "http://{}:{}".format(*listener.sockets[0].getsockname())
        return served, listener

    async def stop(listener: asyncio.Server) -> None:
        listener.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    served, listener = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield served
    finally:
        asyncio.run_coroutine_threadsafe(stop(listener), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _connection(served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The requests of one connection, one after the other."""
    with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        while request := await _read(reader):
            if request.headers.get("upgrade") and served.upgrade:
                await served.upgrade(request, reader, writer)
                break
            if request.query.get("watch") == "true":
                await _watch(served.server, request, writer)
                break
            status, body = await _answer(served, request)
            writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
    writer.close()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    line = (await reader.readline()).decode()
    if not line:
        return None
    method, target, _ = line.split()
    headers: dict[str, str] = {}
    while text := (await reader.readline()).decode().strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    return Request(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))))


async def _answer(served: Served, request: Request) -> Answer:
    other = served.others.get((request.method, request.path))
    if other is not None:
        return other(request) if callable(other) else other
    place = _place(request.path)
    if place is None:
        return _status(ApiError(_NOT_FOUND, "NotFound", f"{request.path} is not there"))
    try:
        body = await _CALLS[request.method](served.server, place, request)
    except ApiError as error:
        return _status(error)
    return 200, json.dumps(body).encode()


@dataclass(frozen=True, slots=True)
class _Place:
    kind: Kind
    namespace: str | None
    name: str
    subresource: str | None


def _place(path: str) -> _Place | None:
    found = _ROUTE.fullmatch(path)
    kind = KINDS.get((found["base"], found["plural"])) if found else None
    return _Place(kind, found["namespace"], found["name"] or "", found["subresource"]) if found and kind else None


async def _get(server: ApiServer, place: _Place, request: Request) -> Any:
    if place.name:
        return managed(server, await server.get(place.kind, place.name, place.namespace))
    labels, fields = request.query.get("labelSelector"), request.query.get("fieldSelector")
    page = await server.list(place.kind, place.namespace, labels=labels, fields=fields)
    items = [managed(server, item) for item in page.items]
    return {"metadata": {"resourceVersion": page.resource_version}, "items": items}


async def _post(server: ApiServer, place: _Place, request: Request) -> Any:
    return await server.create(place.kind, json.loads(request.body))


async def _put(server: ApiServer, place: _Place, request: Request) -> Any:
    return await server.replace(place.kind, json.loads(request.body), subresource=place.subresource)


async def _patch(server: ApiServer, place: _Place, request: Request) -> Any:
    body, query, part = json.loads(request.body), request.query, place.subresource
    if "apply" not in request.headers["content-type"]:
        return await server.patch(place.kind, place.name, place.namespace, body, subresource=part)
    manager, force, dry = query["fieldManager"], query.get("force") == "true", "dryRun" in query
    return await server.apply(place.kind, body, manager=manager, force=force, subresource=part, dry_run=dry)


async def _delete(server: ApiServer, place: _Place, request: Request) -> Any:
    if "dryRun" in request.query:
        return await server.get(place.kind, place.name, place.namespace)
    options = json.loads(request.body) if request.body else {}
    await server.delete(place.kind, place.name, place.namespace, uid=options.get("preconditions", {}).get("uid"))
    return {"kind": "Status", "status": "Success"}


_CALLS: Final = {"GET": _get, "POST": _post, "PUT": _put, "PATCH": _patch, "DELETE": _delete}


async def _watch(server: ApiServer, request: Request, writer: asyncio.StreamWriter) -> None:
    place, query = _place(request.path), request.query
    if place is None:
        raise ConnectionError
    writer.write(b"HTTP/1.1 200 x\r\nConnection: close\r\n\r\n")
    await writer.drain()
    changes = server.watch(
        place.kind,
        place.namespace,
        resource_version=query.get("resourceVersion"),
        labels=query.get("labelSelector"),
        fields=query.get("fieldSelector"),
        initial_events="sendInitialEvents" in query,
    )
    async with aclosing(changes):
        async for event in changes:
            writer.write(json.dumps({"type": event.type, "object": event.object}).encode() + b"\n")
            await writer.drain()


def _status(error: ApiError) -> Answer:
    causes = [{"field": path, "message": says} for path, says in error.causes]
    body = {
        "kind": "Status",
        "status": "Failure",
        "reason": error.reason,
        "message": error.message,
        "code": error.status,
        "details": {"causes": causes},
    }
    return error.status, json.dumps(body).encode()


def managed(server: ApiServer, manifest: Manifest) -> Manifest:
    """The object with `metadata.managedFields`: who applied which of its fields."""
    owners = server._storage.owners  # noqa: SLF001  # of this package
    entries = []
    for (uid, place), fields in owners.items():
        manager, _, subresource = place.partition("/")
        if uid == manifest["metadata"]["uid"]:
            more = {"subresource": subresource} if subresource else {}
            entries.append({"manager": manager, "operation": "Apply", "fieldsV1": _fields_v1([*fields]), **more})
    return {**manifest, "metadata": {**manifest["metadata"], "managedFields": entries}}


def _fields_v1(paths: list[Path]) -> dict[str, Any]:
    """Paths as the API server writes them: `f:NAME`, and `k:{…}` for an item of a shared list."""
    tree: dict[str, Any] = {}
    for path in paths:
        at, last = tree, ""
        for step in path:
            keys = dict(zip(MERGE_KEYS.get(last, ()), step, strict=True)) if isinstance(step, tuple) else None
            at = at.setdefault(f"f:{step}" if keys is None else f"k:{json.dumps(keys)}", {})
            last = step if isinstance(step, str) else ""
    return tree
