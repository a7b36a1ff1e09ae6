"""Standard output: tables for people, JSON and YAML for programs, names for pipes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.cli.options import Format
from slipway.cli.terminal import asked_plain

API_VERSION = "cli.slipway.dev/v1"
"""Of the documents that are no Kubernetes objects. Fields are added; none is removed or changes its meaning."""
_STYLES = {"Ready": "green", "Running": "green", "True": "green", "False": "red", "Failed": "red"}


def coloured() -> bool:
    """Colour only on a terminal, and never with `--plain` or `NO_COLOR` (no-color.org)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and not asked_plain()
    return sys.stdout.isatty() and wanted


def document(data: Any, chosen: Format) -> None:
    """Prints one document as JSON or YAML."""
    if chosen is Format.YAML:
        import yaml  # noqa: PLC0415  # a tenth of a second that not every command needs

        sys.stdout.write(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120))
    else:
        sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def line(text: str) -> None:
    """Prints one line of data."""
    sys.stdout.write(text + "\n")


def object_list(api_version: str, kind: str, items: list[Any]) -> dict[str, Any]:
    """Kubernetes objects as a list object."""
    return {"apiVersion": api_version, "kind": kind, "items": [without_managers(item) for item in items]}


def without_managers(item: dict[str, Any]) -> dict[str, Any]:
    """An object without the bookkeeping of field managers."""
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    return item | {"metadata": metadata}


def flush() -> None:
    """Shows now what was printed: for output that goes on."""
    sys.stdout.flush()


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], indent: int = 0) -> None:
    """Prints aligned columns, two blanks apart, as kubectl does; the last is not padded."""
    lines = [tuple(headers), *[tuple(plain(cell) for cell in row) for row in rows]]
    widths = [max(len(line[index]) for line in lines) for index in range(len(headers))]
    for row in lines:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        line(" " * indent + "  ".join([*map(_painted, padded), _painted(row[-1])]).rstrip())


def pairs(values: Mapping[str, str], indent: int = 0) -> None:
    """Prints names and values, one pair a line."""
    width = max(map(len, values), default=0) + 2
    for name, value in values.items():
        line(" " * indent + f"{name + ':':<{width}} {plain(value)}".rstrip())


def plain(text: str) -> str:
    """One line without control characters: what a cluster says must not move the cursor."""
    return "".join(char if char.isprintable() else " " for char in text)


_CODES = {"green": "32", "red": "31"}


def _painted(cell: str) -> str:
    style = _STYLES.get(cell.strip())
    return f"\x1b[{_CODES[style]}m{cell}\x1b[0m" if style and coloured() else cell
