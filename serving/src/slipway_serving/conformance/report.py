"""What a run found: as a table for people, as JSON for programs, and in one sentence."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from slipway_serving.conformance.checks import Level, Outcome, Result

_MARKS = {Outcome.PASS: "pass", Outcome.FAIL: "FAIL", Outcome.NOT_SUPPORTED: "not supported", Outcome.NOT_TESTED: "-"}
_HEADERS = ("CHECK", "LEVEL", "RESULT", "THE SPECIFICATION SAYS", "SEEN")
_FIXED = (30, 10, 14)
_NARROWEST = 40


class Table:
    """Rows as wide as a terminal; a cell that is too long goes on below."""

    def __init__(self, width: int) -> None:
        rest = max(width - sum(_FIXED) - len(_FIXED) - 2, _NARROWEST)
        self._widths = (*_FIXED, rest * 11 // 20, rest - rest * 11 // 20)
        self._group = ""

    def header(self) -> str:
        return self._row(_HEADERS)

    def row(self, result: Result) -> str:
        """A row, after an empty line where a group begins."""
        check = result.check
        says = f"{check.says} [{check.section}]"
        row = self._row((check.id, check.level, _MARKS[result.outcome], says, printable(result.seen)))
        start = "\n" if check.group != self._group else ""
        self._group = check.group
        return start + row

    def _row(self, cells: Sequence[str]) -> str:
        columns = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, self._widths, strict=True)]
        height = max(len(column) for column in columns)
        lines = (
            " ".join(
                (column[line] if line < len(column) else "").ljust(width)
                for column, width in zip(columns, self._widths, strict=True)
            ).rstrip()
            for line in range(height)
        )
        return "\n".join(lines)


def printable(text: str) -> str:
    """What a server sent, without characters that a terminal would act on."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def counts(results: Iterable[Result]) -> dict[Level, Counter[Outcome]]:
    """How many checks of each level had each outcome."""
    found: dict[Level, Counter[Outcome]] = {level: Counter() for level in Level}
    for result in results:
        found[result.check.level][result.outcome] += 1
    return found


def is_conformant(results: Iterable[Result]) -> bool:
    """Whether no required check failed."""
    return not any(result.outcome is Outcome.FAIL and result.check.level is Level.REQUIRED for result in results)


def summary(results: Sequence[Result]) -> str:
    """What was found, in a sentence a level."""
    lines = []
    for level, found in counts(results).items():
        judged = found[Outcome.PASS] + found[Outcome.FAIL]
        rest = [f"{found[each]} {each}" for each in (Outcome.NOT_SUPPORTED, Outcome.NOT_TESTED) if found[each]]
        lines.append(f"{level}: {found[Outcome.PASS]} of {judged} pass{''.join(f', {part}' for part in rest)}")
    verdict = "Every required check that could be made passes." if is_conformant(results) else "Required checks fail."
    return "\n".join([*lines, verdict])


def document(results: Iterable[Result], **about: str) -> dict[str, Any]:
    """All results as a JSON document, with what is known of the run."""
    checks = [
        {
            "id": result.check.id,
            "group": result.check.group,
            "level": str(result.check.level),
            "says": result.check.says,
            "section": result.check.section,
            "result": str(result.outcome),
            "seen": result.seen,
        }
        for result in results
    ]
    return {**about, "checks": checks}
