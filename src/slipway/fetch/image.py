"""`oci://`: a model in an OCI image, as `slipway push` makes it, where a cluster cannot mount images as volumes."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import httpx2

from slipway.fetch.errors import FetchError
from slipway.fetch.http import Http, Refused
from slipway.fetch.remote import Body, Plan, RemoteFile, plan_of
from slipway.fetch.uri import FORMS, Uri
from slipway.oci.errors import OciError
from slipway.oci.image import INDEXES, MANIFESTS, architecture, digest_of
from slipway.oci.layer import TAR_LAYERS
from slipway.oci.login import RegistryLogin, login_of
from slipway.oci.registry import REPOSITORY, TAG, registry_url

ACCEPT = ", ".join([*MANIFESTS, *INDEXES])
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MOST_LAYERS = 256


class ImageSource:
    """The layers of an image. `environment` may hold `DOCKER_CONFIG`, a dockerconfigjson file or its directory."""

    def __init__(
        self, uri: Uri, environment: Mapping[str, str], transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._uri = uri
        path, at, digest = uri.path.partition("@")
        self._repository, _, tag = path.partition(":")
        self._reference = digest if at else tag or "latest"
        known = DIGEST.fullmatch(self._reference) if at else TAG.fullmatch(self._reference)
        if not (known and REPOSITORY.fullmatch(self._repository)):
            raise FetchError(uri.shown, "that is not the name of an image", f"write it as {FORMS['oci']}")
        self._url = registry_url(uri.host)
        with self._explained():
            login = login_of(f"{uri.host}/{self._repository}", environment.get("DOCKER_CONFIG", ""))
        self._http = Http(uri.shown, RegistryLogin(login), transport)

    async def plan(self) -> Plan:
        """The layers, lowest first, each named by its digest."""
        manifest = await self._manifest(self._reference)
        if "manifests" in manifest:
            manifest = await self._manifest(self._chosen(manifest))
        layers = manifest.get("layers")
        if not isinstance(layers, list) or not 0 < len(layers) <= MOST_LAYERS:
            raise FetchError(self._uri.shown, "its manifest lists no layers", "push it again: slipway push")
        files = [self._layer(number, layer) for number, layer in enumerate(layers)]
        return replace(plan_of(self._uri.shown, files), unpack=True)

    @asynccontextmanager
    async def read(self, file: RemoteFile, start: int) -> AsyncIterator[Body]:
        with self._explained():
            async with self._http.read(file.address, start, file.size) as body:
                yield body

    async def close(self) -> None:
        await self._http.close()

    async def _manifest(self, reference: str) -> Mapping[str, Any]:
        """A manifest or index, checked against its digest where it was asked for by one."""
        with self._explained():
            content, _ = await self._http.content(f"{self._url}/v2/{self._repository}/manifests/{reference}", ACCEPT)
        if DIGEST.fullmatch(reference) and digest_of(content) != reference:
            why = f"the registry sent another manifest than {reference}"
            raise FetchError(self._uri.shown, why, "check the registry's storage")
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise FetchError(self._uri.shown, "its manifest is not understood", "push it again: slipway push")
        return document

    def _chosen(self, index: Mapping[str, Any]) -> str:
        """The digest of the image for this machine, or of the only one."""
        entries = [entry for entry in index["manifests"] if isinstance(entry, dict)]
        fitting = [entry for entry in entries if _platform(entry) == ("linux", architecture())]
        digest = str((fitting or entries[:1] or [{}])[0].get("digest", ""))
        if not DIGEST.fullmatch(digest):
            why = f"it has no image for linux/{architecture()}"
            raise FetchError(self._uri.shown, why, "push it for that platform")
        return digest

    def _layer(self, number: int, layer: Any) -> RemoteFile:
        try:
            kind, digest, size = layer["mediaType"], layer["digest"], layer["size"]
            fits = kind in TAR_LAYERS and DIGEST.fullmatch(digest) and type(size) is int and size >= 0
        except (KeyError, TypeError):
            fits = False
        if not fits:
            why = f"layer {number + 1} is none that is unpacked (a tar archive, or one with gzip, and its sha256)"
            raise FetchError(self._uri.shown, why, "push the model with: slipway push")
        url = f"{self._url}/v2/{self._repository}/blobs/{digest}"
        return RemoteFile(f"{number:03}", url, size, digest, digest.removeprefix("sha256:"))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Refused as refused:
            raise self._refusal(refused.status) from refused
        except OciError as error:
            raise FetchError(self._uri.shown, error.message.rstrip("."), error.hint.rstrip(".")) from error

    def _refusal(self, status: int) -> FetchError:
        if status in {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}:
            why = f"the registry refuses the credentials, or asks for some (status {status})"
            do = f"name a dockerconfigjson Secret for {self._uri.host} in spec.model.secretRef"
            return FetchError(self._uri.shown, why, do)
        if status == httpx2.codes.NOT_FOUND:
            return FetchError(
                self._uri.shown, "the registry has no such image (status 404)", "check name, tag and digest"
            )
        return FetchError(self._uri.shown, f"the registry answers {status}", "check that it is an OCI registry")


def _platform(entry: Mapping[str, Any]) -> tuple[Any, Any]:
    platform = entry.get("platform")
    return (platform.get("os"), platform.get("architecture")) if isinstance(platform, dict) else (None, None)
