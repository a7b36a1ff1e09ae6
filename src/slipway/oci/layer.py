"""Layers: tar archives that are a function of their contents alone.

Sorted names, no times, no owners, two kinds of permissions: whoever makes the layer, wherever and whenever, gets the
same digest. A layer is a stream that can be read again; nothing is copied unless a store keeps it.
"""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO

from slipway.oci.errors import OciError

TAR = "application/vnd.oci.image.layer.v1.tar"
TAR_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
TAR_LAYERS = (TAR, TAR_GZIP, "application/vnd.docker.image.rootfs.diff.tar.gzip")
"""Layers that plain Python unpacks."""
BLOCK = 1 << 20
RECORD = tarfile.BLOCKSIZE
FILE_MODE, PROGRAM_MODE, LINK_MODE = 0o644, 0o755, 0o777
GZIP_WINDOW = 31  # zlib's number for a gzip header, in which it puts no time

Content = bytes | Path | Callable[[], IO[bytes]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory or symbolic link of a layer. `name` is relative, with `/`; `size` is in bytes.

    A directory has no content; a link has a target and no content. Without a mode, whoever runs the image can read it.
    """

    name: str
    content: Content | None = None
    size: int = 0
    mode: int | None = None
    target: str = ""

    def __post_init__(self) -> None:
        parts = self.name.split("/")
        if "\0" in self.name or any(part in {"", ".", ".."} for part in parts) or not _is_unicode(self.name):
            raise OciError(f"{self.name!r} cannot be the name of a file in an image.", "Rename it.")

    @classmethod
    def file(cls, name: str, content: bytes | Path, *, executable: bool = False) -> Entry:
        """A file with these bytes, or with the content of that file."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        return cls(name, content, size, PROGRAM_MODE if executable else FILE_MODE)

    def header(self) -> bytes:
        """The tar header, in the pax format, which has no limits on names and sizes."""
        info = tarfile.TarInfo(self.name)
        if self.target:
            info.type, info.linkname, default = tarfile.SYMTYPE, self.target, LINK_MODE
        elif self.content is None:
            info.type, default = tarfile.DIRTYPE, PROGRAM_MODE
        else:
            info.size, default = self.size, FILE_MODE
        info.mode = default if self.mode is None else self.mode
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8")

    def open(self) -> IO[bytes]:
        """The content from its beginning."""
        if isinstance(self.content, Path):
            return self.content.open("rb")
        return self.content() if callable(self.content) else io.BytesIO(self.content or b"")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer. `digest` and `size` (bytes) are of what is sent, `diff_id` is the digest of the bare tar."""

    media_type: str
    digest: str
    size: int
    diff_id: str
    read: Callable[[], Iterator[bytes]]

    @classmethod
    def of(cls, entries: Iterable[Entry], *, compress: bool = False) -> Layer:
        """The layer of these entries, in any order; reads every content once. `compress` makes it gzip.

        Raises `OciError` for two entries of one name, or a file that cannot be read.
        """
        ordered = tuple(sorted(entries, key=lambda entry: entry.name))
        for one, other in pairwise(ordered):
            if one.name == other.name:
                raise OciError(f"Two files of one layer are called {one.name!r}.", "Remove one of them.")
        tar = partial(_tar, ordered)
        diff_id, size = _measure(tar())
        if not compress:
            return cls(TAR, diff_id, size, diff_id, tar)
        zipped = partial(_gzip, tar)
        return cls(TAR_GZIP, *_measure(zipped()), diff_id, zipped)

    @classmethod
    def of_directory(cls, directory: Path, prefix: str = "", *, compress: bool = False) -> Layer:
        """The layer of everything below a directory, under `prefix` in the image."""
        return cls.of(entries_of(directory, prefix), compress=compress)

    @classmethod
    def of_file(cls, media_type: str, digest: str, diff_id: str, path: Path) -> Layer:
        """A layer that lies in a file already."""
        return cls(media_type, digest, path.stat().st_size, diff_id, partial(_blocks, path))


def entries_of(directory: Path, prefix: str = "") -> Iterator[Entry]:
    """Everything below a directory, under `prefix`, whose directories come first; links stay links."""
    top = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    parts = top.split("/")[:-1]
    yield from (Entry("/".join(parts[: count + 1])) for count in range(len(parts)))
    for path in directory.rglob("*"):
        name = top + path.relative_to(directory).as_posix()
        if path.is_symlink():
            yield Entry(name, target=str(path.readlink()))
        elif path.is_dir():
            yield Entry(name)
        elif path.is_file():
            yield Entry.file(name, path, executable=bool(path.stat().st_mode & stat.S_IXUSR))


def _is_unicode(name: str) -> bool:
    """Names that are not UTF-8 on disk reach Python as lone surrogates, which no image can carry."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _tar(entries: tuple[Entry, ...]) -> Iterator[bytes]:
    for entry in entries:
        yield entry.header()
        if entry.content is not None:
            yield from _content(entry)
            yield bytes(-entry.size % RECORD)
    yield bytes(2 * RECORD)


def _content(entry: Entry) -> Iterator[bytes]:
    """Exactly `size` bytes: a file that grows or shrinks meanwhile would break the archive after it."""
    left = entry.size
    try:
        with entry.open() as stream:
            while left and (block := stream.read(min(left, BLOCK))):
                left -= len(block)
                yield block
    except OSError as error:
        raise OciError(f"{entry.name} cannot be read: {error.strerror}.", "Check its permissions.") from error
    if left:
        raise OciError(f"{entry.name} became shorter while it was read.", "Wait until it is written, and try again.")


def _gzip(tar: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=GZIP_WINDOW)
    yield from filter(None, map(packer.compress, tar()))
    yield packer.flush()


def _measure(blocks: Iterator[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
    return f"sha256:{digest.hexdigest()}", size


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block
