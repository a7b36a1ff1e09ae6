"""`slipway delete`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from slipway.cli import output
from slipway.cli.completions import services
from slipway.cli.options import ContextName, DryRun, Format, KubeconfigFile, Namespace, Output
from slipway.cli.session import announce, connected, run
from slipway.cli.terminal import say
from slipway.client.client import AsyncClient
from slipway.client.errors import FailedError, InvalidInputError
from slipway.client.target import Target, Where, resolve

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class _Asked:
    names: list[str]
    everything: bool
    confirmed: bool
    dry_run: bool


@app.command()
def delete(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="The model services.", show_default=False, autocompletion=services),
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All model services of the namespace.")] = False,
    confirmed: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: DryRun = False,
    out: Output,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """Delete model services, their pods and addresses. Their models stay in the registry.

    More than one is deleted once the namespace was typed, or with --yes.
    """
    if bool(names) == everything:
        raise InvalidInputError("Name model services, or say --all.", "For example: slipway delete iris")
    asked = _Asked([*dict.fromkeys(names or [])], everything, confirmed, dry_run)
    gone = run(_delete(resolve(Where(context, kubeconfig, namespace)), asked))
    if out is not Format.TABLE:
        for name in gone:
            output.line(f"modelservice/{name}")


async def _delete(target: Target, asked: _Asked) -> list[str]:
    async with connected(target) as client:
        names = await _names(client, asked)
        if not names:
            say(f"There is no model service in namespace {target.namespace} of {target.context}.")
            return []
        if not asked.dry_run:
            _confirm(target, names, asked)
        announce(target, "Deleting", ", ".join(names))
        for name in names:
            await client.delete(name, dry_run=asked.dry_run)
            if not asked.dry_run:
                say(f"Deleted {name}. Its pods end within a minute; its model stays in the registry.")
    if asked.dry_run:
        say(f"{target.context} would delete {', '.join(names)}. Nothing was changed.")
    return names


async def _names(client: AsyncClient, asked: _Asked) -> list[str]:
    """What is to be deleted, all of which exists: one wrong name deletes nothing."""
    if asked.everything:
        return [item["metadata"]["name"] for item in await client.list()]
    for name in asked.names:
        await client.get(name)
    return asked.names


def _confirm(target: Target, names: list[str], asked: _Asked) -> None:
    if asked.confirmed or (len(names) == 1 and not asked.everything):
        return
    if not sys.stdin.isatty():
        if asked.everything:
            raise InvalidInputError("--all deletes everything, and nobody is here to confirm it.", "Add --yes.")
        return
    say(f"This deletes {len(names)} model services of {target.context}: {', '.join(names)}.")
    say(f"Type the namespace, {target.namespace}, to go on:")
    typed = sys.stdin.readline().strip()
    if typed != target.namespace:
        raise FailedError(f"{typed!r} is not {target.namespace}.", "Nothing was changed.")
