"""Model services as the lines of a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from slipway.cli import output
from slipway.kit.objects import Manifest
from slipway.views.modelservice import row, why


def table(found: Sequence[Manifest], *, wide: bool = False, namespaces: bool = False) -> None:
    """Prints one line a service."""
    output.table(*cells(found, wide=wide, namespaces=namespaces))


def cells(
    found: Sequence[Manifest], *, wide: bool = False, namespaces: bool = False
) -> tuple[list[str], list[list[str]]]:
    """The headers, and the cells of each service."""
    now = datetime.now(UTC)
    headers = ["NAME", "READY", "REASON", "REPLICAS", "URL", "AGE", *(["REVISION", "WHY"] if wide else [])]
    rows = []
    for item in found:
        view = row(item, now=now)
        line = [view.name, view.ready, view.reason, view.replicas, view.url, view.age]
        line += [view.revision, why(item)] if wide else []
        rows.append([view.namespace, *line] if namespaces else line)
    return (["NAMESPACE", *headers] if namespaces else headers), rows
