"""`slipway logs`."""

from __future__ import annotations

from typing import Annotated

import typer

from slipway.cli import output
from slipway.cli.options import ContextName, KubeconfigFile, Name, Namespace
from slipway.cli.session import connected, run
from slipway.cli.terminal import say
from slipway.client.connection import Snapshot
from slipway.client.logs import LogQuery, follow, logs
from slipway.client.target import Target, Where, resolve
from slipway.client.wait import sentence
from slipway.views.modelservice import next_step
from slipway.views.pods import has_run

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def show(
    name: Name,
    *,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Show what comes, too, until Ctrl-C.")] = False,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Only of containers before their restart.")
    ] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=1, help="The last lines of each replica.")] = None,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """Show the logs of all replicas, across restarts: the last words of a crashed container come first."""
    query = LogQuery(previous=previous, tail=tail)
    run(_show(resolve(Where(context, kubeconfig, namespace)), name, query, following=following and not previous))


async def _show(target: Target, name: str, query: LogQuery, *, following: bool) -> None:
    shown = False
    async with connected(target) as client:
        await client.get(name)
        async for line in (follow if following else logs)(client, name, query):
            shown = True
            output.line(f"{line.pod}{' (previous)' if line.previous else ''}: {output.plain(line.text)}")
            output.flush()
        if not shown:
            snapshot = Snapshot(await client.get(name), await client.pods(name), [])
            for text in _why_none(snapshot, name, query):
                say(text)


def _why_none(snapshot: Snapshot, name: str, query: LogQuery) -> list[str]:
    if not any(map(has_run, snapshot.pods)):
        reason = f"{name} has no logs, as no container of it has run: {sentence(snapshot)}."
        return [output.plain(reason), f"Next: {next_step(snapshot.service, snapshot.pods)}"]
    if query.previous:
        return [f"{name} has no logs of earlier containers. Those of the present ones: slipway logs {name}"]
    return [f"{name} has written nothing that can be read. What comes from now on: slipway logs {name} -f"]
