"""What a source offers: a plan of files, and their bytes from any offset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from slipway.fetch.errors import FetchError

MOST_FILES = 10_000
LONGEST_NAME, LONGEST_PART = 1024, 255
WORK = ".slipway-fetch"
"""The directory in which files are made before they get their names."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file. `name` is its path in the model; `address` is what its source calls it.

    `size` (bytes) and `sha256` (hex) are checked where the source tells them. `version` changes with the content
    (an ETag, a digest, a commit); without one nothing is resumed or kept.
    """

    name: str
    address: str
    size: int | None = None
    version: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be fetched. `one`: the URI names a file, not a directory. `unpack`: the files are archives."""

    files: tuple[RemoteFile, ...]
    one: bool = False
    unpack: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files whose size is known."""
        return sum(file.size or 0 for file in self.files)

    @property
    def versioned(self) -> bool:
        """Whether two plans with the same key have the same content."""
        return all(file.version or file.sha256 for file in self.files)

    def key(self, uri: str, checksum: str) -> str:
        """64 hex digits that name this content of this URI."""
        files = [(file.name, file.size, file.version, file.sha256) for file in self.files]
        return hashlib.sha256(json.dumps([uri, checksum, self.unpack, files]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes of a file from `start` on; a server that cannot begin where it was asked to begins at 0."""

    start: int
    blocks: AsyncIterator[bytes]


class Source(Protocol):
    """Where a model comes from. Both calls raise `FetchError`, `Transient` or `Changed`."""

    async def plan(self) -> Plan:
        """The files of the model as they are now."""

    def read(self, file: RemoteFile, start: int) -> AbstractAsyncContextManager[Body]:
        """The bytes of a file that was planned, from `start` on."""

    async def close(self) -> None:
        """Ends connections."""


def plan_of(uri: str, files: Iterable[RemoteFile], *, one: bool = False) -> Plan:
    """A plan whose names are safe to create below a directory. Raises `FetchError` naming the one that is not."""
    ordered = tuple(sorted(files, key=lambda file: file.name))
    if len(ordered) > MOST_FILES:
        raise FetchError(uri, f"it has more than {MOST_FILES} files", "name the directory of one model")
    names = {file.name for file in ordered}
    for file in ordered:
        if not is_safe(file.name):
            raise FetchError(uri, f"{file.name[:200]!r} cannot be the name of a file", "rename it at its source")
        if any(str(parent) in names for parent in PurePosixPath(file.name).parents):
            why = f"a directory of {file.name[:200]!r} has the name of a file"
            raise FetchError(uri, why, "rename one of the two at their source")
    return Plan(ordered, one=one)


def is_safe(name: str) -> bool:
    """Whether a name leads to a file below the directory that it is joined to, whatever it is."""
    parts = name.split("/")
    return (
        len(name.encode(errors="replace")) <= LONGEST_NAME
        and name.isprintable()
        and "\\" not in name
        and parts[0] != WORK
        and not any(part in {"", ".", ".."} or len(part.encode(errors="replace")) > LONGEST_PART for part in parts)
    )
