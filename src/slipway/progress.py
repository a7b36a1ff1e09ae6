"""How long work tells a person what it is doing: one line a step on standard error, with what it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO


class Step(Protocol):
    """A piece of work under way."""

    def detail(self, text: str) -> None:
        """Says what the step is at; shown in place, or not at all where nothing can be redrawn."""


class Progress(Protocol):
    """Where long work reports to. Steps may not nest."""

    def step(self, text: str) -> AbstractContextManager[Step]:
        """Shows `text` while the block runs, then what it took."""

    def note(self, text: str) -> None:
        """Says one thing that a person should know."""


DETAIL_EVERY = 30.0


class _LineStep:
    """A log cannot be redrawn: of the details one is shown each half minute, so that long work is seen to go on."""

    def __init__(self, show: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._show, self._clock = show, clock
        self._shown = clock()

    def detail(self, text: str) -> None:
        if text and self._clock() - self._shown >= DETAIL_EVERY:
            self._shown = self._clock()
            self._show(f"  … {text}")


class LineProgress:
    """Progress as lines, for logs, pipes and scripts."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        started = self._clock()
        self.note(f"{text} …")
        yield _LineStep(self.note, self._clock)
        self.note(f"{text}: {self._clock() - started:.1f} s")

    def note(self, text: str) -> None:
        print(f"  {text}", file=self._stream, flush=True)
