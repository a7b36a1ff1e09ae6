"""Bringing files: several at once, each tried again and resumed until its size and digest are right."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from slipway.fetch.checksum import BLOCK
from slipway.fetch.errors import Changed, FetchError, Transient
from slipway.fetch.meter import Meter
from slipway.fetch.remote import RemoteFile, Source

T = TypeVar("T")
PARALLEL = 8
FAILURES = 6
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


@dataclass(slots=True)
class Retry:
    """Tries a thing again while it fails for reasons that pass: six times in a row without progress are the end.

    The pauses double from half a second to half a minute, each shortened by chance to between a half and the whole, so
    that pods that failed together do not come back together.
    """

    what: str
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random

    async def call(self, attempt: Callable[[], Awaitable[T]], progress: Callable[[], int] = lambda: 0) -> T:
        """What `attempt` returns. `progress` counts what it got so far."""
        failures, reached = 0, progress()
        while True:
            try:
                return await attempt()
            except Transient as error:
                failures = 1 if progress() > reached else failures + 1
                reached = progress()
                if failures == FAILURES:
                    why = f"{error.reason}, {FAILURES} times in a row"
                    raise FetchError(self.what, why, "check that its server can be reached from this node") from error
                longest = min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
                await self.pause(max(error.wait, longest * (1 + self.chance()) / 2))


@dataclass(slots=True)
class Download:
    """One file on its way to `path`, which may hold its beginning already."""

    source: Source
    file: RemoteFile
    path: Path
    meter: Meter
    hashed: bool = False
    got: int = 0
    received: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    async def run(self, what: str, retry: Retry) -> str:
        """Returns the SHA-256 in hex, or nothing where it was not asked for. Raises `FetchError` or `Changed`."""
        self.hashed = self.hashed or bool(self.file.sha256)
        await asyncio.to_thread(self._resume)
        await retry.call(self._attempt, lambda: self.received)
        digest = self._digest.hexdigest() if self.hashed else ""
        if self.file.sha256 and digest != self.file.sha256:
            self.path.unlink()
            why = f"{self.file.name} arrived with another SHA-256 than its source says"
            raise FetchError(what, why, "try again; when it stays so, the object is damaged at its source")
        return digest

    def _resume(self) -> None:
        """Counts, and hashes again, what an earlier process left. Without a version it may be of another content."""
        if not self.path.exists():
            return
        size = self.path.stat().st_size
        if not (self.file.version or self.file.sha256) or self.file.size is None or size > self.file.size:
            self.path.unlink()
            return
        if self.hashed:
            with self.path.open("rb") as file:
                while block := file.read(BLOCK):
                    self._digest.update(block)
        self.got = size
        self.meter.add(size, resumed=True)

    async def _attempt(self) -> None:
        if self.got == self.file.size and self.path.exists():
            return
        if not self.file.version and not self.file.sha256:
            self._start_over()
        try:
            async with self.source.read(self.file, self.got) as body:
                if body.start != self.got:
                    self._start_over()
                async with aclosing(body.blocks) as blocks:  # type: ignore[type-var]  # generators, all of them
                    await self._take(blocks)
        except Changed:
            self._start_over()
            raise
        if self.file.size is not None and self.got < self.file.size:
            raise Transient(f"{self.file.name} ended after {self.got} of {self.file.size} bytes")

    async def _take(self, blocks: AsyncIterator[bytes]) -> None:
        """Writes what comes, a megabyte at once, and at the end whatever came: the next try begins there."""
        pending = bytearray()
        with self.path.open("ab", buffering=0) as file:
            try:
                async for block in blocks:
                    if self.file.size is not None and self.got + len(pending) + len(block) > self.file.size:
                        raise Changed
                    pending += block
                    if len(pending) >= BLOCK:
                        full, pending = pending, bytearray()
                        await _to_the_end(self._write, file, full)
            finally:
                self._write(file, pending)

    def _write(self, file: IO[bytes], block: bytearray) -> None:
        view = memoryview(block)
        while view:
            view = view[file.write(view) :]
        if self.hashed:
            self._digest.update(block)
        self.got += len(block)
        self.received += len(block)
        self.meter.add(len(block))

    def _start_over(self) -> None:
        self.path.unlink(missing_ok=True)
        self.meter.add(-self.got)
        self.got, self._digest = 0, hashlib.sha256()


async def _to_the_end(work: Callable[..., None], *arguments: Any) -> None:
    """In a thread, which ends before a cancellation goes on: the next try must not meet this one's writes."""
    writing = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await writing
        raise


async def together(jobs: Iterable[Callable[[], Awaitable[None]]], most: int = PARALLEL) -> None:
    """Runs all, `most` at once. The first failure ends the others and is raised as it is."""
    slots = asyncio.Semaphore(most)

    async def one(job: Callable[[], Awaitable[None]]) -> None:
        async with slots:
            await job()

    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(one(job))
    except BaseExceptionGroup as failures:
        raise _first(failures) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
