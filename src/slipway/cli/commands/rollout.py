"""`slipway rollout …`: revisions of a model service."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from slipway.cli import output
from slipway.cli.listing import table
from slipway.cli.options import (
    ContextName,
    DryRun,
    Force,
    Format,
    KubeconfigFile,
    Name,
    NamelessOutput,
    Namespace,
    Output,
    Timeout,
    Wait,
    Watch,
)
from slipway.cli.session import announce, connected, run
from slipway.cli.terminal import progress, reporter, say
from slipway.cli.writing import How, finish, seconds, show, warn
from slipway.client import rollout
from slipway.client.connection import Snapshot
from slipway.client.rollout import History
from slipway.client.target import Target, Where, resolve
from slipway.client.wait import sentence, wait_ready
from slipway.kit.objects import Manifest
from slipway.views import revisions as views
from slipway.views.ages import age
from slipway.views.revisions import Revision

app = typer.Typer(
    help="Revisions of a model service.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)
RevisionNumber = Annotated[int | None, typer.Option(min=1, help="Its number. Default: the one before.")]


@app.command()
def status(
    name: Name,
    *,
    watching: Watch = False,
    timeout: Timeout = "10m",
    patience: Annotated[
        str,
        typer.Option("--patience", help="How long it may wait for something, such as room: then it is paused."),
    ] = "1m",
    out: Output,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """Follow a rollout until it is complete.

    Exit code 1 when it has failed, 6 when it waits for something, such as room on a node, 3 when the time is up.
    """
    target = resolve(Where(context, kubeconfig, namespace))
    if watching:
        run(_watch(target, name, out))
    else:
        limits = seconds(timeout), seconds(patience, "--patience")
        show(run(_follow(target, name, *limits)), out)


@app.command()
def history(
    name: Name,
    *,
    out: Output,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """List the revisions that are kept, and what changed with each."""
    past = run(_history(resolve(Where(context, kubeconfig, namespace)), name))
    if out is Format.NAME:
        for revision in past.revisions:
            output.line(f"controllerrevision/{name}-{revision.hash}")
    elif out.structured:
        items = [views.document(one, past.before(one), current=one == past.current) for one in past.revisions]
        output.document({"apiVersion": output.API_VERSION, "kind": "RevisionList", "items": items}, out)
    elif past.revisions:
        _table(past, wide=out is Format.WIDE)
    else:
        say(f"{name} has no revision yet. See why: slipway describe {name}")


@app.command()
def diff(
    name: Name,
    *,
    revision: RevisionNumber = None,
    out: NamelessOutput,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """Show what the current revision has otherwise than another one."""
    past = run(_history(resolve(Where(context, kubeconfig, namespace)), name))
    old = past.number(revision)
    new = past.current or old
    found = views.changes(old, new)
    if out.structured:
        items = [{"path": change.path, "old": change.old, "new": change.new} for change in found]
        document = {"apiVersion": output.API_VERSION, "kind": "RevisionDiff", "from": old.number, "to": new.number}
        output.document(document | {"changes": items}, out)
    elif found:
        output.line(f"--- {name} revision {old.number}\n+++ {name} revision {new.number} (current)")
        for change in found:
            _change(change)
    else:
        say(f"Revisions {old.number} and {new.number} of {name} are the same.")


@app.command()
def undo(
    name: Name,
    *,
    revision: Annotated[
        int | None, typer.Option("--to-revision", min=1, help="Its number. Default: the one before.")
    ] = None,
    wait: Wait = True,
    timeout: Timeout = "5m",
    dry_run: DryRun = False,
    force: Force = False,
    out: Output,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """Go back to an earlier revision: its model and its server are written back. Replicas and routes stay."""
    how = How(seconds(timeout) if wait else None, dry_run, force)
    show(run(_undo(resolve(Where(context, kubeconfig, namespace)), name, revision, how)), out)


@app.command()
def restart(
    name: Name,
    *,
    wait: Wait = True,
    timeout: Timeout = "5m",
    dry_run: DryRun = False,
    out: Output,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """Replace all pods, a few at a time, while the others serve."""
    how = How(seconds(timeout) if wait else None, dry_run)
    show(run(_restart(resolve(Where(context, kubeconfig, namespace)), name, how)), out)


async def _follow(target: Target, name: str, limit: float, patience: float) -> Manifest:
    async with connected(target) as client:
        await client.get(name)
        with progress().step(f"Following the rollout of {name}") as step:
            service = await wait_ready(client, name, limit, reporter(step), patience=patience)
    say(f"The rollout of {name} is complete: revision {service.get('status', {}).get('revision', '')}.")
    return service


async def _watch(target: Target, name: str, out: Format) -> None:
    from slipway.cli import watching  # noqa: PLC0415  # only -w needs it

    def frame(snapshot: Snapshot) -> watching.Frame:
        said, service = f"{name}: {sentence(snapshot)}", snapshot.service

        def draw() -> None:
            table([service], wide=True)
            output.line(said)

        return watching.Frame(draw, {name: said}, {f"modelservice/{name}": output.without_managers(service)})

    async with connected(target) as client:
        await watching.show(lambda: client.watch(name), frame, out)


async def _history(target: Target, name: str) -> History:
    async with connected(target) as client:
        return await rollout.history(client, name)


async def _undo(target: Target, name: str, revision: int | None, how: How) -> Manifest:
    async with connected(target) as client:
        past = await rollout.history(client, name)
        goal = past.number(revision)
        announce(target, f"Going back to revision {goal.number} of", name)
        warn(past.service)
        applied = await rollout.undo(client, past, goal, force=how.force, dry_run=how.dry_run)
        return await finish(client, applied, how, beyond=past.current.hash if past.current else "")


async def _restart(target: Target, name: str, how: How) -> Manifest:
    announce(target, "Restarting", name)
    async with connected(target) as client:
        existing = await client.get(name)
        applied = await rollout.restart(client, existing, dry_run=how.dry_run)
        return await finish(client, applied, how, beyond=existing.get("status", {}).get("revision", ""))


def _table(past: History, *, wide: bool) -> None:
    now = datetime.now(UTC)
    headers = ["REVISION", "HASH", "AGE", "MODEL", "IMAGE", *(["DIGEST"] if wide else []), "CHANGE"]
    output.table(headers, [_row(past, one, now, wide=wide) for one in past.revisions])


def _row(past: History, revision: Revision, now: datetime, *, wide: bool) -> list[str]:
    number = f"{revision.number} (current)" if revision == past.current else str(revision.number)
    cells = [number, revision.hash, age(revision.created, now), revision.uri, revision.image or "default"]
    return [*cells, *([revision.digest] if wide else []), views.summary(past.before(revision), revision)]


def _change(change: views.Change) -> None:
    output.line(f"  {output.plain(change.path)}")
    for sign, value in (("-", change.old), ("+", change.new)):
        if value is not None:
            output.line(f"{sign}   {_plain(value)}")


def _plain(value: Any) -> str:
    return output.plain(value if isinstance(value, str) else repr(value))
