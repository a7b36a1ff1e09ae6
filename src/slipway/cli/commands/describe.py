"""`slipway describe`."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from slipway.cli import output
from slipway.cli.options import ContextName, Format, KubeconfigFile, Name, Namespace, Output
from slipway.cli.session import connected, run
from slipway.cli.target import Target, Where, resolve
from slipway.client.client import Snapshot
from slipway.views import modelservice

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def show(
    name: Name,
    *,
    out: Output = Format.TABLE,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """Show one model service: conditions, pods with their reasons, events, and what to do next."""
    snapshot = run(_read(resolve(Where(context, kubeconfig, namespace)), name))
    if out is Format.NAME:
        output.line(f"modelservice/{name}")
    elif out in {Format.JSON, Format.YAML}:
        items = [snapshot.service, *snapshot.pods, *snapshot.events]
        output.document(output.object_list("v1", "List", items), out)
    else:
        _print(snapshot)


async def _read(target: Target, name: str) -> Snapshot:
    async with connected(target) as client:
        return await client.snapshot(name)


def _print(snapshot: Snapshot) -> None:
    sections = modelservice.describe(
        snapshot.service, children=[], pods=snapshot.pods, events=snapshot.events, now=datetime.now(UTC)
    )
    for section in sections:
        output.line(f"{section.title}")
        if section.header:
            output.table(section.header, section.rows, indent=2)
        else:
            output.pairs({row[0]: row[1] for row in section.rows}, indent=2)
    output.line(f"Next: {_next(snapshot)}")


def _next(snapshot: Snapshot) -> str:
    """The command that is most likely wanted now."""
    name = snapshot.service["metadata"]["name"]
    match modelservice.outcome(snapshot.service):
        case "ready":
            return f"slipway predict {name}"
        case "failed":
            return f"slipway logs {name}"
        case _:
            return f"slipway describe {name} again: it is still at work" if snapshot.pods else "slipway status"
