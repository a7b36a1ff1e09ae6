"""Storing a model in a registry, and the name by which a cluster finds it there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from slipway.client.errors import FailedError, InvalidInputError
from slipway.client.model import LocalModel
from slipway.oci import Image, OciError, RegistryClient, model_image, push
from slipway.oci.keychain import stored_login
from slipway.oci.login import RegistryLogin
from slipway.oci.registry import check_name, registry_url
from slipway.progress import Progress

DEFAULT_TAG = "latest"
_ADDRESS = re.compile(r"(?P<scheme>https?://)?(?P<host>[A-Za-z0-9.-]+(:[0-9]{1,5})?)(?P<path>(/[a-z0-9._/-]+)?)/?")


@dataclass(frozen=True, slots=True)
class Identity:
    """PEM files for mutual TLS with a registry of our own."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry: `url` is where it is reached from here, `name` what image references in the cluster begin with.

    `prefix` is put before the names of repositories, and ends with `/` unless it is empty.
    """

    url: str
    name: str
    prefix: str = ""
    identity: Identity | None = None

    def client(self, repository: str) -> RegistryClient:
        """Its client, logged in for a repository as `docker login` has it; close it."""
        if self.identity:
            return RegistryClient.mutual_tls(self.url, self.identity.ca, self.identity.cert, self.identity.key)
        return RegistryClient(self.url, auth=RegistryLogin(stored_login(f"{self.name}/{repository}", os.environ)))


def parse_registry(address: str) -> Registry:
    """A registry as people write it: `registry.example.com/team`; https unless it says `http://` or is this machine."""
    match = _ADDRESS.fullmatch(address)
    if not match:
        raise InvalidInputError(f"{address!r} is not a registry.", "Write --registry HOST[:PORT][/PATH].")
    prefix = match["path"].strip("/")
    host = match["host"]
    url = f"{match['scheme']}{host}" if match["scheme"] else registry_url(host)
    return Registry(url, host, f"{prefix}/" if prefix else "")


@dataclass(frozen=True, slots=True)
class Upload:
    """A model's image on its way: its URI is known before it is sent."""

    image: Image
    registry: Registry
    repository: str
    tag: str

    @property
    def uri(self) -> str:
        """What a ModelService calls the model: by digest, so that it cannot change."""
        return f"oci://{self.registry.name}/{self.repository}@{self.image.digest}"

    def send(self, progress: Progress) -> str:
        """Sends what the registry does not have yet; returns the URI. `FailedError` when it is not taken."""
        try:
            with self.registry.client(self.repository) as client:
                push(self.image, client, self.repository, self.tag, progress)
        except OciError as error:
            raise FailedError(error.message, error.hint) from error
        return self.uri


def prepare(model: LocalModel, registry: Registry, name: str) -> Upload:
    """The model as an image called `name` or `name:TAG`. Reads every file once; `InvalidInputError` names a bad one."""
    repository, _, tag = name.partition(":")
    try:
        check_name(registry.prefix + repository, tag or DEFAULT_TAG)
        image = model_image(model.path)
    except OciError as error:
        raise InvalidInputError(error.message, error.hint) from error
    return Upload(image, registry, registry.prefix + repository, tag or DEFAULT_TAG)
