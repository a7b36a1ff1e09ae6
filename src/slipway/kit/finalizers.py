"""Finalizers: what keeps an object until its controller has cleaned up."""

from __future__ import annotations

from slipway.kit.client import Client
from slipway.kit.consistency import wrote
from slipway.kit.objects import Kind, Manifest


def has_finalizer(manifest: Manifest, name: str) -> bool:
    """Whether the object has the finalizer."""
    return name in manifest["metadata"].get("finalizers", ())


async def add_finalizer(client: Client, kind: Kind, manifest: Manifest, name: str) -> bool:
    """Adds it where it is missing; whether it wrote. `Conflict` when the object has changed since it was read."""
    present = manifest["metadata"].get("finalizers", [])
    return name not in present and await _write(client, kind, manifest, [*present, name])


async def remove_finalizer(client: Client, kind: Kind, manifest: Manifest, name: str) -> bool:
    """Takes it away where it is; whether it wrote. `Conflict` when the object has changed since it was read."""
    present = manifest["metadata"].get("finalizers", [])
    return name in present and await _write(client, kind, manifest, [item for item in present if item != name])


async def _write(client: Client, kind: Kind, manifest: Manifest, finalizers: list[str]) -> bool:
    metadata = manifest["metadata"]
    body = {"metadata": {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}}
    wrote(kind, await client.patch(kind, metadata["name"], metadata.get("namespace"), body))
    return True
