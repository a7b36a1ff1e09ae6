"""HTTP for the sources that speak it: redirects that stay safe, ranges, and which failures pass."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from slipway.fetch.errors import NOT_TRUSTED, TRUST, Changed, FetchError, Transient
from slipway.fetch.remote import Body

TIMEOUT = httpx2.Timeout(30.0, connect=10.0, pool=None)
"""Seconds without a byte after which a connection is given up, and tried again."""
LONGEST_WAIT = 60.0
MOST_REDIRECTS = 10
MOST_METADATA = 64 * 1024 * 1024
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
EMPTY = re.compile(r"bytes \*/0")


class Refused(Exception):  # noqa: N818  # the sources turn it into a FetchError
    """An answer that another try would not change: the status, and the headers."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(str(status))
        self.status = status
        self.headers = headers


class Http:
    """A client for one source, called `what` in messages. `auth` goes to the host of each first request only."""

    def __init__(
        self, what: str, auth: httpx2.Auth | None = None, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._what, self._auth = what, auth
        self._client = httpx2.AsyncClient(timeout=TIMEOUT, transport=transport, headers={"User-Agent": "slipway-fetch"})

    async def close(self) -> None:
        await self._client.aclose()

    async def content(self, url: str, accept: str = "*/*") -> tuple[bytes, Mapping[str, str]]:
        """A document of at most 64 MiB, and the headers that came with it."""
        async with self._answer(url, {"Accept": accept}) as answer:
            content = bytearray()
            async for block in answer.aiter_bytes():
                content += block
                if len(content) > MOST_METADATA:
                    raise FetchError(self._what, "its list of files is too long", "name the directory of one model")
            return bytes(content), answer.headers

    async def describe(self, url: str) -> tuple[int | None, str]:
        """Size in bytes and strong ETag, where the server tells them.

        By a GET of one byte: presigned URLs are good for GET only.
        """
        try:
            async with self._answer(url, {"Range": "bytes=0-0"}) as answer:
                return _size(answer), _etag(answer.headers)
        except Refused as refused:
            if refused.status == httpx2.codes.RANGE_NOT_SATISFIABLE and _is_empty(refused.headers):
                return 0, _etag(refused.headers)
            raise

    @asynccontextmanager
    async def read(self, url: str, start: int, size: int | None, etag: str = "") -> AsyncIterator[Body]:
        """The body from `start`, of the content that has this size and ETag; `Changed` when it has another."""
        headers = {"Range": f"bytes={start}-"} | ({"If-Range": etag} if etag else {}) if start else {}
        try:
            async with self._answer(url, headers) as answer:
                if (etag and _etag(answer.headers) not in {"", etag}) or _differs(size, _size(answer)):
                    raise Changed
                begin = _begin(answer)
                if begin not in {0, start}:
                    raise Transient("it sent another part of the file than the one asked for")
                yield Body(begin, _blocks(answer))
        except Refused as refused:
            if refused.status in {httpx2.codes.PRECONDITION_FAILED, httpx2.codes.RANGE_NOT_SATISFIABLE}:
                raise Changed from refused
            raise

    @asynccontextmanager
    async def _answer(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[httpx2.Response]:
        """A good answer, its body unread. Raises `Refused`, `Transient` or `FetchError`."""
        try:
            answer = await self._follow(httpx2.URL(url), headers)
            try:
                _check(answer)
                yield answer
            finally:
                await answer.aclose()
        except httpx2.TransportError as error:
            raise _failure(self._what, error) from error

    async def _follow(self, url: httpx2.URL, headers: Mapping[str, str]) -> httpx2.Response:
        first = url
        for _ in range(MOST_REDIRECTS):
            request = self._client.build_request("GET", url, headers={"Accept-Encoding": "identity", **headers})
            answer = await self._client.send(request, stream=True, auth=self._auth if _same(url, first) else None)
            if not answer.has_redirect_location:
                return answer
            await answer.aclose()
            url = url.join(answer.headers["Location"])
            if url.scheme != "https" and first.scheme == "https":
                raise FetchError(self._what, "its server redirects to a place without TLS", "use a URI that does not")
        raise FetchError(self._what, "its server redirects in circles", "check the URI in a browser")


def _same(one: httpx2.URL, other: httpx2.URL) -> bool:
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def _check(answer: httpx2.Response) -> None:
    status = answer.status_code
    if status in {httpx2.codes.TOO_MANY_REQUESTS, httpx2.codes.REQUEST_TIMEOUT} or answer.is_server_error:
        raise Transient(f"the server answers {status} {answer.reason_phrase}".strip(), _wait(answer.headers))
    if status not in {httpx2.codes.OK, httpx2.codes.PARTIAL_CONTENT}:
        raise Refused(status, answer.headers)


def _failure(what: str, error: httpx2.TransportError) -> FetchError | Transient:
    cause: Any = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return FetchError(what, f"{NOT_TRUSTED} ({cause.verify_message})", TRUST)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return FetchError(what, "its address is not one of HTTP", "check the URI")
    if isinstance(error, httpx2.TimeoutException):
        return Transient("the server is silent" if isinstance(error, httpx2.ReadTimeout) else "no connection in time")
    if isinstance(error, httpx2.ConnectError):
        return Transient(f"no connection ({' '.join(str(error).split())[:120]})")
    return Transient("the connection broke off")


def _wait(headers: Mapping[str, str]) -> float:
    """Seconds of Retry-After (RFC 9110, 10.2.3); its dates are not worth a clock."""
    value = headers.get("Retry-After", "")
    return min(float(value), LONGEST_WAIT) if value.isascii() and value.isdigit() else 0.0


def _etag(headers: Mapping[str, str]) -> str:
    """A strong ETag; weak ones may not be used with ranges (RFC 9110, 13.1.5)."""
    value = headers.get("ETag", "")
    return value if value.startswith('"') else ""


def _size(answer: httpx2.Response) -> int | None:
    if answer.status_code == httpx2.codes.PARTIAL_CONTENT:
        found = RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        return int(found[2]) if found and found[2] != "*" else None
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def _begin(answer: httpx2.Response) -> int:
    """The offset of the first byte; -1 for a part that does not say which."""
    if answer.status_code != httpx2.codes.PARTIAL_CONTENT:
        return 0
    found = RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _is_empty(headers: Mapping[str, str]) -> bool:
    return bool(EMPTY.fullmatch(headers.get("Content-Range", "")))


def _differs(planned: int | None, found: int | None) -> bool:
    return planned is not None and found is not None and planned != found


async def _blocks(answer: httpx2.Response) -> AsyncIterator[bytes]:
    """As sent, not decoded: sizes and checksums are of the file at the server."""
    async for block in answer.aiter_raw():
        yield block
