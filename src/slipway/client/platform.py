"""The platform on a cluster: which of its parts run, and in which version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slipway.client.connection import Connection
from slipway.client.errors import NotFoundError
from slipway.kit.objects import DEPLOYMENT, Manifest
from slipway.views.conditions import condition

NAMESPACES = ("slipway-system", "envoy-gateway-system")
OPERATOR = "slipway-operator"
_VERSION = "app.kubernetes.io/version"


@dataclass(frozen=True, slots=True)
class Part:
    """A Deployment of the platform. `version` is its label, or its image's tag."""

    name: str
    namespace: str
    ready: int
    wanted: int
    version: str
    why: str = ""

    @property
    def healthy(self) -> bool:
        """Whether all of its replicas are ready."""
        return self.ready >= self.wanted


@dataclass(frozen=True, slots=True)
class PlatformState:
    """What a cluster has of the platform, and the model services of all namespaces."""

    installed: bool
    parts: tuple[Part, ...]
    services: tuple[Manifest, ...]

    @property
    def operated(self) -> bool:
        """Whether there is an operator: without one, nothing becomes of a model service."""
        return any(part.name == OPERATOR and part.wanted for part in self.parts)


async def platform_state(client: Connection) -> PlatformState:
    """Reads it; the parts are known even where the API of model services is missing."""
    with client.errors():
        pages = [await client.api.list(DEPLOYMENT, namespace) for namespace in NAMESPACES]
    parts = tuple(_part(item) for page in pages for item in page.items)
    try:
        return PlatformState(True, parts, tuple(await client.list(all_namespaces=True)))
    except NotFoundError:
        return PlatformState(False, parts, ())


async def operator_version(client: Connection) -> str:
    """The version of the operator, empty where there is none."""
    with client.errors():
        page = await client.api.list(DEPLOYMENT, NAMESPACES[0])
    return next((_part(item).version for item in page.items if item["metadata"]["name"] == OPERATOR), "")


def skew(command: str, operator: str) -> str:
    """What a difference of versions means, in a sentence; empty where they fit: the same but for the patch."""
    ours, theirs = _minor(command), _minor(operator)
    if not operator or ours is None or theirs is None or ours == theirs:
        return ""
    if theirs < ours:
        return (
            f"The operator, {operator}, is older than the command, {command}: it refuses new fields. Run `slipway up`."
        )
    return f"The command, {command}, is older than the operator, {operator}: it does not show all. Install {operator}."


def _minor(version: str) -> tuple[int, int] | None:
    """Major and minor number, None where it is no version."""
    numbers = version.removeprefix("v").split(".")[:2]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and all(map(str.isdecimal, numbers)) else None  # noqa: PLR2004


def _part(deployment: dict[str, Any]) -> Part:
    metadata, status = deployment["metadata"], deployment.get("status", {})
    available = condition(deployment, "Available")
    return Part(
        name=metadata["name"],
        namespace=metadata["namespace"],
        ready=status.get("readyReplicas", 0),
        wanted=deployment["spec"].get("replicas", 1),
        version=metadata.get("labels", {}).get(_VERSION) or _tag(deployment),
        why="" if available.holds else available.message,
    )


def _tag(deployment: dict[str, Any]) -> str:
    """The tag of the first container's image."""
    containers = deployment["spec"].get("template", {}).get("spec", {}).get("containers", [])
    image = str(containers[0].get("image", "")) if containers else ""
    return image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else ""
