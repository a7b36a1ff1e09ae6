"""The group of all commands.

A command's module is imported when the command is called, so that none waits for another's imports.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

from slipway.cli import errors
from slipway.cli.version import version
from slipway.client.errors import near

COMMANDS = {
    "up": "Install the platform: on a local cluster that it starts, or on the cluster of --context.",
    "down": "Stop the local cluster, or uninstall the platform from the cluster of --context.",
    "status": "Show the cluster's components, the platform and the model services, and what is wrong.",
    "push": "Store a model in a registry, as an OCI image.",
    "deploy": "Serve a model: check it, push it, apply a ModelService, wait until it is ready.",
    "predict": "Ask a model service, or show how to ask it.",
    "list": "List the model services.",
    "describe": "Show one model service: conditions, pods with their reasons, events, what to do next.",
    "scale": "Change how many replicas a model service has.",
    "rollout": "Revisions of a model service: status, history, diff, undo, restart.",
    "logs": "Show the logs of all replicas, across restarts.",
    "port-forward": "A port of this machine that leads to a ready pod of a model service.",
    "delete": "Delete model services.",
    "render": "Print plain Kubernetes manifests of a model service, for a cluster without the platform.",
    "cluster": "Local clusters: a real Kubernetes on this machine.",
    "config": "Defaults of the command line: context, namespace, output, registry.",
    "completion": "Print what makes a shell complete commands, names, contexts and namespaces.",
    "version": "Show the versions of the command, the cluster and the operator.",
}
"""Every command, in the order of the help, and its line there. Command X-Y lives in `slipway.cli.commands.x_y`."""

_VALUED = {"--context", "--kubeconfig", "-n", "--namespace", "-o", "--output"}
_GROUPS = {"rollout", "cluster", "config"}
_FIRST = ("--debug", "--plain")
COMPLETE = "_SLIPWAY_COMPLETE"
"""Set by a shell that asks what could follow."""


class Completion(NamedTuple):
    """One answer to a shell, as Typer's classes for shells expect it."""

    value: str
    type: str = "plain"
    help: str = ""


class LazyGroup(TyperGroup):
    """A group that imports a command when it is called, and turns every error into a sentence and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # the signature is Typer's
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            ctx.fail(f"No such command {cmd_name}{near(cmd_name, COMMANDS) or '.'}")
        if cmd_name not in self.commands:
            command = get_command(import_module(f"slipway.cli.commands.{cmd_name.replace('-', '_')}").app)
            command.name = cmd_name
            self.commands[cmd_name] = command
        return self.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  # the signature is Typer's
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Commands without their imports: a person waits for it."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [Completion(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> Any:  # type: ignore[override]  # the rest are Typer's keywords
        if COMPLETE in os.environ:
            complete(lambda: super(LazyGroup, self).main([], prog_name, **extra))
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # names are of any script, terminals are not
                stream.reconfigure(errors="backslashreplace")
        arguments = hoist(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        debug = "--debug" in arguments
        try:
            code = super().main(arguments, prog_name, **extra)
        except Exception as error:  # noqa: BLE001  # the one place that turns errors into words
            code = errors.present(error, debug=debug)
        sys.exit(code if isinstance(code, int) else errors.OK)


def complete(answer: Callable[[], Any]) -> None:
    """Answers a shell, and ends: whatever goes wrong, it is silent."""
    from typer._completion_classes import completion_init  # noqa: PLC0415  # only a shell asks

    completion_init()
    with suppress(Exception):
        answer()
    sys.exit(errors.OK)


def hoist(arguments: Sequence[str]) -> list[str]:
    """Moves common options to where Typer expects them, so that their place does not matter.

    Those before the command go behind it, as with kubectl; `--debug` and `--plain` go first.
    """
    words, behind = list(arguments), arguments[arguments.index("--") :] if "--" in arguments else []
    words = words[: len(words) - len(behind)]
    first = [word for word in _FIRST if word in words]
    words = [word for word in words if word not in _FIRST]
    leading: list[str] = []
    while words and words[0].split("=")[0] in _VALUED:
        count = 1 if "=" in words[0] else 2
        leading, words = leading + words[:count], words[count:]
    command = 2 if words[:1] and words[0] in _GROUPS else 1
    return [*first, *words[:command], *leading, *words[command:], *behind]


app = typer.Typer(
    cls=LazyGroup,
    name="slipway",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"slipway {version()}")
        raise typer.Exit


@app.callback()
def root(
    _debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
    _plain: Annotated[bool, typer.Option("--plain", help="Lines alone: no colour, nothing redrawn.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Models on Kubernetes: serve, scale, roll out and explain them, on any cluster or on a bare Linux machine."""


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; returns its exit code."""
    try:
        app(list(arguments), prog_name="slipway")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else errors.FAILED
    return errors.OK
