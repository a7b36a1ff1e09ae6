"""Watch mode: what a command shows, again and again as it changes.

On a terminal it is redrawn in place; elsewhere each change is a line, and each half minute everything is said again;
for programs each change is a document (`-o json`: one a line). It ends with Ctrl-C, or with what it watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import shutil
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from slipway.cli import output
from slipway.cli.options import Format
from slipway.cli.terminal import REDRAWS_PER_SECOND, redrawable, say
from slipway.client.errors import UnreachableError
from slipway.client.wait import REPEAT, resumed

T = TypeVar("T")
_VISIBLE = re.compile(r"\x1b\[[0-9;]*m|.")


@dataclass(frozen=True, slots=True)
class Frame:
    """What is to be seen at one time.

    `draw` prints it for a person; `facts` are the sentences that a log gets when they change; `documents` is the same
    for programs. Both by a name that stays.
    """

    draw: Callable[[], None]
    facts: Mapping[str, str]
    documents: Mapping[str, Mapping[str, Any]]


def steady(watch: Callable[[], AsyncGenerator[T]]) -> AsyncGenerator[T]:
    """A watch that outlives a lost connection once it has begun, and says so."""
    begun = False

    async def noted() -> AsyncGenerator[T]:
        nonlocal begun
        async with aclosing(watch()) as found:
            async for item in found:
                begun = True
                yield item

    def lost(error: UnreachableError) -> None:
        if not begun:
            raise error
        say(f"{error.message} Still watching.")

    return resumed(noted, lost)


async def show(watch: Callable[[], AsyncGenerator[T]], frame: Callable[[T], Frame], out: Format) -> None:
    """Shows the frame of each thing that a watch gives, as `out` says, until there is no more."""
    shown = _Documents(out) if out.structured or out is Format.NAME else _Screen() if redrawable() else _Log()
    async with aclosing(steady(watch)) as found:
        async for item in found:
            shown.take(frame(item))
            await asyncio.sleep(1 / REDRAWS_PER_SECOND)  # what changes meanwhile is in the next frame


@dataclass(slots=True)
class _Log:
    """Sentences that have changed, and all of them each half minute."""

    seen: dict[str, str] = field(default_factory=dict)
    told: float = 0.0

    def take(self, frame: Frame) -> None:
        now = asyncio.get_running_loop().time()
        again = now - self.told >= REPEAT
        for name, fact in frame.facts.items():
            if again or self.seen.get(name) != fact:
                output.line(output.plain(fact))
        for name in self.seen.keys() - frame.facts.keys():
            output.line(f"{name} is gone")
        self.seen = dict(frame.facts)
        self.told = now if again else self.told
        output.flush()


@dataclass(slots=True)
class _Documents:
    """What has changed, each as a document that says how."""

    out: Format
    seen: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def take(self, frame: Frame) -> None:
        for name, document in frame.documents.items():
            if name not in self.seen:
                self._print("ADDED", name, document)
            elif self.seen[name] != document:
                self._print("MODIFIED", name, document)
        for name in [name for name in self.seen if name not in frame.documents]:
            self._print("DELETED", name, self.seen[name])
        self.seen = dict(frame.documents)
        output.flush()

    def _print(self, kind: str, name: str, document: Mapping[str, Any]) -> None:
        event = {"apiVersion": output.API_VERSION, "kind": "WatchEvent", "type": kind, "object": document}
        if self.out is Format.NAME:
            output.line(name)
        elif self.out is Format.YAML:
            output.line("---")
            output.document(event, self.out)
        else:
            output.line(json.dumps(event, ensure_ascii=False))


class _Page(io.StringIO):
    """Printed text, coloured as on a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass(slots=True)
class _Screen:
    """Everything, in the place where it was before."""

    height: int = 0

    def take(self, frame: Frame) -> None:
        page = _Page()
        with contextlib.redirect_stdout(page):
            frame.draw()
        size = shutil.get_terminal_size()
        lines = fit(page.getvalue().splitlines(), size.columns, size.lines - 1)
        sys.stdout.write(redraw(lines, self.height))
        sys.stdout.flush()
        self.height = len(lines)


def redraw(lines: list[str], before: int) -> str:
    """What to write so that these lines stand where `before` lines were."""
    up = f"\x1b[{before}A" if before else ""
    return up + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[J"


def fit(lines: list[str], columns: int, rows: int) -> list[str]:
    """Lines that do not wrap and do not scroll: cut at the right, and at the end with what is left out."""
    cut = [_crop(line, columns) for line in lines]
    if len(cut) <= rows:
        return cut
    return [*cut[: rows - 1], f"… {len(cut) - rows + 1} more lines"[:columns]]


def _crop(line: str, columns: int) -> str:
    """The first columns of a line; escape sequences take no column, and all of them are kept."""
    kept, room = [], columns
    for part in _VISIBLE.findall(line):
        if part.startswith("\x1b"):
            kept.append(part)
        elif room > 0:
            kept.append(part)
            room -= 1
    return "".join(kept)
