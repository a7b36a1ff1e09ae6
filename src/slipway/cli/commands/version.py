"""`slipway version`."""

from __future__ import annotations

from typing import Annotated

import typer

from slipway.cli import output
from slipway.cli.options import ContextName, KubeconfigFile, NamelessOutput
from slipway.cli.session import connected, run
from slipway.cli.terminal import say
from slipway.cli.version import version
from slipway.client.platform import operator_version, skew
from slipway.client.target import Target, Where, resolve

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def show(
    *,
    client: Annotated[bool, typer.Option("--client", help="Only of the command: no cluster is asked.")] = False,
    out: NamelessOutput,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Show the versions of the command, of Kubernetes, and of the operator, and whether they fit."""
    found = {"client": version()}
    failure: Exception | None = None
    if not client:
        try:
            found |= run(_read(resolve(Where(context, kubeconfig))))
        except Exception as error:  # noqa: BLE001  # the version of the command is known whatever the cluster says
            failure = error
    if out.structured:
        output.document({"apiVersion": output.API_VERSION, "kind": "Version", **found}, out)
    else:
        output.pairs(found)
    if failure:
        raise failure
    if said := skew(found["client"], found.get("operator", "")):
        say(said)


async def _read(target: Target) -> dict[str, str]:
    async with connected(target) as client:
        kubernetes = await client.version()
        operator = await operator_version(client)
    if not operator:
        say(f"The platform is not installed on {target.context}. Install it: slipway up")
    return {"kubernetes": kubernetes} | ({"operator": operator} if operator else {})
