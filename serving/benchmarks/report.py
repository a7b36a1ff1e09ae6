"""Figures as tables for people, and as a file with their provenance."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bounds import bounds
from figures import Figures, Spread

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).parent / "results" / "peers.json"


def show(figures: Figures) -> None:
    """Prints everything: cases, starts, installs, failures, and the bounds last."""
    for case, found in figures.runs.items():
        rows = [_run_row(figures, case, name) for name in found]
        _table(case, ("", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", ""), rows)
    for setup, found in figures.starts.items():
        rows = [_start_row(figures, setup, name) for name in found]
        _table(f"start and memory, {setup}", ("", "first prediction s", "all five s", "PSS MiB", "processes"), rows)
    keys = ("bare_mib", "bare_distributions", "whole_mib", "whole_distributions")
    rows = [(name, *(str(found[key]) for key in keys)) for name, found in figures.installed.items()]
    _table("installed", ("", "bare MiB", "distributions", "with model libraries", "distributions"), rows)
    found = [(each.text, *_bound_row(each.document())) for each in bounds(figures)]
    _table("bounds", ("", "wanted", "is", "", ""), found)
    for failure in figures.failures:
        print(f"\nFAILED {failure}")


def _bound_row(document: dict[str, Any]) -> tuple[str, str, str, str]:
    value = "" if document["value"] is None else f"{document['value']:g}"
    return document["wanted"], value, document["verdict"], document["detail"]


def _run_row(figures: Figures, case: str, name: str) -> tuple[str, ...]:
    columns = [_text(figures.spread(case, name, figure)) for figure in ("rps", "p50_ms", "p99_ms", "cpu_us")]
    notes = ["disturbed"] if figures.is_disturbed(case, name) else []
    if figures.median(case, name, "generator_share") > 0.9:  # noqa: PLR2004  # of its core
        notes.append("the load generator was the limit")
    return (name, *columns, ", ".join(notes))


def _start_row(figures: Figures, setup: str, name: str) -> tuple[str, ...]:
    keys = ("start_s", "all_models_s", "pss_mib", "processes")
    return (name, *(_text(figures.of_start(name, setup, key)) for key in keys))


def _text(spread: Spread | None) -> str:
    if spread is None:
        return ""
    if spread.least == spread.most:
        return f"{spread.median:.4g}"
    return f"{_number(spread.median)} ({_number(spread.least)} to {_number(spread.most)})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"  # noqa: PLR2004  # more digits would be noise


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    print(f"\n{title}")
    for line in lines:
        print("  " + "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def keep(figures: Figures, path: Path | None) -> None:
    """Writes the result file."""
    sys.path.append(str(ROOT / "benchmarks"))
    from provenance import provenance  # noqa: PLC0415  # of the repository's other benchmarks

    target = path or RESULT
    target.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "bounds": [each.document() for each in bounds(figures)],
        "figures": figures.document(),
        "provenance": provenance() | {"load_generators": _generators()},
    }
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", _on_one_line, json.dumps(document, indent=2, ensure_ascii=False))
    target.write_text(text + "\n", encoding="utf-8")
    print(f"\nwritten to {target}")


def _on_one_line(match: re.Match[str]) -> str:
    return "[" + re.sub(r",\s+", ", ", match[1]) + "]"


def _generators() -> list[str]:
    """Versions. wrk says its own only beside an error."""
    printed = [
        subprocess.run([*command], capture_output=True, text=True, check=False).stdout.splitlines()[0]
        for command in (("wrk", "--version"), ("h2load", "--version"))
    ]
    return [" ".join(line.split()[:3]) for line in printed]
