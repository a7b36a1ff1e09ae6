"""`slipway describe`."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from slipway.cli import output
from slipway.cli.options import ContextName, Format, KubeconfigFile, Name, Namespace, Output, Watch
from slipway.cli.session import connected, run
from slipway.client.connection import Snapshot
from slipway.client.target import Target, Where, resolve
from slipway.client.wait import sentence
from slipway.views import modelservice

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def show(
    name: Name,
    *,
    watching: Watch = False,
    out: Output,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """Show one model service: conditions, pods with their reasons, events, and what to do next."""
    target = resolve(Where(context, kubeconfig, namespace))
    if watching:
        run(_watch(target, name, out))
        return
    snapshot = run(_read(target, name))
    if out is Format.NAME:
        output.line(f"modelservice/{name}")
    elif out.structured:
        output.document(_document(snapshot), out)
    else:
        _print(snapshot)


async def _read(target: Target, name: str) -> Snapshot:
    async with connected(target) as client:
        return await client.snapshot(name)


async def _watch(target: Target, name: str, out: Format) -> None:
    from slipway.cli import watching  # noqa: PLC0415  # only -w needs it

    def frame(snapshot: Snapshot) -> watching.Frame:
        said, document = f"{name}: {sentence(snapshot)}", _document(snapshot)
        return watching.Frame(lambda: _print(snapshot), {name: said}, {f"modelservice/{name}": document})

    async with connected(target) as client:
        await watching.show(lambda: client.watch(name), frame, out)


def _document(snapshot: Snapshot) -> dict[str, object]:
    return output.object_list("v1", "List", [snapshot.service, *snapshot.pods, *snapshot.events])


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
    output.line(f"Next: {modelservice.next_step(snapshot.service, snapshot.pods)}")
