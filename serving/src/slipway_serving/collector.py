"""The interpreter's collector of cycles (https://docs.python.org/3/library/gc.html) while a process starts."""

from __future__ import annotations

import gc

_RARELY = 100_000
_USUAL = gc.get_threshold()


def collect_rarely() -> None:
    """Until `keep_loaded`. What is imported stays: looking for rubbish in it time and again is a tenth of a start."""
    gc.set_threshold(_RARELY, *_USUAL[1:])


def keep_loaded() -> None:
    """What is there now lives as long as the process: it is never looked at again. New objects are, as usual."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_USUAL)
