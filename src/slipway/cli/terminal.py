"""What a person sees while something takes time: redrawn in place on a terminal, lines elsewhere; on standard error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slipway.progress import LineProgress, Progress, Step

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

REDRAWS_PER_SECOND = 4


def progress() -> Progress:
    """The progress that suits standard error."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or asked_plain():
        return LineProgress()
    from rich.console import Console  # noqa: PLC0415  # only a terminal needs it

    return TerminalProgress(Console(stderr=True, highlight=False))  # NO_COLOR is read by rich


def asked_plain() -> bool:
    """Whether `--plain` asks for lines alone: nothing coloured and nothing redrawn, as screen readers need it."""
    from typer._click.globals import get_current_context  # noqa: PLC0415  # Typer does not hand it on

    context = get_current_context(silent=True)
    return bool(context and context.find_root().params.get("_plain"))


def redrawable() -> bool:
    """Whether standard output is a terminal on which what was printed may be printed over."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not asked_plain()


def say(text: str) -> None:
    """One line for a person, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def reporter(step: Step) -> Callable[[str], None]:
    """How to say what a step is at: in place on a terminal, else as lines, because a long step must not be silent."""
    return step.detail if sys.stderr.isatty() and not asked_plain() else lambda text: say(f"    {text}")


class TerminalProgress:
    """One line a step, with a spinner and what the step is at while it runs, then with what it took."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """Shows `text` while the block runs, then what it took; a failed step keeps its line, marked."""
        started = time.monotonic()
        with self._console.status(_plain(text), refresh_per_second=REDRAWS_PER_SECOND) as status:
            try:
                yield _TerminalStep(status, text, started)
            except BaseException:
                self._line("red", "✗", text, started)
                raise
        self._line("green", "✓", text, started)

    def note(self, text: str) -> None:
        """Says one thing that a person should know."""
        self._console.print(f"  {text}", markup=False)

    def _line(self, colour: str, sign: str, text: str, started: float) -> None:
        took = time.monotonic() - started
        self._console.print(f"[{colour}]{sign}[/] {_plain(text)} [dim]{took:.1f} s[/]")


class _TerminalStep:
    def __init__(self, status: Status, text: str, started: float) -> None:
        self._status = status
        self._text = text
        self._started = started

    def detail(self, text: str) -> None:
        self._status.update(f"{_plain(self._text)} [dim]{_plain(text)}[/]")


def _plain(text: str) -> str:
    """The text without a meaning for rich's markup."""
    from rich.markup import escape  # noqa: PLC0415  # only a terminal needs it

    return escape(text)
