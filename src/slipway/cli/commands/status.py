"""`slipway status`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import typer

from slipway.cli import output
from slipway.cli.commands import cluster as local
from slipway.cli.commands.list import facts as service_facts
from slipway.cli.listing import table
from slipway.cli.options import ContextName, Format, KubeconfigFile, NamelessOutput, Watch
from slipway.cli.session import connected, run
from slipway.client.platform import PlatformState, platform_state
from slipway.client.target import Target, Where, resolve
from slipway.cluster import lifecycle

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def status(
    *,
    watching: Watch = False,
    out: NamelessOutput,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Show the cluster's components, the platform and the model services, and what is wrong.

    Exit code 1 when a component of the cluster or of the platform is not healthy.
    """
    target = resolve(Where(context, kubeconfig))
    facts = _cluster(target)
    if watching and (facts is None or facts.running):
        run(_watch(target, out))
        return
    state = None if facts and not facts.running else run(_read(target))
    if out.structured:
        output.document(_document(target, facts, state), out)
    else:
        _print(target, facts, state)
    if not _healthy(facts, state):
        raise typer.Exit(1)


def _cluster(target: Target) -> lifecycle.ClusterStatus | None:
    return lifecycle.status(target.cluster) if target.cluster else None


async def _watch(target: Target, out: Format) -> None:
    from slipway.cli import watching  # noqa: PLC0415  # only -w needs it

    def frame(found: tuple[lifecycle.ClusterStatus | None, PlatformState]) -> watching.Frame:
        document = {target.context: _document(target, *found)}
        return watching.Frame(lambda: _print(target, *found), _facts(*found), document)

    async with connected(target) as client:

        async def states() -> AsyncGenerator[tuple[lifecycle.ClusterStatus | None, PlatformState]]:
            async with aclosing(client.watch_all(all_namespaces=True)) as turns:
                async for _ in turns:
                    yield await asyncio.to_thread(_cluster, target), await platform_state(client)

        await watching.show(states, frame, out)


def _facts(facts: lifecycle.ClusterStatus | None, state: PlatformState) -> dict[str, str]:
    """A line for each component, part and service."""
    lines = {
        f"{node.name}/{component['name']}": f"{node.name}  {component['name']}  {component['state']}"
        for node in (facts.nodes if facts else ())
        for component in node.components
    }
    for part in state.parts:
        lines[part.name] = f"{part.namespace}  {part.name}  {part.ready}/{part.wanted} ready  {part.why}".rstrip()
    return lines | service_facts(list(state.services), wide=True, namespaces=True)


async def _read(target: Target) -> PlatformState:
    async with connected(target) as client:
        return await platform_state(client)


def _healthy(facts: lifecycle.ClusterStatus | None, state: PlatformState | None) -> bool:
    cluster = facts is None or local.healthy(facts)
    return (
        cluster
        and state is not None
        and state.installed
        and state.operated
        and all(part.healthy for part in state.parts)
    )


def _print(target: Target, facts: lifecycle.ClusterStatus | None, state: PlatformState | None) -> None:
    output.line(f"Cluster {target.context} at {target.server}")
    if facts:
        local.show(facts)
    if state is None:
        output.line(f"\nThe cluster is stopped. Start it: slipway cluster start {target.cluster}")
        return
    output.line("\nPlatform")
    if not state.installed:
        output.line("Not installed. Install it: slipway up")
    elif not state.operated:
        output.line("The operator is not there: nothing becomes of model services. Install it: slipway up")
    if state.parts:
        output.table(
            ["PART", "NAMESPACE", "READY", "VERSION", "WHY"],
            [
                [part.name, part.namespace, f"{part.ready}/{part.wanted}", part.version, part.why]
                for part in state.parts
            ],
        )
    if state.services:
        output.line("\nModel services")
        table(list(state.services), wide=True, namespaces=True)


def _document(target: Target, facts: lifecycle.ClusterStatus | None, state: PlatformState | None) -> dict[str, Any]:
    """The same for programs."""
    parts = [
        {
            "name": part.name,
            "namespace": part.namespace,
            "ready": part.ready,
            "wanted": part.wanted,
            "version": part.version,
        }
        for part in (state.parts if state else ())
    ]
    return {
        "apiVersion": output.API_VERSION,
        "kind": "Status",
        "context": target.context,
        "server": target.server,
        "cluster": local.as_document(facts) if facts else None,
        "platform": {"installed": bool(state and state.installed), "parts": parts},
        "services": [output.without_managers(item) for item in (state.services if state else ())],
    }
