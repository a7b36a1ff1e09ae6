"""A model as an image: its files at the image's root, each large file a layer of its own."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from slipway.oci.errors import OciError
from slipway.oci.image import Image
from slipway.oci.layer import Entry, Layer

LARGE = 16 * 1024 * 1024
MOST_LAYERS = 64
IGNORED = {".git", "__pycache__", ".DS_Store", ".ipynb_checkpoints"}
TITLE = "org.opencontainers.image.title"


def model_image(path: Path, *, compress: bool = False) -> Image:
    """The image of a model's directory or file; reads every file once. The same model is the same digest.

    Files of 16 MiB and more are layers of their own, so that a changed tokenizer does not send the weights again; the
    rest is one layer. Links to files are followed. Raises `OciError` naming the file that cannot be part of it.
    """
    if not path.exists():
        raise OciError(f"{path}: no such file or directory.", "Name the model's file or directory.")
    entries = list(_entries(path)) if path.is_dir() else [_file(path.name, path)]
    if not any(entry.content is not None for entry in entries):
        raise OciError(f"{path}: there is no file in it.", "Put the model into it, for example as model.onnx.")
    layers = [Layer.of(group, compress=compress) for group in _groups(entries)]
    return Image.of(*layers, annotations={TITLE: path.resolve().name.encode(errors="replace").decode()})


def _groups(entries: list[Entry]) -> list[list[Entry]]:
    """The small files, then each large one; of very many large ones, several together."""
    large = sorted((entry for entry in entries if entry.size >= LARGE), key=lambda entry: entry.name)
    small = [entry for entry in entries if entry.size < LARGE]
    together = -(-len(large) // MOST_LAYERS) or 1
    chunks = [large[start : start + together] for start in range(0, len(large), together)]
    return [group for group in (small, *chunks) if group]


def _entries(directory: Path) -> Iterator[Entry]:
    def unreadable(error: OSError) -> None:
        raise OciError(f"{error.filename} cannot be read: {error.strerror}.", "Check its permissions.") from error

    for place, directories, files in os.walk(directory, onerror=unreadable):
        directories[:] = [name for name in directories if name not in IGNORED]
        for name in directories:
            inner = Path(place, name)
            if inner.is_symlink():
                raise OciError(f"{inner}: a link to a directory.", "Copy the directory into the model instead.")
            yield Entry(inner.relative_to(directory).as_posix())
        for name in files:
            if name not in IGNORED:
                yield _file(Path(place, name).relative_to(directory).as_posix(), Path(place, name))


def _file(name: str, path: Path) -> Entry:
    try:
        found = path.stat()
    except OSError as error:
        raise OciError(f"{path}: {error.strerror}.", "Remove it, or restore what it points to.") from error
    if not stat.S_ISREG(found.st_mode):
        raise OciError(f"{path}: neither a file nor a directory.", "Remove it from the model.")
    return Entry.file(name, path, executable=bool(found.st_mode & stat.S_IXUSR))
