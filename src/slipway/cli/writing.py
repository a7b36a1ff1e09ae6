"""What commands that change a model service have in common: what to do besides, waiting, and what is printed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from slipway.api.duration import parse_duration
from slipway.cli import output
from slipway.cli.listing import table
from slipway.cli.options import Format
from slipway.cli.terminal import progress, reporter, say
from slipway.client.client import AsyncClient
from slipway.client.errors import InvalidInputError
from slipway.client.wait import wait_ready
from slipway.kit.objects import Manifest
from slipway.views.managers import gitops


@dataclass(frozen=True, slots=True)
class How:
    """What to do besides writing. `seconds` to wait, None not to."""

    seconds: float | None
    dry_run: bool
    force: bool = False


def seconds(duration: str, option: str = "--timeout") -> float:
    """Seconds of a duration that an option gives."""
    try:
        return parse_duration(duration)
    except ValueError:
        raise InvalidInputError(f"{option} {duration} is not a duration.", "Write it with a unit: 90s, 10m.") from None


def warn(existing: Manifest) -> None:
    """Says when what is written here will not last."""
    tool = gitops(existing)
    if tool:
        name = existing["metadata"]["name"]
        say(f"Note: {tool} keeps {name} equal to a repository and will revert this. Change it there, too.")


async def finish(client: AsyncClient, applied: Manifest, how: How, *, beyond: str = "") -> Manifest:
    """Waits as long as was asked for; the service at the end. `beyond` is a revision that has to be left behind."""
    name = applied["metadata"]["name"]
    if how.dry_run:
        say(f"{client.context} would accept it. Nothing was changed.")
        return applied
    if how.seconds is None:
        say(f"Applied {name}. See how far it is: slipway describe {name}")
        return applied
    try:
        with progress().step(f"Waiting until {name} answers") as step:
            return await wait_ready(client, name, how.seconds, reporter(step), beyond=beyond)
    except asyncio.CancelledError:
        say(f"Detached: {name} goes on without us. Return with: slipway describe {name}")
        raise


def show(service: Manifest, out: Format) -> None:
    """Prints the model service that was written."""
    if out is Format.NAME:
        output.line(f"modelservice/{service['metadata']['name']}")
    elif out.structured:
        output.document(output.without_managers(service), out)
    else:
        table([service], wide=out is Format.WIDE)
