"""The client of a real API server, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote

import httpx2
import msgspec

from slipway.kit.access import Access
from slipway.kit.client import (
    AlreadyExists,
    ApiError,
    Conflict,
    EventType,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    Page,
    Unreachable,
    WatchEvent,
)
from slipway.kit.fence import check_fence
from slipway.kit.limits import TokenBucket
from slipway.kit.metrics import Metrics
from slipway.kit.objects import Kind, Manifest

if TYPE_CHECKING:
    from slipway.kit.websocket import WebSocket

TIMEOUT = httpx2.Timeout(30.0, connect=5.0)  # seconds; a watch may be silent for as long as it was asked to last
LIMITS = httpx2.Limits(max_connections=32, max_keepalive_connections=32, keepalive_expiry=60.0)
MOST_RETRIES = 3  # of a request that the API server was too busy for
MOST_RETRY_WAIT = 10.0  # seconds
LARGEST_EVENT = 16 * 1024 * 1024  # bytes; etcd holds no object of more than 1.5 MiB
TOO_MANY_REQUESTS = 429

_ERRORS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    422: Invalid,
}
_JSON = {"Content-Type": "application/json"}
_MERGE = {"Content-Type": "application/merge-patch+json"}
_APPLY = {"Content-Type": "application/apply-patch+yaml"}


class _Line(msgspec.Struct):
    type: str
    object: dict[str, Any]


_decode_line = msgspec.json.Decoder(_Line).decode


class RestClient:
    """A `Client` of one API server. Close it with `aclose`, or use it as an asynchronous context manager.

    At most `rate` requests a second, `burst` at once; watches keep connections of their own and are not counted.
    What the API server is too busy for (429) is asked again when it says so, at most three times. Requests are counted
    in `metrics`. `transport` replaces the network.
    """

    def __init__(
        self,
        access: Access,
        *,
        rate: float = 200.0,
        burst: int = 400,
        transport: httpx2.AsyncBaseTransport | None = None,
        user_agent: str = "slipway",
        metrics: Metrics | None = None,
    ) -> None:
        self.access = access
        self._requests = (metrics or Metrics()).requests
        self._host = access.server.partition("://")[2].partition("/")[0]
        self._bucket = TokenBucket(rate, burst)
        self._http = _http_client(access, transport, user_agent, LIMITS)
        self._streams = _http_client(access, transport, user_agent, httpx2.Limits(max_keepalive_connections=0))
        self._streams.headers["Accept-Encoding"] = "identity"  # a compressed watch holds events back

    @classmethod
    def from_kubeconfig(cls, path: Path | None = None, context: str | None = None, **options: Any) -> RestClient:
        """As `Access.from_kubeconfig`; `options` are those of the constructor."""
        return cls(Access.from_kubeconfig(path, context), **options)

    @classmethod
    def in_cluster(cls, **options: Any) -> RestClient:
        """As `Access.in_cluster`; `options` are those of the constructor."""
        return cls(Access.in_cluster(), **options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._http.aclose()
        await self._streams.aclose()

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Manifest:
        return await self._json("GET", _path(kind, namespace, name))

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        limit: int | None = None,
        continue_: str | None = None,
        resource_version: str | None = None,
    ) -> Page:
        query = {
            "labelSelector": labels,
            "fieldSelector": fields,
            "limit": limit,
            "continue": continue_,
            "resourceVersion": resource_version,
        }
        body = await self._json("GET", kind.url(namespace), query)
        identity = {"apiVersion": kind.api_version, "kind": kind.kind}  # the API server leaves it out of typed lists
        metadata = body.get("metadata", {})
        items = [identity | item for item in body.get("items") or []]
        return Page(items, metadata.get("resourceVersion", ""), metadata.get("continue") or None)

    async def watch(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        resource_version: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        initial_events: bool = False,
        timeout: float = 300.0,  # noqa: ASYNC109  # how long the server lets the watch live, not a time-out of ours
    ) -> AsyncGenerator[WatchEvent]:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": labels,
            "fieldSelector": fields,
            "resourceVersion": resource_version,
            "timeoutSeconds": int(timeout),
            "sendInitialEvents": "true" if initial_events else None,
            "resourceVersionMatch": "NotOlderThan" if initial_events else None,
        }
        limits = httpx2.Timeout(30.0, connect=5.0, read=timeout + 30.0)
        async with self._stream("GET", kind.url(namespace), query, limits=limits) as response:
            if response.status_code >= httpx2.codes.BAD_REQUEST:
                raise error_from(response.status_code, await response.aread())
            async with aclosing(_lines(response)) as lines:
                async for line in lines:
                    yield _event(line)

    async def create(self, kind: Kind, manifest: Manifest) -> Manifest:
        namespace = manifest["metadata"].get("namespace")
        query = {"fieldValidation": "Strict"}
        return await self._json("POST", kind.url(namespace), query, manifest, _JSON)

    async def apply(
        self,
        kind: Kind,
        manifest: Manifest,
        *,
        manager: str,
        force: bool = False,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> Manifest:
        query = {
            "fieldManager": manager,
            "force": "true" if force else "false",
            "fieldValidation": "Strict",
            "dryRun": "All" if dry_run else None,
        }
        return await self._json("PATCH", _path_of(kind, manifest, subresource), query, manifest, _APPLY)

    async def patch(
        self, kind: Kind, name: str, namespace: str | None, body: Manifest, *, subresource: str | None = None
    ) -> Manifest:
        query = {"fieldValidation": "Strict"}
        return await self._json("PATCH", _path(kind, namespace, name, subresource), query, body, _MERGE)

    async def replace(self, kind: Kind, manifest: Manifest, *, subresource: str | None = None) -> Manifest:
        query = {"fieldValidation": "Strict"}
        return await self._json("PUT", _path_of(kind, manifest, subresource), query, manifest, _JSON)

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        uid: str | None = None,
    ) -> None:
        options: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        await self._json("DELETE", _path(kind, namespace, name), {}, options, _JSON)

    async def raw(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        patience: float | None = None,
    ) -> bytes:
        limits = httpx2.Timeout(patience, connect=TIMEOUT.connect) if patience else TIMEOUT
        return (await self._send(method, path, {}, body, headers or {}, limits=limits)).content

    @asynccontextmanager
    async def websocket(self, path: str, protocol: str) -> AsyncIterator[WebSocket]:
        """A websocket with this subprotocol; see `slipway.kit.websocket`."""
        from httpx2.websockets import AsyncWebSocketSession  # noqa: PLC0415  # only port forwarding needs it

        from slipway.kit.websocket import LARGEST_MESSAGE, Session, handshake  # noqa: PLC0415  # as above

        async with self._stream("GET", path, {}, limits=TIMEOUT, headers=handshake(protocol)) as response:
            if response.status_code != httpx2.codes.SWITCHING_PROTOCOLS:
                raise error_from(response.status_code, await response.aread())
            if response.headers.get("Sec-WebSocket-Protocol") != protocol:
                raise Unreachable(f"{self.access.server} does not speak {protocol}.")
            stream = response.extensions["network_stream"]
            async with AsyncWebSocketSession(stream, max_message_size_bytes=LARGEST_MESSAGE) as session:
                yield Session(session)

    async def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Manifest | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Manifest:
        content = None if body is None else msgspec.json.encode(body)
        answer = (await self._send(method, path, query or {}, content, headers or {})).content
        try:
            return msgspec.json.decode(answer, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise Unreachable(
                f"{self.access.server} answered {method} {path} with something that is not JSON."
            ) from error

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        content: bytes | None,
        headers: Mapping[str, str],
        *,
        limits: httpx2.Timeout = TIMEOUT,
    ) -> httpx2.Response:
        for attempt in range(MOST_RETRIES + 1):
            await self._bucket.take()
            if method not in {"GET", "HEAD"}:
                check_fence()
            async with self._errors():
                request = self._request(
                    self._http, method, path, query, content=content, headers=headers, timeout=limits
                )
                response = await self._exchange(self._http, request)
            if response.status_code != TOO_MANY_REQUESTS or attempt == MOST_RETRIES:
                break
            await asyncio.sleep(_retry_after(response))
        if response.status_code >= httpx2.codes.BAD_REQUEST:
            raise error_from(response.status_code, response.content)
        return response

    @asynccontextmanager
    async def _stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        *,
        limits: httpx2.Timeout,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[httpx2.Response]:
        async with self._errors():
            request = self._request(self._streams, method, path, query, timeout=limits, headers=headers)
            response = await self._exchange(self._streams, request, stream=True)
            try:
                yield response
            finally:
                await response.aclose()

    async def _exchange(
        self, http: httpx2.AsyncClient, request: httpx2.Request, *, stream: bool = False
    ) -> httpx2.Response:
        """One request; counted under client-go's code for one without an answer."""
        code = "<error>"
        try:
            response = await http.send(request, stream=stream)
            code = str(response.status_code)
            return response
        finally:
            self._requests.labels(code, request.method, self._host).inc()

    def _request(
        self, http: httpx2.AsyncClient, method: str, path: str, query: Mapping[str, Any], **options: Any
    ) -> httpx2.Request:
        url = httpx2.URL(self.access.server + path)
        for key, value in query.items():
            if value is not None:
                url = url.copy_add_param(key, str(value))
        extensions = {"sni_hostname": self.access.server_name} if self.access.server_name else {}
        return http.build_request(method, url, extensions=extensions, **options)

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        """Whatever the network does is `Unreachable`, in a sentence."""
        try:
            yield
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            said = str(error) or type(error).__name__
            raise Unreachable(f"No answer from the API server {self.access.server}: {said}.") from error


def error_from(status: int, body: bytes) -> ApiError:
    """The error that an answer of the API server, or of what stands behind its proxy, stands for."""
    try:
        told = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        told = {}
    if told.get("kind") != "Status":
        told = {"message": body[:500].decode(errors="replace")}
    return error_of({**told, "code": status})


def error_of(status: Manifest) -> ApiError:
    """The error that a `Status` object stands for."""
    code = status.get("code")
    code = code if isinstance(code, int) else 500
    reason, details = str(status.get("reason") or ""), status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    told = tuple(
        (str(cause.get("field", "")), str(cause.get("message", "")))
        for cause in (causes if isinstance(causes, list) else ())
        if isinstance(cause, dict)
    )
    error = AlreadyExists if reason == "AlreadyExists" else _ERRORS.get(code, ApiError)
    return error(code, reason, str(status.get("message") or f"The API server answered {code}."), told)


def _http_client(
    access: Access, transport: httpx2.AsyncBaseTransport | None, user_agent: str, limits: httpx2.Limits
) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        verify=access.verify,
        auth=access.auth,
        proxy=access.proxy,
        transport=transport,
        timeout=TIMEOUT,
        limits=limits,
        headers={"User-Agent": user_agent, "Accept": "application/json"},
    )


def _path(kind: Kind, namespace: str | None, name: str, subresource: str | None = None) -> str:
    """The path of one object. An empty name would mean all of them, and one with a slash something else."""
    if not name or "/" in name or name in {".", ".."}:
        raise Invalid(400, "BadRequest", f"{name!r} is not a name of an object.", (("metadata.name", "not a name"),))
    return kind.url(quote(namespace, safe="") if namespace else None, quote(name, safe=":"), subresource)


def _path_of(kind: Kind, manifest: Manifest, subresource: str | None) -> str:
    metadata = manifest["metadata"]
    return _path(kind, metadata.get("namespace"), metadata["name"], subresource)


def _retry_after(response: httpx2.Response) -> float:
    told = response.headers.get("Retry-After", "1")
    return min(float(told), MOST_RETRY_WAIT) if told.isdecimal() else 1.0


async def _lines(response: httpx2.Response) -> AsyncGenerator[bytes]:
    """The lines of a stream, as bytes; an unfinished last line is dropped: the connection broke within it."""
    parts, size = list[bytes](), 0
    async for chunk in response.aiter_bytes():
        parts.append(chunk)
        size += len(chunk)
        if b"\n" in chunk:
            *whole, rest = b"".join(parts).split(b"\n")
            for line in whole:
                yield line
            parts, size = [rest], len(rest)
        elif size > LARGEST_EVENT:
            raise Unreachable(f"The API server sent an event of more than {LARGEST_EVENT} bytes.")


def _event(line: bytes) -> WatchEvent:
    try:
        event = _decode_line(line)
    except msgspec.DecodeError as error:
        raise Unreachable("The API server sent a watch event that is not JSON.") from error
    if event.type == "ERROR":
        raise error_of(event.object)
    return WatchEvent(_event_type(event.type), event.object)


def _event_type(name: str) -> EventType:
    if name in {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}:
        return name  # type: ignore[return-value]  # the line above is the proof
    raise Unreachable(f"The API server sent a watch event of the unknown type {name[:40]!r}.")
