"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from slipway.cli.completions import contexts, namespaces, services
from slipway.client import settings
from slipway.client.errors import InvalidInputError


class Format(StrEnum):
    """What standard output carries."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"

    @property
    def structured(self) -> bool:
        """Whether it is for programs."""
        return self in {Format.JSON, Format.YAML}


def _format() -> Format:
    """What the environment or the settings file says, else a table."""
    return Format(settings.value("output") or Format.TABLE)


def _nameless() -> Format:
    """The same for a command without names: a default is for all commands, and not all have them."""
    chosen = _format()
    return Format.TABLE if chosen is Format.NAME else chosen


def _refuse_names(chosen: Format) -> Format:
    if chosen is Format.NAME:
        problem = "-o name prints the names of objects, and there is no object here."
        raise InvalidInputError(problem, "Say -o table, json or yaml.")
    return chosen


Output = Annotated[
    Format,
    typer.Option("--output", "-o", help="What to print. Default: table.", default_factory=_format, show_default=False),
]
NamelessOutput = Annotated[
    Format,
    typer.Option(
        "--output",
        "-o",
        help="What to print, not name. Default: table.",
        default_factory=_nameless,
        callback=_refuse_names,
        show_default=False,
    ),
]
ContextName = Annotated[
    str | None,
    typer.Option(
        "--context",
        help="The kubeconfig context, or slipway-NAME for a local cluster.",
        show_default=False,
        autocompletion=contexts,
    ),
]
KubeconfigFile = Annotated[
    Path | None,
    typer.Option("--kubeconfig", help="The kubeconfig file; it is never changed.", show_default=False),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        help="The namespace. Default: the context's.",
        show_default=False,
        autocompletion=namespaces,
    ),
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it as it changes, until Ctrl-C.")]
Name = Annotated[
    str, typer.Argument(help="The name of the model service.", show_default=False, autocompletion=services)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Have the API server check it, change nothing.")]
Force = Annotated[bool, typer.Option("--force-conflicts", help="Take over fields that others manage.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it answers.")]
Timeout = Annotated[str, typer.Option("--timeout", help="How long to wait, with a unit: 90s, 10m.")]
ModelFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="onnx, sklearn, xgboost, lightgbm, python or custom. Default: what the files tell.",
        show_default=False,
    ),
]
AllowPickle = Annotated[bool, typer.Option("--allow-pickle", help="Trust the author of a pickled model.")]
RegistryAddress = Annotated[
    str | None,
    typer.Option("--registry", help="HOST[:PORT][/PATH]. Default: the local cluster's.", show_default=False),
]
NewName = Annotated[str | None, typer.Argument(help="The name of the model service.", show_default=False)]
ModelSource = Annotated[
    str | None,
    typer.Argument(
        metavar="[PATH|URI]",
        help="The model: a file or directory, or where it is: oci://…, pvc://…, s3://…, hf://…",
        show_default=False,
    ),
]
ServiceFile = Annotated[Path | None, typer.Option("--filename", "-f", help="A ModelService in a file instead.")]
Replicas = Annotated[int | None, typer.Option(min=1, max=1000, help="How many replicas, fixed.")]
Minimum = Annotated[int | None, typer.Option("--min", min=1, max=1000, help="The least replicas.")]
Maximum = Annotated[int | None, typer.Option("--max", min=1, max=1000, help="The most: scale with load.")]
