"""`slipway port-forward`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from slipway.cli import output
from slipway.cli.options import ContextName, KubeconfigFile, Name, Namespace
from slipway.cli.session import connected, run
from slipway.cli.terminal import say
from slipway.client.forward import Ports, parse_ports
from slipway.client.target import Target, Where, resolve

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def forward(
    name: Name,
    ports: Annotated[
        str | None,
        typer.Argument(
            metavar="[LOCAL[:REMOTE]]",
            help="The port here, 0 for any, and the pod's. Default: 8080, and the model server's for HTTP; "
            "9000:9000 is gRPC.",
            show_default=False,
        ),
    ] = None,
    *,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
    namespace: Namespace = None,
) -> None:
    """Make a port of this machine, on loopback, lead to a ready pod, through the API server; until Ctrl-C.

    When the pod goes, the next connection goes to another ready one.
    """
    run(_forward(resolve(Where(context, kubeconfig, namespace)), name, parse_ports(ports)))


async def _forward(target: Target, name: str, ports: Ports) -> None:
    async with connected(target) as client, client.port_forward(name, ports.local, ports.remote, _tell):
        await asyncio.Event().wait()


def _tell(text: str, *, trouble: bool) -> None:
    if trouble:
        say(output.plain(text))
    else:
        output.line(text)
        output.flush()
