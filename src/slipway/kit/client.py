"""What the platform asks of an API server: nine calls, and the errors they raise.

ApiError                    the server answered, and refused
 ├─ NotFound                404
 ├─ AlreadyExists           409, reason AlreadyExists
 ├─ Conflict                409: somebody else wrote first, or owns the field
 ├─ Expired                 410: the resource version is gone; list again
 ├─ Invalid                 400, 422: the object is wrong; `causes` names the fields
 └─ Forbidden               401, 403
Unreachable                 nothing answered: name, address, TLS, time-out
"""

# ruff: noqa: N818  # the API server's own names of its answers

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

from slipway.kit.objects import Kind, Manifest


class ApiError(Exception):
    """An answer of the API server that is not a success."""

    def __init__(self, status: int, reason: str, message: str, causes: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes  # (field path, what is wrong)


class NotFound(ApiError):
    """No such object, or no such kind."""


class AlreadyExists(ApiError):
    """An object of this name is there already."""


class Conflict(ApiError):
    """The object changed since it was read, or a field is owned by another manager."""


class Expired(ApiError):
    """The resource version is too old: list again."""


class Invalid(ApiError):
    """The object breaks its schema or an admission rule."""


class Forbidden(ApiError):
    """Not authenticated, or not allowed."""


class Unreachable(Exception):
    """No API server answered."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    items: list[Manifest]
    resource_version: str
    continue_: str | None = None


EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change. A bookmark carries only a resource version and its annotations."""

    type: EventType
    object: Manifest


class Client(Protocol):
    """An asynchronous client of one API server. Every call raises the errors of this module and no others."""

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Manifest:
        """One object."""
        ...

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
        """One page of objects; `labels` and `fields` are selectors. Each item carries its `apiVersion` and `kind`."""
        ...

    def watch(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        resource_version: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        initial_events: bool = False,
        timeout: float = 300.0,
    ) -> AsyncGenerator[WatchEvent]:
        """Changes since `resource_version`, bookmarks included. Ends when the server ends it; raises `Expired` on 410.

        With `initial_events` all objects come first, as ADDED, then a bookmark annotated `k8s.io/initial-events-end`.
        """
        ...

    async def create(self, kind: Kind, manifest: Manifest) -> Manifest:
        """Creates one object."""
        ...

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
        """Server-side apply with strict field validation.

        Without `force`, raises `Conflict` where another manager owns a field.
        """
        ...

    async def patch(
        self, kind: Kind, name: str, namespace: str | None, body: Manifest, *, subresource: str | None = None
    ) -> Manifest:
        """JSON merge patch (RFC 7396)."""
        ...

    async def replace(self, kind: Kind, manifest: Manifest, *, subresource: str | None = None) -> Manifest:
        """Replaces one object at the resource version that it carries."""
        ...

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        uid: str | None = None,
    ) -> None:
        """Deletes one object, only if it still has `uid` where one is given."""
        ...

    async def raw(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        patience: float | None = None,
    ) -> bytes:
        """Any other path: discovery, logs, the service proxy. Same errors. `patience`: seconds without a byte."""
        ...
