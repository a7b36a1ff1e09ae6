"""`slipway delete`."""

from __future__ import annotations

import select
import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from slipway.cli import output
from slipway.cli.completions import services
from slipway.cli.options import ContextName, DryRun, Format, KubeconfigFile, Namespace, Output
from slipway.cli.session import announce, connected, run
from slipway.cli.terminal import say
from slipway.client.errors import FailedError, InvalidInputError
from slipway.client.target import Target, Where, resolve
from slipway.kit.objects import MODEL_SERVICE, Manifest

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
    target = resolve(Where(context, kubeconfig, namespace))
    found = run(_found(target, asked))
    if found:
        if not asked.dry_run:
            _confirm(target, _names(found), asked)  # outside of any event loop, so that Ctrl-C ends it
        run(_delete(target, _names(found), asked))
    _print(found, out)


async def _found(target: Target, asked: _Asked) -> list[Manifest]:
    """What is to be deleted, all of which exists: one wrong name deletes nothing."""
    async with connected(target) as client:
        found = await client.list() if asked.everything else [await client.get(name) for name in asked.names]
    if not found:
        say(f"There is no model service in namespace {target.namespace} of {target.context}.")
    return found


async def _delete(target: Target, names: list[str], asked: _Asked) -> None:
    async with connected(target) as client:
        announce(target, "Deleting", ", ".join(names))
        for name in names:
            await client.delete(name, dry_run=asked.dry_run)
            if not asked.dry_run:
                say(f"Deleted {name}. Its pods end within a minute; its model stays in the registry.")
    if asked.dry_run:
        say(f"{target.context} would delete {', '.join(names)}. Nothing was changed.")


def _names(found: list[Manifest]) -> list[str]:
    return [item["metadata"]["name"] for item in found]


def _print(found: list[Manifest], out: Format) -> None:
    """For programs: the objects as they were."""
    if out in (Format.JSON, Format.YAML):
        output.document(output.object_list(MODEL_SERVICE.api_version, f"{MODEL_SERVICE.kind}List", found), out)
    elif out is Format.NAME:
        for name in _names(found):
            output.line(f"modelservice/{name}")


def _confirm(target: Target, names: list[str], asked: _Asked) -> None:
    if asked.confirmed or (len(names) == 1 and not asked.everything):
        return
    if not sys.stdin.isatty():
        if asked.everything:
            raise InvalidInputError("--all deletes everything, and nobody is here to confirm it.", "Add --yes.")
        return
    say(f"This deletes {len(names)} model services of {target.context}: {', '.join(names)}.")
    say(f"Type the namespace, {target.namespace}, to go on:")
    # A signal just before a read that blocks is not heard until the read ends: never block for long.
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        pass
    typed = sys.stdin.readline().strip()
    if typed != target.namespace:
        raise FailedError(f"{typed!r} is not {target.namespace}.", "Nothing was changed.")
