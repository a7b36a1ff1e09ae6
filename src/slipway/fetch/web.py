"""`https://`: one file of a web server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager

import httpx2

from slipway.fetch.errors import FetchError
from slipway.fetch.http import Http, Refused
from slipway.fetch.remote import Body, Plan, RemoteFile, plan_of
from slipway.fetch.uri import FORMS, Uri

AUTHORIZATION = "HTTPS_AUTHORIZATION"
"""The value of the Authorization header, for the host of the URI only."""


class Header(httpx2.Auth):
    """An Authorization header with a fixed value."""

    def __init__(self, value: str) -> None:
        self._value = value

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["Authorization"] = self._value
        yield request


class WebSource:
    """The file that a URL names. `environment` may hold `HTTPS_AUTHORIZATION`."""

    def __init__(
        self, uri: Uri, environment: Mapping[str, str], transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._uri = uri
        value = environment.get(AUTHORIZATION, "").strip()
        self._http = Http(uri.shown, Header(value) if value else None, transport)

    async def plan(self) -> Plan:
        if not self._uri.last_name:
            raise FetchError(self._uri.shown, "it names no file", f"write it as {FORMS['https']}")
        try:
            size, etag = await self._http.describe(self._uri.whole)
        except Refused as refused:
            raise self._refusal(refused.status) from refused
        file = RemoteFile(self._uri.last_name, self._uri.whole, size, etag)
        return plan_of(self._uri.shown, [file], one=True)

    @asynccontextmanager
    async def read(self, file: RemoteFile, start: int) -> AsyncIterator[Body]:
        try:
            async with self._http.read(file.address, start, file.size, file.version) as body:
                yield body
        except Refused as refused:
            raise self._refusal(refused.status) from refused

    async def close(self) -> None:
        await self._http.close()

    def _refusal(self, status: int) -> FetchError:
        if status in {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}:
            why = f"the server refuses the credentials, or asks for some (status {status})"
            do = f"put {AUTHORIZATION} into the Secret of spec.model.secretRef, or renew a presigned URL"
            return FetchError(self._uri.shown, why, do)
        if status in {httpx2.codes.NOT_FOUND, httpx2.codes.GONE}:
            return FetchError(self._uri.shown, f"there is no such file (status {status})", "check the path of the URI")
        return FetchError(self._uri.shown, f"the server answers {status}", "check the URI with curl")
