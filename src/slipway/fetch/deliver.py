"""From a plan to the files of a model in their place: room, download, unpacking, checksum, names."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from slipway.fetch import archive
from slipway.fetch.checksum import combined, files_below, sha256_of
from slipway.fetch.download import Download, Retry, together
from slipway.fetch.errors import FetchError
from slipway.fetch.meter import Meter, human
from slipway.fetch.remote import WORK, Plan, RemoteFile, Source

PARTS, FILES, UNPACKED = "parts", "files", "unpacked"
READABLE, ENTERABLE = 0o444, 0o755  # for whichever user the model server runs as
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Stopped(Exception):  # noqa: N818  # ends a thread whose result nobody waits for
    """The fetch has ended."""


@dataclass(slots=True)
class Delivery:
    """One fetch: where from, what is expected, whom to tell. `free` tells the bytes that a directory has left."""

    uri: str
    source: Source
    checksum: str
    meter: Meter
    retry: Retry
    free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    stopped: threading.Event = field(default_factory=threading.Event)

    async def fill(self, plan: Plan, place: Path) -> None:
        """Makes `place/files` the whole model; continues what an interrupted fetch of the same key left there."""
        with self.writing(place):
            for name in (PARTS, FILES):
                (place / name).mkdir(parents=True, exist_ok=True)
            self._room(plan, place)
            self.meter.begin(plan.size)
            digests: dict[str, str] = {}
            await together(partial(self._bring, plan, file, place, digests) for file in plan.files)
            self.meter.note(f"{self.meter.so_far} fetched")
            if plan.one and self.checksum:
                self._compare(f"sha256:{digests[plan.files[0].name]}", place)
            if plan.unpack:
                await asyncio.to_thread(self._unpack, plan, place)
            if not plan.one and self.checksum:
                await asyncio.to_thread(self._compare_all, place, {} if plan.unpack else digests)
            await asyncio.to_thread(_open_up, place / FILES)

    async def put(self, files: Path, directory: Path, *, move: bool) -> None:
        """Gives the files their names below `directory`, each whole: moved, or linked or copied from the cache."""
        with self.writing(directory):
            await asyncio.to_thread(self._put, files, directory, move)

    async def _bring(self, plan: Plan, file: RemoteFile, place: Path, digests: dict[str, str]) -> None:
        """One file, from its part to its name. Layers and archives stay parts: they are unpacked."""
        done = place / FILES / file.name
        part = place / PARTS / sha256(f"{file.name}\0{file.version}\0{file.sha256}".encode()).hexdigest()
        if not plan.unpack and done.is_file() and done.stat().st_size == file.size and plan.versioned:
            self.meter.add(file.size or 0, resumed=True)
            if self.checksum or file.sha256:
                digests[file.name] = await asyncio.to_thread(sha256_of, done, self._go_on)
            return
        hashed = bool(self.checksum) and (plan.one or not plan.unpack)
        digests[file.name] = await Download(self.source, file, part, self.meter, hashed).run(self.uri, self.retry)
        if not plan.unpack:
            done.parent.mkdir(parents=True, exist_ok=True)
            part.replace(done)

    def _room(self, plan: Plan, place: Path) -> None:
        """Refuses before anything is fetched what would not fit."""
        there = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        needed, free = plan.size * (2 if plan.unpack else 1) - there, self.free(place)
        if needed > free:
            why = f"it needs {human(needed)} and the disk has {human(free)} left"
            raise FetchError(self.uri, why, "give the volume more space, or free some on the node")

    def _unpack(self, plan: Plan, place: Path) -> None:
        """All archives, in their order, then the result gets its name at once."""
        unpacked = place / UNPACKED
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir()
        for file in plan.files:
            part = place / PARTS / sha256(f"{file.name}\0{file.version}\0{file.sha256}".encode()).hexdigest()
            try:
                archive.unpack(part, unpacked, self._go_on)
            except archive.UnsafeArchive as error:
                shutil.rmtree(place)
                do = "pack the model again, as a plain directory"
                raise FetchError(self.uri, f"the archive is not unpacked, for {error}", do) from error
        shutil.rmtree(place / FILES)
        unpacked.rename(place / FILES)
        shutil.rmtree(place / PARTS)

    def _compare_all(self, place: Path, digests: Mapping[str, str]) -> None:
        names = {str(path.relative_to(place / FILES)): path for path in files_below(place / FILES)}
        known = {name: digests.get(name) or sha256_of(path, self._go_on) for name, path in names.items()}
        self._compare(combined(known), place)

    def _compare(self, found: str, place: Path) -> None:
        """Nothing of a wrong content stays, so that the next attempt begins anew."""
        if self.checksum and found != self.checksum:
            shutil.rmtree(place)
            do = "correct spec.model.checksum, or find out who changed the model"
            raise FetchError(self.uri, f"its checksum is {found}, not {self.checksum}", do)

    def _put(self, files: Path, directory: Path, move: bool) -> None:
        paths = [path for path in sorted(files.rglob("*")) if path.is_symlink() or not path.is_dir()]
        for path in paths:
            self._go_on()
            target = directory / path.relative_to(files)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir() and not target.is_symlink():
                raise FetchError(self.uri, f"{target} is a directory already", "fetch into an empty directory")
            path.replace(target) if move else self._copy(path, target, directory)
        for path in sorted(files.rglob("*")):  # directories without files
            if path.is_dir() and not path.is_symlink():
                (directory / path.relative_to(files)).mkdir(parents=True, exist_ok=True)

    def _copy(self, path: Path, target: Path, directory: Path) -> None:
        """A hard link where both are of one mount, else a copy, which the file system may share."""
        beside = directory / WORK / "copy"
        beside.unlink(missing_ok=True)
        if path.is_symlink():
            beside.symlink_to(path.readlink())
        else:
            try:
                os.link(path, beside)
            except OSError:
                self._copy_bytes(path, beside)
        beside.replace(target)

    def _copy_bytes(self, path: Path, target: Path) -> None:
        with path.open("rb") as source, target.open("xb") as copy:
            left = os.fstat(source.fileno()).st_size
            while left:
                self._go_on()
                count = _some(source.fileno(), copy.fileno(), min(left, 1 << 26))
                if not count:
                    raise OSError(errno.EIO, "the cached file became shorter", str(path))
                left -= count
        target.chmod(READABLE)

    def _go_on(self) -> None:
        if self.stopped.is_set():
            raise Stopped

    @contextmanager
    def writing(self, place: Path) -> Iterator[None]:
        """Errors of the disk as sentences."""
        try:
            yield
        except OSError as error:
            if error.errno in NO_SPACE:
                why = f"the disk of {place} is full"
                do = "give the volume more space, or free some on the node; what has arrived is resumed"
                raise FetchError(self.uri, why, do) from error
            why = f"{error.filename or place} cannot be written ({error.strerror or error})"
            do = f"make the directory writable for user {os.getuid()}"
            raise FetchError(self.uri, why, do) from error


def _some(source: int, copy: int, count: int) -> int:
    with suppress(OSError):  # not between all file systems
        return os.copy_file_range(source, copy, count)
    return os.sendfile(copy, source, None, count)


def _open_up(files: Path) -> None:
    """Everybody may read, nobody write: a cached file may have many names."""
    files.chmod(ENTERABLE)
    for path in files.rglob("*"):
        if not path.is_symlink():
            path.chmod(ENTERABLE if path.is_dir() else READABLE)
