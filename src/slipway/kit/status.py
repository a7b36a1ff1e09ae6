"""Status: conditions that keep their times, and one write a reconcile."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from slipway.kit.client import Client
from slipway.kit.compare import without_nulls
from slipway.kit.consistency import wrote
from slipway.kit.objects import Kind, Manifest

ConditionStatus = Literal["True", "False", "Unknown"]
LONGEST_MESSAGE = 4096  # characters; metav1.Condition allows 32768, which nobody reads


def timestamp(now: datetime) -> str:
    """A time as Kubernetes writes it: UTC, whole seconds."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def set_condition(  # noqa: PLR0917  # a condition has that many fields
    conditions: Iterable[Manifest],
    type: str,  # noqa: A002  # the field's name
    status: ConditionStatus,
    reason: str,
    message: str,
    observed_generation: int,
    now: datetime,
) -> list[Manifest]:
    """The conditions with this one set, at its place or at the end; `lastTransitionTime` moves only with `status`."""
    condition = {
        "type": type,
        "status": status,
        "reason": reason,
        "message": message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 1]}…",
        "observedGeneration": observed_generation,
        "lastTransitionTime": timestamp(now),
    }
    result, found = [], False
    for old in conditions:
        if old.get("type") != type:
            result.append(old)
            continue
        if old.get("status") == status and old.get("lastTransitionTime"):
            condition["lastTransitionTime"] = old["lastTransitionTime"]
        result.append(condition)
        found = True
    return result if found else [*result, condition]


async def write_status(
    client: Client, kind: Kind, manifest: Manifest, status: Manifest, *, manager: str = "slipway"
) -> bool:
    """Applies `status` as the whole status of `manifest`, unless it is that already; whether it wrote.

    Raises the client's errors, `NotFound` when the object is gone, `Invalid` when it is another one of the same name.
    """
    wanted = without_nulls(status)
    if wanted == (manifest.get("status") or {}):
        return False
    metadata = manifest["metadata"]
    identity = {key: metadata[key] for key in ("name", "namespace", "uid") if metadata.get(key)}
    body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": identity, "status": wanted}
    answer = await client.apply(kind, body, manager=manager, force=True, subresource="status")
    wrote(kind, answer)
    return True
