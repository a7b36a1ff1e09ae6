"""How long work tells a person what it is doing: one line a step on standard error, with what it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
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


class _LineStep:
    def detail(self, text: str) -> None:
        """A log cannot be redrawn: details are dropped."""


class LineProgress:
    """Progress as lines, for logs, pipes and scripts."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        started = time.monotonic()
        print(f"  {text} …", file=self._stream, flush=True)
        yield _LineStep()
        print(f"  {text}: {time.monotonic() - started:.1f} s", file=self._stream, flush=True)

    def note(self, text: str) -> None:
        print(f"  {text}", file=self._stream, flush=True)
