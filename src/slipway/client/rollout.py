"""Rollouts of a model service: its revisions, going back to one, and starting its pods anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from slipway.client.change import RESTART_MANAGER, Scale, leftovers, removal, restarted, scaled, undone
from slipway.client.connection import Connection
from slipway.client.errors import ConflictError, InvalidInputError, NotFoundError
from slipway.kit.objects import MODEL_SERVICE, Manifest
from slipway.views import revisions as views
from slipway.views.revisions import Revision


@dataclass(frozen=True, slots=True)
class History:
    """The revisions of one model service, oldest first, and the one that it has now, None before there is any."""

    service: Manifest
    revisions: Sequence[Revision]
    current: Revision | None

    @property
    def name(self) -> str:
        """The model service's."""
        return str(self.service["metadata"]["name"])

    def before(self, revision: Revision) -> Revision | None:
        """The one before, None for the oldest that is kept."""
        earlier = [other for other in self.revisions if other.number < revision.number]
        return earlier[-1] if earlier else None

    def number(self, wanted: int | None) -> Revision:
        """The revision of a number, or the one before the current one; `NotFoundError` says which there are."""
        if wanted is None:
            found = self.before(self.current) if self.current else None
            if found is None:
                raise NotFoundError(f"{self.name} has no earlier revision.", self._known())
            return found
        for revision in self.revisions:
            if revision.number == wanted:
                return revision
        raise NotFoundError(f"{self.name} has no revision {wanted}.", self._known())

    def _known(self) -> str:
        numbers = ", ".join(str(revision.number) for revision in self.revisions)
        return f"Kept are: {numbers}. Nothing was changed." if numbers else "None is kept yet. Nothing was changed."


async def history(client: Connection, name: str) -> History:
    """What there is of them; the current one is that of `status.revision`, else the newest."""
    service = await client.get(name)
    found = views.revisions(await client.controller_revisions(name))
    now = service.get("status", {}).get("revision")
    current = [revision for revision in found if revision.hash == now] or found[-1:]
    return History(service, tuple(found), current[-1] if current else None)


async def undo(
    client: Connection, past: History, target: Revision, *, force: bool = False, dry_run: bool = False
) -> Manifest:
    """Writes a revision's model and server back, by server-side apply.

    `ConflictError` where another manager holds a field that would have to change or go, unless `force`.
    """
    if target == past.current:
        raise InvalidInputError(
            f"Revision {target.number} of {past.name} is the one that it has.", "Nothing was changed."
        )
    rest = leftovers(past.service, target)
    if rest and not force:
        fields = "; ".join(f"{path} is managed by {manager}" for path, manager in rest.items())
        raise ConflictError(
            f"Revision {target.number} has not all fields of {past.name}: {fields}.",
            "Remove it there, or have it removed with --force-conflicts. Nothing was changed.",
        )
    applied = await client.apply(undone(past.service, target), force=force, dry_run=dry_run)
    if not rest or dry_run:
        return applied
    with client.errors():
        patch = removal(applied, target)
        return await client.api.patch(MODEL_SERVICE, past.name, client.namespace, patch) if patch else applied


async def scale(
    client: Connection, existing: Manifest, wish: Scale, *, force: bool = False, dry_run: bool = False
) -> Manifest:
    """Applies another number of replicas, or another range."""
    return await client.apply(scaled(existing, wish), force=force, dry_run=dry_run)


async def restart(client: Connection, existing: Manifest, *, dry_run: bool = False) -> Manifest:
    """Has all pods replaced, a few at a time, as a change of the revision would."""
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return await client.apply(restarted(existing, at), force=True, dry_run=dry_run, manager=RESTART_MANAGER)
