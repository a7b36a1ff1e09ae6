"""Unpacking archives from strangers: nothing outside the directory, nothing without bound.

Files, directories and links are made; the rest (devices, pipes) is refused, and so are absolute names, `..`, names that
occur twice, links that lead out or nowhere. Links are made last, so that nothing is written through one.
"""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from slipway.fetch.remote import LONGEST_NAME, MOST_FILES, is_safe

BLOCK = 1 << 20
MOST_ENTRIES = 10 * MOST_FILES
SPARE, MOST_TIMES = 64 * 1024 * 1024, 100
"""Unpacked, an archive may be 100 times its size and 64 MiB: weights are hardly ever compressed to a half."""
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")


class UnsafeArchive(Exception):  # noqa: N818  # deliver turns it into a FetchError
    """An archive that is damaged or wants what is not allowed: the reason."""


@dataclass(frozen=True, slots=True)
class _Member:
    """`open` is None for a directory; `link` is a symbolic link's target, `same` the name of a hard link's file."""

    name: str
    open: Callable[[], IO[bytes]] | None = None
    link: str = ""
    same: str = ""


def is_archive(name: str) -> bool:
    """Whether a file of that name is unpacked."""
    return name.lower().endswith(SUFFIXES)


def unpack(archive: Path, directory: Path, go_on: Callable[[], None] = lambda: None) -> None:
    """Unpacks a tar (also with gzip) or zip file. `go_on` is called for each block, and may raise.

    Raises `UnsafeArchive`, after which the directory is to be thrown away, or `OSError` where it cannot be written.
    """
    budget = _Budget(archive.stat().st_size * MOST_TIMES + SPARE, go_on)
    links: list[_Member] = []
    try:
        for member in _members(archive):
            budget.entry()
            name = member.name.rstrip("/").removeprefix("./")
            if name in {"", "."}:
                continue
            if not is_safe(name):
                raise UnsafeArchive(f"it holds the name {member.name[:200]!r}")
            if member.link or member.same:
                links.append(_Member(name, None, member.link, member.same))
            else:
                _make(directory / name, member, budget)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, UnicodeError, RuntimeError) as error:
        raise UnsafeArchive("it is damaged, encrypted, or no archive") from error
    for link in links:
        _link(directory, link)
    for link in links:
        _follow(directory, link)


class _Budget:
    """What may still be unpacked."""

    def __init__(self, size: int, go_on: Callable[[], None]) -> None:
        self._size, self._entries, self._go_on = size, MOST_ENTRIES, go_on

    def entry(self) -> None:
        self._entries -= 1
        if self._entries < 0:
            raise UnsafeArchive(f"it holds more than {MOST_ENTRIES} files")

    def spend(self, count: int) -> None:
        self._go_on()
        self._size -= count
        if self._size < 0:
            raise UnsafeArchive(f"it unpacks to more than {MOST_TIMES} times its size")


def _members(archive: Path) -> Iterator[_Member]:
    with archive.open("rb") as file:
        if file.read(4).startswith(b"PK"):
            yield from _zip_members(archive)
            return
        file.seek(0)
        # As a stream, so that the bytes of a member are read where it is met: no index of a hostile size.
        with tarfile.open(fileobj=file, mode="r|*", errors="strict") as tar:
            for info in tar:
                yield _tar_member(tar, info)
                tar.members.clear()  # type: ignore[attr-defined]  # else it keeps all of them


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    if info.isdir():
        return _Member(info.name)
    if info.issym():
        return _Member(info.name, link=info.linkname or ".")
    if info.islnk():
        return _Member(info.name, same=info.linkname or ".")
    if not info.isreg():
        raise UnsafeArchive(f"{info.name[:200]!r} is neither a file nor a directory")

    def opened() -> IO[bytes]:
        stream = tar.extractfile(info)
        if stream is None:
            raise tarfile.ReadError(info.name)
        return stream

    return _Member(info.name, opened)


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                yield _Member(info.filename)
            elif stat.S_ISLNK(mode):
                with packed.open(info) as target:
                    yield _Member(info.filename, link=target.read(LONGEST_NAME).decode() or ".")
            elif stat.S_IFMT(mode) in {0, stat.S_IFREG}:
                yield _Member(info.filename, partial(packed.open, info))
            else:
                raise UnsafeArchive(f"{info.filename[:200]!r} is neither a file nor a directory")


def _make(target: Path, member: _Member, budget: _Budget) -> None:
    if member.open is None:
        _parent(target, member.name)
        return
    _parent(target.parent, member.name)
    try:
        with target.open("xb") as file, member.open() as stream:
            while block := stream.read(BLOCK):
                budget.spend(len(block))
                file.write(block)
    except FileExistsError as error:
        raise UnsafeArchive(f"it holds {member.name[:200]!r} twice") from error


def _parent(directory: Path, name: str) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UnsafeArchive(f"{name[:200]!r} is a file and a directory in it") from error


def _link(directory: Path, member: _Member) -> None:
    target = directory / member.name
    above = list(target.relative_to(directory).parents)[-2::-1]  # from the top down, without the directory itself
    if any((directory / parent).is_symlink() for parent in above) or os.path.lexists(target):
        raise UnsafeArchive(f"it holds {member.name[:200]!r} twice, or behind a link")
    _parent(target.parent, member.name)
    if "\0" in member.link:  # no system has such a name
        raise UnsafeArchive(f"the link {member.name[:200]!r} leads out or nowhere")
    if not member.same:
        target.symlink_to(member.link)
        return
    same = member.same.removeprefix("./")
    source = _end(directory / same) if is_safe(same) else None
    if source is None or not (source.is_relative_to(directory.resolve()) and source.is_file()):
        raise UnsafeArchive(f"the link {member.name[:200]!r} leads out or nowhere")
    target.hardlink_to(source)


def _follow(directory: Path, member: _Member) -> None:
    """A link has to end at a file or directory of the archive."""
    end = _end(directory / member.name)
    if end is None or not end.is_relative_to(directory.resolve()) or member.link.startswith("/"):
        raise UnsafeArchive(f"the link {member.name[:200]!r} leads out or nowhere")


def _end(path: Path) -> Path | None:
    """Where a path leads to; None for nowhere or in circles."""
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
