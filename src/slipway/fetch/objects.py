"""`s3://`, `gs://`, `azure://`: object stores, by obstore (the Rust crate object_store).

Credentials come from the environment, under the names that the crate reads (`docs/fetching.md`), from files that the
environment names, or from the machine's or the pod's identity. The crate's own retries are off: `download` decides, for
all sources alike.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import obstore
from httpx2 import codes
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store

from slipway.fetch.errors import NOT_TRUSTED, TRUST, Changed, FetchError, Transient
from slipway.fetch.remote import MOST_FILES, Body, Plan, RemoteFile, plan_of
from slipway.fetch.uri import FORMS, Uri

BLOCK = 1 << 16
RETRY = {"max_retries": 0, "retry_timeout": timedelta(seconds=30)}
CLIENT = {
    "connect_timeout": timedelta(seconds=10),
    "read_timeout": timedelta(seconds=30),
    "timeout": timedelta(days=7),  # of a whole request; the total is bounded elsewhere
    "user_agent": "slipway-fetch",
}
STATUS = re.compile(r"status code: (\d{3})")
CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
METADATA_SERVICE = re.compile(r"Error performing [A-Z]+ http://(169\.254\.|\[fd00:ec2::|metadata\.)")
PASSING = {codes.REQUEST_TIMEOUT, codes.TOO_MANY_REQUESTS}
MISSING_CONTAINER = {"NoSuchBucket", "ContainerNotFound"}


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs between stores: words for people, and variables of the environment."""

    container: str
    credentials: str
    endpoints: tuple[str, ...]
    place: str


KINDS = {
    "s3": Kind(
        "bucket",
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
        "AWS_REGION, and AWS_ENDPOINT_URL for a store that is not Amazon's",
    ),
    "gs": Kind("bucket", "GOOGLE_SERVICE_ACCOUNT_KEY", ("GOOGLE_BASE_URL",), "the project's buckets"),
    "azure": Kind(
        "container",
        "AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
        ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        "the account's containers",
    ),
}
PUBLIC = {"s3": "AWS_SKIP_SIGNATURE", "gs": "GOOGLE_SKIP_SIGNATURE", "azure": "AZURE_SKIP_SIGNATURE"}


class ObjectSource:
    """An object, or all objects below a prefix."""

    def __init__(self, uri: Uri, environment: Mapping[str, str]) -> None:
        self._uri, self._kind = uri, KINDS[uri.scheme]
        self._container, self._key = _names(uri)
        plain = any(environment.get(name, "").startswith("http://") for name in self._kind.endpoints)
        try:
            self._store = _store(uri, self._container, {**CLIENT, "allow_http": plain})
        except (BaseError, ValueError) as error:
            # The crate's words may quote what they could not read.
            why = f"the settings of the {self._kind.container} or its credentials are not understood"
            do = f"check {self._kind.credentials} in the Secret of spec.model.secretRef"
            raise FetchError(uri.shown, why, do) from error

    async def plan(self) -> Plan:
        """The object of the key; where there is none, what lies below it."""
        try:
            alone = None if not self._key or self._key.endswith("/") else await self._head()
            if alone and alone["size"]:
                return plan_of(self._uri.shown, [self._file(alone, "")], one=True)
            below = await self._list()
        except (BaseError, ValueError, OSError) as error:
            raise self._failure(error) from error
        if below:  # an empty object beside it is a marker of the directory
            return plan_of(self._uri.shown, below)
        if alone:
            return plan_of(self._uri.shown, [self._file(alone, "")], one=True)
        why = f"there is nothing of that name in the {self._kind.container} {self._container!r}"
        raise FetchError(self._uri.shown, why, f"check the path, and {self._kind.place}")

    @asynccontextmanager
    async def read(self, file: RemoteFile, start: int) -> AsyncIterator[Body]:
        options: dict[str, Any] = {"range": {"offset": start}} if start else {}
        if file.version:
            options["if_match"] = f'"{file.version}"'
        try:
            result = await obstore.get_async(self._store, file.address, options=options)  # type: ignore[arg-type]  # built in parts
        except (FileNotFoundError, PreconditionError) as error:
            raise Changed from error
        except (BaseError, ValueError) as error:
            raise self._failure(error) from error
        # Not every store heeds If-Match.
        if result.meta["size"] != file.size or _bare(result.meta["e_tag"]) != file.version:
            raise Changed
        yield Body(result.range[0], self._blocks(result))

    async def close(self) -> None:
        """The crate closes its connections itself."""

    async def _head(self) -> Mapping[str, Any] | None:
        try:
            return await obstore.head_async(self._store, self._key)
        except FileNotFoundError:
            return None

    async def _list(self) -> list[RemoteFile]:
        prefix = self._key.strip("/")
        found: list[Mapping[str, Any]] = []
        async for chunk in obstore.list(self._store, prefix or None):
            found += chunk
            if len(found) > MOST_FILES:
                break  # the plan refuses it
        parents = {path.rpartition("/")[0] for path in (entry["path"] for entry in found)}
        markers = {entry["path"] for entry in found if not entry["size"]} & (parents | {prefix})
        return [self._file(entry, prefix) for entry in found if entry["path"] not in markers]

    def _file(self, entry: Mapping[str, Any], prefix: str) -> RemoteFile:
        path = entry["path"]
        name = path[len(prefix) + 1 :] if prefix else path
        alone = path == self._key and not prefix
        return RemoteFile(path.rpartition("/")[2] if alone else name, path, entry["size"], _bare(entry["e_tag"]))

    async def _blocks(self, result: Any) -> AsyncIterator[bytes]:
        try:
            async for block in result.stream(min_chunk_size=BLOCK):
                yield block
        except (BaseError, OSError) as error:
            raise Transient("the connection broke off") from error

    def _failure(self, error: Exception) -> FetchError | Transient:
        """The crate has few types and long texts, some with addresses that hold signatures: read, never shown."""
        text = str(error)
        status = int(found[1]) if (found := STATUS.search(text)) else 0
        code = found[1] if (found := CODE.search(text)) else ""
        final = self._identity(text, status, code) or self._place(text, status, code)
        if final:
            return FetchError(self._uri.shown, *final)
        if (codes.is_client_error(status) and status not in PASSING) or isinstance(error, ValueError):
            why = (
                f"the store does not accept the request (status {status} {code})"
                if status
                else "its name is not allowed"
            )
            return FetchError(self._uri.shown, why, f"check the path, and {self._kind.place}")
        return Transient(f"the store answers {status}" if status else _no_answer(text))

    def _identity(self, text: str, status: int, code: str) -> tuple[str, str] | None:
        """Who asks, and who answers: why it is refused, and what to do."""
        kind, secret = self._kind, "in the Secret of spec.model.secretRef"
        if METADATA_SERVICE.search(text):
            why = "there are no credentials in the environment, and the machine has none to give"
            public = f"{PUBLIC[self._uri.scheme]}=true for a public {kind.container}"
            return why, f"put {kind.credentials} {secret}, or {public}"
        if status in {codes.UNAUTHORIZED, codes.FORBIDDEN}:
            said = f"status {status} {code}".strip()
            why = f"the store refuses the credentials, or they may not read it ({said})"
            return why, f"check {kind.credentials} {secret}, and its right to read and to list"
        if "InvalidCertificate(" in text:
            return NOT_TRUSTED, TRUST
        return None

    def _place(self, text: str, status: int, code: str) -> tuple[str, str] | None:
        """The container: why it is not there, and what to do."""
        kind = self._kind
        if code in MISSING_CONTAINER or status == codes.NOT_FOUND:
            return f"there is no {kind.container} {self._container!r}", f"check its name, and {kind.place}"
        if codes.is_redirect(status) or "redirect" in text:
            return f"the {kind.container} is elsewhere", f"check {kind.place}"
        return None


def _names(uri: Uri) -> tuple[str, str]:
    """Container and key."""
    if uri.scheme != "azure":
        return uri.host, unquote(uri.path)
    container, _, key = uri.path.lstrip("/").partition("/")
    if not container:
        raise FetchError(uri.shown, "it names no container", f"write it as {FORMS['azure']}")
    return container, unquote(key)


def _store(uri: Uri, container: str, client: Mapping[str, Any]) -> Any:
    options: dict[str, Any] = {"client_options": client, "retry_config": RETRY}
    if uri.scheme == "azure":
        return AzureStore(container, account_name=uri.host, **options)
    return (S3Store if uri.scheme == "s3" else GCSStore)(container, **options)


def _bare(etag: str | None) -> str:
    """Lists of some stores have ETags without quotes."""
    return (etag or "").strip('"')


def _no_answer(text: str) -> str:
    words = {"dns error": "the store's name is not known", "TimedOut": "the store is silent"}
    return next((said for word, said in words.items() if word in text), "no connection to the store")
