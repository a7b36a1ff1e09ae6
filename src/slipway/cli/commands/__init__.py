"""One module a command: each has a Typer application called `app`."""
