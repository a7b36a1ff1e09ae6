"""Images: layers, a configuration, and the manifest that names both by digest."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass, field
from typing import Any

from slipway.oci.layer import Layer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFESTS = (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
"""What registries have, in OCI's words and in Docker's older ones."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Image:
    """One image for one platform. `config` is the OCI image configuration as JSON."""

    layers: tuple[Layer, ...]
    config: dict[str, Any]
    annotations: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        *layers: Layer,
        entrypoint: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        user: str = "",
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
    ) -> Image:
        """An image of these layers, the lowest first. `user` is `UID` or `UID:GID`; empty means root."""
        run = {
            "Entrypoint": list(entrypoint),
            "Env": [f"{name}={value}" for name, value in sorted((env or {}).items())],
            "User": user,
            "Labels": labels or {},
        }
        config = {
            "architecture": architecture(),
            "os": "linux",
            "config": {name: value for name, value in run.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }
        return cls(layers, config, annotations or {})

    @property
    def config_bytes(self) -> bytes:
        return canonical(self.config)

    @property
    def manifest(self) -> bytes:
        """The manifest as it is stored and sent."""
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, digest_of(self.config_bytes), len(self.config_bytes)),
            "layers": [descriptor(layer.media_type, layer.digest, layer.size) for layer in self.layers],
        }
        if self.annotations:
            document["annotations"] = self.annotations
        return canonical(document)

    @property
    def digest(self) -> str:
        """What `image@sha256:…` refers to."""
        return digest_of(self.manifest)

    @property
    def size(self) -> int:
        """Bytes of all layers as they are sent."""
        return sum(layer.size for layer in self.layers)


def architecture() -> str:
    """The architecture of the machine, under the name that images use."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def canonical(document: Any) -> bytes:
    """JSON of which there is only one form."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
