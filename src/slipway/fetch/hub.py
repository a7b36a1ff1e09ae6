"""`hf://`: a model of the Hugging Face Hub, or of a mirror that speaks its HTTP API.

Two calls of that API are used: the description of a revision with its files (`/api/models/…/revision/…?blobs=true`),
and `/…/resolve/…` for a file, which redirects to where its bytes are.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, unquote

import httpx2

from slipway.fetch.errors import FetchError
from slipway.fetch.http import Http, Refused
from slipway.fetch.remote import Body, Plan, RemoteFile, plan_of
from slipway.fetch.uri import FORMS, Uri
from slipway.fetch.web import Header

ENDPOINT = "https://huggingface.co"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
COMMIT = re.compile(r"[0-9a-f]{40,64}")
SHA256 = re.compile(r"[0-9a-f]{64}")


class HubSource:
    """The files of a revision. `environment` may hold `HF_TOKEN`, and `HF_ENDPOINT` for a mirror."""

    def __init__(
        self, uri: Uri, environment: Mapping[str, str], transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._uri = uri
        repository, _, self._inside = uri.path.strip("/").partition("/")
        name, _, revision = repository.partition("@")
        self._revision = unquote(revision) or "main"
        if not (NAME.fullmatch(uri.host) and NAME.fullmatch(name)):
            raise FetchError(uri.shown, "that names no repository", f"write it as {FORMS['hf']}")
        self._repository = f"{uri.host}/{name}"
        self._endpoint = environment.get("HF_ENDPOINT", "").rstrip("/") or ENDPOINT
        token = environment.get("HF_TOKEN", "").strip()
        self._http = Http(uri.shown, Header(f"Bearer {token}") if token else None, transport)

    async def plan(self) -> Plan:
        """The files, all of one commit, so that a branch that moves meanwhile does not mix two versions."""
        revision = quote(self._revision, safe="")
        try:
            url = f"{self._endpoint}/api/models/{self._repository}/revision/{revision}?blobs=true"
            content, _ = await self._http.content(url)
        except Refused as refused:
            raise self._refusal(refused) from refused
        try:
            document = json.loads(content)
            commit = COMMIT.fullmatch(document["sha"])[0]  # type: ignore[index]  # None is refused with the rest
            files = [self._file(commit, entry) for entry in document["siblings"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FetchError(self._uri.shown, "the hub's answer is not understood", "check HF_ENDPOINT") from error
        return self._chosen(files)

    @asynccontextmanager
    async def read(self, file: RemoteFile, start: int) -> AsyncIterator[Body]:
        # A commit never changes, and the ETag of the place that the hub redirects to is not the hub's.
        try:
            async with self._http.read(file.address, start, file.size) as body:
                yield body
        except Refused as refused:
            raise self._refusal(refused) from refused

    async def close(self) -> None:
        await self._http.close()

    def _file(self, commit: str, entry: Mapping[str, Any]) -> RemoteFile:
        name, large = str(entry["rfilename"]), entry.get("lfs") or {}
        digest = str(large.get("sha256", ""))
        url = f"{self._endpoint}/{self._repository}/resolve/{commit}/{quote(name)}"
        size = large.get("size", entry.get("size"))
        return RemoteFile(
            name, url, None if size is None else int(size), commit, digest if SHA256.fullmatch(digest) else ""
        )

    def _chosen(self, files: list[RemoteFile]) -> Plan:
        """All files, or those below the URI's path, or the one that it names."""
        inside = unquote(self._inside).strip("/")
        if not inside:
            chosen, one = files, False
        elif chosen := [_renamed(file, file.name.rpartition("/")[2]) for file in files if file.name == inside]:
            one = True
        else:
            below = f"{inside}/"
            chosen = [_renamed(file, file.name[len(below) :]) for file in files if file.name.startswith(below)]
            one = False
        if not chosen:
            where = f"{inside!r} is not in revision {self._revision!r}" if inside else "the repository is empty"
            raise FetchError(self._uri.shown, where, "check the path on the model's page, under Files")
        return plan_of(self._uri.shown, chosen, one=one)

    def _refusal(self, refused: Refused) -> FetchError:
        code, status = refused.headers.get("X-Error-Code", ""), refused.status
        if code == "RevisionNotFound":
            why = f"there is no revision {self._revision!r}"
            return FetchError(self._uri.shown, why, "name a branch, tag or commit of the repository")
        if code == "GatedRepo":
            why = "the model is gated and these credentials have no access"
            return FetchError(
                self._uri.shown, why, "accept its conditions on its page, and give HF_TOKEN of that account"
            )
        if code == "RepoNotFound" or status in {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}:
            why = f"there is no such repository, or these credentials may not read it (status {status})"
            return FetchError(
                self._uri.shown, why, "check its name, and HF_TOKEN in the Secret of spec.model.secretRef"
            )
        if status == httpx2.codes.NOT_FOUND:
            return FetchError(self._uri.shown, "there is no such file or repository (status 404)", "check the URI")
        return FetchError(
            self._uri.shown, f"the hub answers {status}", "check the URI, and HF_ENDPOINT where it is set"
        )


def _renamed(file: RemoteFile, name: str) -> RemoteFile:
    return RemoteFile(name, file.address, file.size, file.version, file.sha256)
