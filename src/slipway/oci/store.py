"""Images in a directory: an OCI image layout, which other tools read as well.

`blobs/sha256/HEX` holds layers, configurations and manifests; `index.json` says which manifest has which name.
A blob is written beside its place and renamed, so that what is there is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slipway.oci.errors import OciError
from slipway.oci.image import MANIFEST, Image, canonical, descriptor, digest_of
from slipway.oci.layer import Entry, Layer

REF_NAME = "org.opencontainers.image.ref.name"
LAYOUT = canonical({"imageLayoutVersion": "1.0.0"})
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ImageStore:
    """Images by name in one directory. Several processes may use it at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._blobs = directory / "blobs" / "sha256"

    def read(self, name: str) -> Image | None:
        """The image of this name; None when there is none, or part of it is gone."""
        for entry in self._index():
            if entry.get("annotations", {}).get(REF_NAME) == name:
                return self._image(str(entry["digest"]))
        return None

    def write(self, name: str, image: Image) -> Image:
        """Keeps an image under a name; the one returned reads its layers from here. Fails as `keep` does."""
        kept = Image(tuple(self.keep(layer) for layer in image.layers), image.config, image.annotations)
        for content in (kept.config_bytes, kept.manifest):
            self._put(digest_of(content), iter([content]))
        entry = descriptor(MANIFEST, kept.digest, len(kept.manifest)) | {"annotations": {REF_NAME: name}}
        with self._locked():
            others = [one for one in self._index() if one.get("annotations", {}).get(REF_NAME) != name]
            index = {"schemaVersion": 2, "manifests": sorted([*others, entry], key=lambda one: str(one["annotations"]))}
            self._replace(self.directory / "oci-layout", LAYOUT)
            self._replace(self.directory / "index.json", canonical(index))
        return kept

    def keep(self, layer: Layer) -> Layer:
        """Keeps one layer; `OciError` when its files changed since it was made."""
        path = self._put(layer.digest, layer.read())
        return Layer.of_file(layer.media_type, layer.digest, layer.diff_id, path)

    def path(self, layer: Layer) -> Path:
        """The file of a layer that is kept here."""
        return self._path(layer.digest)

    def export(self, name: str, reference: str, path: Path) -> None:
        """Writes one image as an OCI archive that `ctr images import` reads as `reference`."""
        image = self.read(name)
        if image is None:
            raise OciError(f"There is no image {name} in {self.directory}.", "Build it first.")
        names = {REF_NAME: reference.rpartition(":")[2], "io.containerd.image.name": reference}
        entry = descriptor(MANIFEST, image.digest, len(image.manifest)) | {"annotations": names}
        digests = {image.digest, digest_of(image.config_bytes), *(layer.digest for layer in image.layers)}
        files = [Entry.file(f"blobs/sha256/{self._path(digest).name}", self._path(digest)) for digest in digests]
        files.append(Entry.file("oci-layout", LAYOUT))
        files.append(Entry.file("index.json", canonical({"schemaVersion": 2, "manifests": [entry]})))
        with _beside(path) as (file, _):
            for block in Layer.of(files).read():
                file.write(block)

    def _image(self, digest: str) -> Image | None:
        try:
            manifest = json.loads(self._path(digest).read_bytes())
            config = json.loads(self._path(manifest["config"]["digest"]).read_bytes())
            layers = [
                Layer.of_file(entry["mediaType"], entry["digest"], diff_id, self._path(entry["digest"]))
                for entry, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True)
            ]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged() from error
        return Image(tuple(layers), config, manifest.get("annotations", {}))

    def _index(self) -> list[dict[str, Any]]:
        try:
            manifests = list(json.loads((self.directory / "index.json").read_bytes())["manifests"])
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged() from error
        return manifests

    def _damaged(self) -> OciError:
        return OciError(f"The image store {self.directory} is damaged.", f"Delete it: rm -r {self.directory}")

    def _path(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise self._damaged()
        return self._blobs / digest.removeprefix("sha256:")

    def _put(self, digest: str, blocks: Iterator[bytes]) -> Path:
        path = self._path(digest)
        if path.exists():
            return path
        with _beside(path) as (file, found):
            for block in blocks:
                found.update(block)
                file.write(block)
            if f"sha256:{found.hexdigest()}" != digest:
                raise OciError("Files of a layer changed while it was made.", "Wait until they are written, try again.")
        return path

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.directory / ".lock").open("w", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _replace(self, path: Path, content: bytes) -> None:
        with _beside(path) as (file, _):
            file.write(content)


@contextmanager
def _beside(path: Path) -> Iterator[tuple[Any, Any]]:
    """A file that takes the name `path` when the block ends well, and is gone when it does not; and a hash for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            yield file, hashlib.sha256()
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
