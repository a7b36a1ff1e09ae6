"""`slipway completion`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer._completion_shared import get_completion_script

from slipway.cli import output
from slipway.cli.app import COMPLETE

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Shell(StrEnum):
    """What the script is for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command()
def completion(shell: Annotated[Shell, typer.Argument(help="The shell.", show_default=False)]) -> None:
    """Print a script that makes a shell complete commands, names of model services, contexts and namespaces.

    bash: source <(slipway completion bash); zsh: the same; fish: slipway completion fish | source
    """
    output.line(get_completion_script(prog_name="slipway", complete_var=COMPLETE, shell=shell.value))
