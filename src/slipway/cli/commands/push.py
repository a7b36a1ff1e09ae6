"""`slipway push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slipway.cli import output
from slipway.cli.options import AllowPickle, ContextName, KubeconfigFile, ModelFormat, RegistryAddress
from slipway.cli.registry import named_registry, registry_of
from slipway.cli.terminal import progress, say
from slipway.client.model import check_model
from slipway.client.names import check_name
from slipway.client.push import prepare
from slipway.client.target import Where, resolve

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def push(
    path: Annotated[Path, typer.Argument(help="The model's file or directory.", show_default=False)],
    name: Annotated[str, typer.Argument(help="What to call it: NAME or NAME:TAG.", show_default=False)],
    *,
    model_format: ModelFormat = None,
    allow_pickle: AllowPickle = False,
    registry: RegistryAddress = None,
    context: ContextName = None,
    kubeconfig: KubeconfigFile = None,
) -> None:
    """Store a model in a registry, as an OCI image, and print the URI for `slipway deploy`."""
    check_name(name.partition(":")[0], "model")
    model = check_model(path, model_format, allow_pickle=allow_pickle)
    chosen = named_registry(registry) or registry_of(resolve(Where(context, kubeconfig)), registry)
    uri = prepare(model, chosen, name).send(progress())
    say(f"Serve it with: slipway deploy NAME {uri}")
    output.line(uri)
