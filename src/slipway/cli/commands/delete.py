"""`slipway delete`."""

from __future__ import annotations

import typer

from slipway.cli.options import ContextName, KubeconfigFile, Name, Namespace
from slipway.cli.session import announce, connected, run
from slipway.cli.target import Target, Where, resolve
from slipway.cli.terminal import say

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def delete(
    name: Name, context: ContextName = None, kubeconfig: KubeconfigFile = None, namespace: Namespace = None
) -> None:
    """Delete a model service, its pods and its address. The model stays in the registry."""
    run(_delete(resolve(Where(context, kubeconfig, namespace)), name))


async def _delete(target: Target, name: str) -> None:
    announce(target, "Deleting", name)
    async with connected(target) as client:
        await client.delete(name)
    say(f"Deleted {name}. Its pods end within a minute; its model stays in the registry.")
