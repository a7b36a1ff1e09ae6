"""The image that holds a pod's namespaces: put into a new cluster's registry before its first pod."""

from __future__ import annotations

from pathlib import Path

from slipway.cluster.layout import PAUSE_REPOSITORY, PAUSE_TAG
from slipway.oci import Entry, Image, Layer, RegistryClient


def push_pause(client: RegistryClient, programs: Path) -> None:
    """Pushes the pause image, unless the registry has it."""
    if client.digest(PAUSE_REPOSITORY, PAUSE_TAG):
        return
    layer = Layer.of([Entry.file("pause", programs / "pause", executable=True)])
    client.upload(Image.of(layer, entrypoint=("/pause",), user="65535:65535"), PAUSE_REPOSITORY, PAUSE_TAG)
