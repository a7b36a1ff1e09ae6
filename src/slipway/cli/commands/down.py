"""`slipway down`."""

from __future__ import annotations

from typing import Annotated

import typer

from slipway.cli.commands.cluster import find
from slipway.cli.options import ContextName, KubeconfigFile
from slipway.cli.terminal import progress, say
from slipway.client.errors import InvalidInputError
from slipway.client.target import Target, Where, forget, resolve
from slipway.cluster import lifecycle, platform

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def down(
    *,
    name: Annotated[str | None, typer.Option("--name", help="The local cluster. Default: the one in use.")] = None,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Stop the local cluster and keep what it has, or uninstall the platform from the cluster of --context.

    Uninstalling keeps the ModelServices. `slipway cluster delete NAME` removes a local cluster with everything.
    """
    explicit = bool(context or kubeconfig)
    if name and explicit:
        raise InvalidInputError("--name is for local clusters, --context is for others.", "Leave out one of them.")
    target = None if name else resolve(Where(context, kubeconfig))
    if target and target.cluster is None:
        if not explicit:
            raise InvalidInputError(
                f"The cluster in use is {target.context}, which is not a local one.",
                f"Uninstall from it with --context {target.context}, or stop a local one with --name.",
            )
        _uninstall(target)
    else:
        _stop(name or (target.cluster if target else None) or "slipway")


def _uninstall(target: Target) -> None:
    say(f"Uninstalling the platform from {target.context} at {target.server}")
    platform.uninstall(platform.Target(target.kubeconfig, target.context), progress())
    forget(target.context)


def _stop(name: str) -> None:
    cluster = find(name)
    if not cluster.running():
        say(f"Cluster {name} is stopped already.")
        return
    lifecycle.stop(name, progress())
    say(f"Cluster {name} is stopped, and kept. Start it again: slipway up --name {name}")
    say(f"Remove it with everything: slipway cluster delete {name}")
