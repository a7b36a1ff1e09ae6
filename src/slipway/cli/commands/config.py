"""`slipway config …`: defaults of the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from slipway.cli import output
from slipway.cli.options import NamelessOutput
from slipway.cli.terminal import say
from slipway.client import settings
from slipway.client.errors import NotFoundError

app = typer.Typer(
    help="Defaults of the command line. What the command line says comes first, then the environment, then these.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


def _keys(incomplete: str) -> list[str]:
    return [key for key in settings.KEYS if key.startswith(incomplete)]


Key = Annotated[
    str, typer.Argument(help=f"One of {', '.join(settings.KEYS)}.", show_default=False, autocompletion=_keys)
]


@app.command()
def view(out: NamelessOutput) -> None:
    """Show what is set, and where: in the file, or in the environment."""
    found = settings.settings()
    if out.structured:
        items = [{"key": setting.key, "value": setting.value, "source": setting.source} for setting in found]
        document = {"apiVersion": output.API_VERSION, "kind": "Config", "file": str(settings.path()), "settings": items}
        output.document(document, out)
    elif found:
        output.table(["KEY", "VALUE", "SOURCE"], [[setting.key, setting.value, setting.source] for setting in found])
    else:
        say("Nothing is set. For example: slipway config set namespace ml")


@app.command("set")
def set_(key: Key, value: Annotated[str, typer.Argument(help="Its value.", show_default=False)]) -> None:
    """Set one default, in a file of Slipway's own. A kubeconfig is never changed."""
    settings.put(key, value)
    say(f"{key} is {value} now, in {settings.path()}.")


@app.command()
def unset(key: Key) -> None:
    """Take one default out of the file."""
    if not settings.remove(key):
        raise NotFoundError(f"{key} is not set in {settings.path()}.", "Nothing was changed.")
    say(f"{key} is not set any more.")
