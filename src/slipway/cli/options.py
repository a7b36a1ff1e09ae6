"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What standard output carries."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


Output = Annotated[Format, typer.Option("--output", "-o", help="What to print.")]
ContextName = Annotated[
    str | None,
    typer.Option("--context", help="The kubeconfig context, or slipway-NAME for a local cluster.", show_default=False),
]
KubeconfigFile = Annotated[
    Path | None,
    typer.Option("--kubeconfig", help="The kubeconfig file; it is never changed.", show_default=False),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="The namespace. Default: the context's.", show_default=False),
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
Name = Annotated[str, typer.Argument(help="The name of the model service.", show_default=False)]
ModelFormat = Annotated[
    str | None,
    typer.Option("--format", help="onnx, sklearn, python or custom. Default: what the files tell.", show_default=False),
]
AllowPickle = Annotated[bool, typer.Option("--allow-pickle", help="Trust the author of a pickled model.")]
RegistryAddress = Annotated[
    str | None,
    typer.Option(
        "--registry",
        envvar="SLIPWAY_REGISTRY",
        help="HOST[:PORT][/PATH]. Default: the local cluster's.",
        show_default=False,
    ),
]
