"""What the tag of a model means now: asked once, when a revision is made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from slipway.api.modelservice import Model
from slipway.kit.client import ApiError, Client, Unreachable
from slipway.kit.objects import SECRET, Manifest
from slipway.oci import OciError, RegistryClient
from slipway.policies.model_source import ImageModel, read_model_uri

log = logging.getLogger(__name__)

_PATIENCE: Final = 15.0  # seconds

OpenRegistry = Callable[[str, Manifest | None], RegistryClient]
"""The client of an image's registry: `HOST/REPOSITORY`, and a Secret with a login (dockerconfigjson), if any."""


class Resolver(Protocol):
    """Finds the digest of a model."""

    async def digest(self, namespace: str, model: Model) -> str | None:
        """The digest that the model's tag has now; None where there is no tag, or nobody to ask."""
        ...


class NoResolver:
    """Tags stay tags."""

    async def digest(self, namespace: str, model: Model) -> str | None:  # noqa: ARG002
        return None


class RegistryResolver:
    """Asks the model's registry, with the credentials of the model's Secret.

    A registry that does not answer is no reason not to serve: the nodes may reach it when the operator does not.
    """

    def __init__(self, client: Client, open_registry: OpenRegistry) -> None:
        self._client = client
        self._open = open_registry

    async def digest(self, namespace: str, model: Model) -> str | None:
        source = read_model_uri(model.uri)
        if not isinstance(source, ImageModel) or source.digest:
            return None
        host, _, rest = source.reference.partition("/")
        repository, _, tag = rest.partition(":")
        image = f"{host}/{repository}"
        try:
            async with asyncio.timeout(_PATIENCE):
                secret = await self._secret(namespace, model)
                return await asyncio.to_thread(self._ask, image, secret, tag or "latest")
        except (OciError, ApiError, Unreachable, OSError) as error:  # a time-out is an OSError, too
            log.warning("The digest of %s is not known: %s", model.uri, error or "no answer in time")
            return None

    async def _secret(self, namespace: str, model: Model) -> Manifest | None:
        if model.secret_ref is None:
            return None
        return await self._client.get(SECRET, model.secret_ref.name, namespace)

    def _ask(self, image: str, secret: Manifest | None, tag: str) -> str | None:
        with self._open(image, secret) as registry:
            return registry.digest(image.partition("/")[2], tag)
