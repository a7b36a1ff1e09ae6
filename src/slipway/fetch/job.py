"""One fetch from its URI to the model in its directory, within its time."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import httpx2

from slipway.fetch.archive import is_archive
from slipway.fetch.cache import Cache
from slipway.fetch.deliver import FILES, Delivery
from slipway.fetch.download import Retry
from slipway.fetch.errors import Changed, FetchError
from slipway.fetch.hub import HubSource
from slipway.fetch.image import ImageSource
from slipway.fetch.meter import Meter, human
from slipway.fetch.remote import WORK, Plan, Source
from slipway.fetch.uri import Uri, read_uri
from slipway.fetch.web import WebSource

CHANGES = 3


@dataclass(frozen=True, slots=True)
class Job:
    """What is wanted. `checksum` is empty or `sha256:HEX`; `timeout` in seconds; `cache_bytes` None: the whole disk."""

    uri: str
    directory: Path
    checksum: str = ""
    timeout: float = 1800.0
    cache: Path | None = None
    cache_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """What reaches the outside: credentials, network, time, chance, a person's eyes."""

    environment: Mapping[str, str] = field(default_factory=dict)
    transport: httpx2.AsyncBaseTransport | None = None
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random
    free: Callable[[Path], int] = field(default=lambda path: shutil.disk_usage(path).free)


async def fetch(job: Job, tools: Tools) -> None:
    """Puts the model into the directory. Raises `FetchError`; what has arrived by then is used by the next fetch."""
    uri = read_uri(job.uri)
    meter = Meter(tools.stream, tools.clock, tools.pause)
    source = open_source(uri, tools)
    retry = Retry(uri.shown, tools.pause, tools.chance)
    delivery = Delivery(uri.shown, source, job.checksum, meter, retry, tools.free)
    telling = asyncio.create_task(meter.run())
    try:
        async with asyncio.timeout(job.timeout):
            await _fetch(job, delivery, Cache(job.cache, job.cache_bytes, meter, tools.pause) if job.cache else None)
    except (httpx2.RequestError, httpx2.InvalidURL, UnicodeError) as error:
        why = f"an address or an answer is not one of HTTP ({type(error).__name__})"
        raise FetchError(uri.shown, why, "check the URI, and its server's configuration") from error
    except TimeoutError as error:
        why = f"the time of {job.timeout:.0f} s is over, with {meter.so_far} fetched"
        do = "give it more time (spec.model.fetchTimeout), or a faster way to its source; what has arrived is resumed"
        raise FetchError(uri.shown, why, do) from error
    finally:
        delivery.stopped.set()
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling
        await source.close()


def open_source(uri: Uri, tools: Tools) -> Source:
    """The source of a scheme. Raises `FetchError`."""
    if uri.scheme == "https":
        return WebSource(uri, tools.environment, tools.transport)
    if uri.scheme == "hf":
        return HubSource(uri, tools.environment, tools.transport)
    if uri.scheme == "oci":
        return ImageSource(uri, tools.environment, tools.transport)
    try:
        from slipway.fetch.objects import ObjectSource  # noqa: PLC0415  # an extra: the others do without it
    except ImportError as error:
        why = "the package obstore is not installed"
        raise FetchError(uri.shown, why, "install it: pip install 'slipway[fetch]'") from error
    return ObjectSource(uri, tools.environment)


async def _fetch(job: Job, delivery: Delivery, cache: Cache | None) -> None:
    """Plans, and delivers what was planned; an object that changes meanwhile is planned again."""
    for _ in range(CHANGES):
        plan = await delivery.retry.call(delivery.source.plan)
        if plan.one and is_archive(plan.files[0].name):
            plan = replace(plan, unpack=True)
        try:
            await _deliver(job, plan, delivery, cache)
        except Changed:
            delivery.meter.note("the model changed at its source while it was fetched: starting over")
        else:
            return
    why = f"it changed {CHANGES} times while it was fetched, or its server tells sizes that are not true"
    raise FetchError(delivery.uri, why, "try again when nobody writes to it")


async def _deliver(job: Job, plan: Plan, delivery: Delivery, cache: Cache | None) -> None:
    key = plan.key(delivery.uri, job.checksum)
    work = job.directory / WORK
    with delivery.writing(job.directory):
        work.mkdir(parents=True, exist_ok=True)
        for left in work.iterdir():
            if left.name != key:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    if cache and _usable(cache, plan, job):
        await _through(cache, key, plan, job, delivery)
    else:
        await delivery.fill(plan, work / key)
        await delivery.put(work / key / FILES, job.directory, move=True)
    shutil.rmtree(work)
    delivery.meter.note(f"the model is in {job.directory}")


async def _through(cache: Cache, key: str, plan: Plan, job: Job, delivery: Delivery) -> None:
    async def fill(place: Path) -> None:
        await asyncio.to_thread(cache.make_room, plan.size * (2 if plan.unpack else 1), key)
        await delivery.fill(plan, place)

    with delivery.writing(cache.directory):
        async with cache.model(key, fill) as files:
            await delivery.put(files, job.directory, move=False)


def _usable(cache: Cache, plan: Plan, job: Job) -> bool:
    """Whether this model goes through the cache. A cache that cannot be used costs time, not the model."""
    try:
        cache.directory.mkdir(parents=True, exist_ok=True)
        probe = cache.directory / WORK
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        cache.meter.note(f"the cache {cache.directory} cannot be written ({error.strerror}): fetching without it")
        return False
    if cache.limit is not None and plan.size > cache.limit:
        cache.meter.note(f"{human(plan.size)} are more than the cache may hold: fetching without it")
        return False
    if not plan.versioned and not job.checksum:
        cache.meter.note("its server tells no ETag, so that a change would go unseen: fetching without the cache")
        return False
    return True
