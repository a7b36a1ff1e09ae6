"""`slipway scale`."""

from __future__ import annotations

import typer

from slipway.cli.options import (
    ContextName,
    DryRun,
    Force,
    KubeconfigFile,
    Maximum,
    Minimum,
    Name,
    Namespace,
    Output,
    Replicas,
    Timeout,
    Wait,
)
from slipway.cli.session import announce, connected, run
from slipway.cli.terminal import say
from slipway.cli.writing import How, finish, seconds, show, warn
from slipway.client import rollout
from slipway.client.change import Scale, effect
from slipway.client.errors import InvalidInputError
from slipway.client.manifest import replica_range
from slipway.client.target import Target, Where, resolve
from slipway.kit.objects import Manifest

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def scale(
    name: Name,
    *,
    replicas: Replicas = None,
    minimum: Minimum = None,
    maximum: Maximum = None,
    wait: Wait = True,
    timeout: Timeout = "5m",
    dry_run: DryRun = False,
    force: Force = False,
    out: Output,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """Change how many replicas a model service has, and wait until they answer.

    --replicas fixes the number; with --min and --max an autoscaler chooses it. What is not said stays as it is.
    """
    low, high = replica_range(replicas, minimum, maximum)
    if low is None and high is None:
        raise InvalidInputError(
            "--replicas, --min or --max is missing.", f"For example: slipway scale {name} --replicas 3"
        )
    how = How(seconds(timeout) if wait else None, dry_run, force)
    show(run(_scale(resolve(Where(context, kubeconfig, namespace)), name, Scale(low, high), how)), out)


async def _scale(target: Target, name: str, wish: Scale, how: How) -> Manifest:
    announce(target, "Scaling", name)
    async with connected(target) as client:
        existing = await client.get(name)
        warn(existing)
        applied = await rollout.scale(client, existing, wish, force=how.force, dry_run=how.dry_run)
        said = effect(existing, applied)
        if said:
            say(said)
        return await finish(client, applied, how)
