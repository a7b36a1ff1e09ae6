"""Small files that decide something while the server runs, such as keys: read again when they change."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from slipway_serving.errors import ModelLoadError

log = logging.getLogger("slipway_serving")
T = TypeVar("T")
_LOOK_SECONDS = 1.0
_MAX_BYTES = 1 << 20


class FollowedFile(Generic[T]):
    """What a file says now.

    It is looked at once a second at most, through symbolic links: Kubernetes changes a mounted Secret by changing one.
    A file that is gone or wrong changes nothing, and the log says so: what it said before stays in force.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T], now: Callable[[], float] = time.monotonic) -> None:
        """Raises ModelLoadError where the file cannot be read, or `parse` raises ValueError."""
        self._path = path
        self._parse = parse
        self._now = now
        try:
            self._stamp = self._look()
            self._value = parse(_read(path))
        except OSError as error:
            raise ModelLoadError(f"{path} cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise ModelLoadError(f"{path}: {error}") from None
        self._next_look = now() + _LOOK_SECONDS

    def get(self) -> T:
        now = self._now()
        if now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            self._refresh()
        return self._value

    def _refresh(self) -> None:
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._value = self._parse(_read(self._path))
        except (OSError, ValueError) as error:
            log.warning("%s has changed and cannot be used, what it said before stays in force: %s", self._path, error)
        else:
            log.info("%s has changed and was read again", self._path)

    def _look(self) -> tuple[int, ...]:
        status = os.stat(self._path)  # noqa: PTH116  # half the price of Path.stat, and requests pay it
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValueError(f"the file is larger than {_MAX_BYTES} bytes")
    return data
