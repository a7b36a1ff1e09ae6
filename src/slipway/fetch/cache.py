"""Models on a node, shared by its pods through a directory of the host.

    DIRECTORY/KEY/            a model under way: parts, and files that are whole
    DIRECTORY/KEY/entry.json  its files with their sizes, written last: the model is complete
    DIRECTORY/KEY.lock        held exclusively by who fills it, shared by those who read it

A key names a content (`Plan.key`). Locks are the kernel's (flock), so they go with whoever dies. A model without
`entry.json` is continued by the next who wants it, or evicted like any other.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from slipway.fetch.checksum import files_below
from slipway.fetch.eviction import Entry, evict
from slipway.fetch.meter import Meter, human
from slipway.fetch.remote import is_safe

ENTRY = "entry.json"
FILES = "files"
KEY = re.compile(r"[0-9a-f]{64}")
ASK_EVERY = 0.2
Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Cache:
    """A node's cache. `limit`: bytes that it may hold; None: what the disk has."""

    directory: Path
    limit: int | None
    meter: Meter
    pause: Pause

    @asynccontextmanager
    async def model(self, key: str, fill: Callable[[Path], Awaitable[None]]) -> AsyncIterator[Path]:
        """The files of a complete model, which stay while the context is open.

        `fill(place)` makes `place/files` when it is missing: once, however many processes ask at the same time.
        """
        place = self.directory / key
        while True:
            async with self._locked(key, fcntl.LOCK_SH):
                if is_complete(place):
                    os.utime(place / ENTRY)
                    yield place / FILES
                    return
            async with self._locked(key, fcntl.LOCK_EX):
                if not is_complete(place):
                    await fill(place)
                    _seal(place)

    def make_room(self, needed: int, key: str) -> None:
        """Evicts what was not used for longest, so that `needed` bytes fit; never what is in use."""
        free = shutil.disk_usage(self.directory).free
        entries = [entry for entry in self.entries() if entry.key != key]
        held = sum(entry.size for entry in entries)
        room = held + free if self.limit is None else min(self.limit, held + free)
        for gone in evict(entries, room, needed):
            self._remove(gone)

    def entries(self) -> list[Entry]:
        """The models of the cache, complete or not."""
        return [_entry(path) for path in self.directory.iterdir() if path.is_dir() and KEY.fullmatch(path.name)]

    def _remove(self, key: str) -> None:
        """Removes a model that nobody uses now, and what is left of one that was being removed."""
        with _try_lock(self.directory / f"{key}.lock", fcntl.LOCK_EX) as held:
            if not held:
                return
            size = _entry(self.directory / key).size
            (self.directory / key / ENTRY).unlink(missing_ok=True)
            shutil.rmtree(self.directory / key)
            (self.directory / f"{key}.lock").unlink()
            self.meter.note(f"evicted {key[:12]} ({human(size)}) from the node's cache")

    @asynccontextmanager
    async def _locked(self, key: str, kind: int) -> AsyncIterator[None]:
        """The lock of a model. Says so when it has to wait."""
        waiting = False
        while True:
            with _try_lock(self.directory / f"{key}.lock", kind) as held:
                if held:
                    self.meter.wait_for("")
                    yield
                    return
            if not waiting:
                waiting = True
                self.meter.note("another pod of this node fetches the same model: waiting for it")
                self.meter.wait_for("waiting for another pod of this node that fetches the same model")
            await self.pause(ASK_EVERY)


@contextmanager
def _try_lock(path: Path, kind: int) -> Iterator[bool]:
    """Whether the lock could be had; held while the context is open."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        # Whoever evicted the model took the name of the lock away: another file may have it by now.
        held = os.path.samestat(os.fstat(file), path.stat())
    except (BlockingIOError, FileNotFoundError):
        held = False
    try:
        yield held
    finally:
        os.close(file)


def is_complete(place: Path) -> bool:
    """Whether a model has all its files with the sizes that they had when it was sealed."""
    try:
        files = json.loads((place / ENTRY).read_bytes())["files"]
        return all(is_safe(name) and (place / FILES / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _seal(place: Path) -> None:
    """Writes the list of files, after the files: a machine that fails must not leave a list without them."""
    files = files_below(place / FILES)
    for path in files:
        _sync(path)
    sizes = {str(path.relative_to(place / FILES)): path.stat().st_size for path in files}
    beside = place / f"{ENTRY}.new"
    beside.write_text(json.dumps({"files": sizes}), encoding="utf-8")
    _sync(beside)
    beside.replace(place / ENTRY)
    _sync(place)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _entry(place: Path) -> Entry:
    """Size and last use; others may be removing it at this moment."""
    size = 0
    for path in place.rglob("*"):
        with suppress(OSError):
            size += path.lstat().st_size if not path.is_dir() else 0
    used = 0.0
    for path in (place, place / ENTRY):
        with suppress(OSError):
            used = max(used, path.stat().st_mtime)
    return Entry(place.name, size, used)
