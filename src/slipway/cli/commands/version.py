"""`slipway version`."""

from __future__ import annotations

import typer

from slipway.cli.version import version

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def show() -> None:
    """Show the version."""
    typer.echo(f"slipway {version()}")
