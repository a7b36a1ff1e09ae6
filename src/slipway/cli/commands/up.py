"""`slipway up`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from slipway.cli import output
from slipway.cli.options import ContextName, KubeconfigFile
from slipway.cli.session import connected, run
from slipway.cli.terminal import progress, say
from slipway.client.errors import InvalidInputError
from slipway.client.target import Target, Where, record, resolve
from slipway.cluster import lifecycle, platform

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def up(
    *,
    name: Annotated[str | None, typer.Option("--name", help="The local cluster. Default: slipway.")] = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, max=lifecycle.MOST_NODES, help="Of a new local cluster. Default: 1.")
    ] = None,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    image_registry: Annotated[
        str, typer.Option("--image-registry", help="With --context: HOST/PATH that has the platform's images.")
    ] = "",
    gateway: Annotated[str, typer.Option("--gateway", help="With --context: NAMESPACE/NAME of a Gateway to use.")] = "",
    create_gateway: Annotated[
        bool, typer.Option("--create-gateway", help="With --context: install Envoy Gateway, too.")
    ] = False,
) -> None:
    """Install the platform: on a local cluster that it creates or starts, or on the cluster of --context.

    Safe to run again, also after an interruption: what is there is kept, the rest is done.
    """
    target = resolve(Where(context, kubeconfig)) if context or kubeconfig else None
    if target and target.cluster is None:
        if name or nodes:
            raise InvalidInputError(
                "--name and --nodes are for local clusters, --context is for others.", "Leave out one."
            )
        _install_on(target, platform.Options(image_registry, gateway, create_gateway))
    else:
        if image_registry or gateway or create_gateway:
            raise InvalidInputError(
                "--image-registry, --gateway and --create-gateway are for clusters of others.",
                "Say which with --context.",
            )
        _install_locally(name or (target.cluster if target else None) or "slipway", nodes)


def _install_on(target: Target, options: platform.Options) -> None:
    say(f"Installing the platform on {target.context} at {target.server}")
    run(_reach(target))
    platform.install(platform.Target(target.kubeconfig, target.context), progress(), options)
    record(target)
    _done(target.context)


async def _reach(target: Target) -> None:
    """Asks the API server for its version, so that an unreachable cluster is named before anything is prepared."""
    async with connected(target) as client:
        await client.version()


def _install_locally(name: str, nodes: int | None) -> None:
    found = next((cluster for cluster in lifecycle.clusters() if cluster.name == name), None)
    count = nodes or (len(found.layout.nodes) if found else 1)
    shown = progress()
    cluster = lifecycle.create(name, count, shown)
    platform.install(platform.Target.of(cluster), shown)
    record(resolve(Where(context=cluster.context)))
    _done(cluster.context)


def _done(context: str) -> None:
    say(f"The platform runs on {context}. Next: slipway deploy NAME PATH")
    if os.environ.get("KUBECONFIG"):
        say(f"$KUBECONFIG is set and comes first: unset it, or add --context {context} to the next commands.")
    output.line(context)
