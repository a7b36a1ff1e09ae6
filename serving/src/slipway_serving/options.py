"""The options of `slipway-serve`: on the command line, else as SLIPWAY_SERVE_* in the environment."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_serving import __version__
from slipway_serving.units import parse_duration, parse_size

_LAST_PORT = 65535
_MOST_WORKERS = 1024
PREFIX = "SLIPWAY_SERVE_"
CONTROL_MODES = ("none", "poll", "explicit")
"""Triton's model control modes: fixed at the start; as the files change; as requests to the repository say."""

_DESCRIPTION = """\
Serves models over the Open Inference Protocol V2 (REST, JSON and binary tensors).

PATH is a model's directory (with model.yaml where something cannot be read out of the model) or a single file:
*.onnx, *.skops, XGBoost's *.ubj and *.json, LightGBM's *.lgb and *.txt, a Python file with a class Model, or, only with
--allow-pickle, *.joblib, *.pkl and *.pickle. A directory of such directories is a repository: each is a model, with
Triton's numbered versions where it has them.
"""
_EPILOG = """\
Once it runs:
  curl http://localhost:8080/predict                              an example request and its prediction
  curl http://localhost:8080/predict -d '{"x": [[5.1, 3.5, 1.4, 0.2]]}'
  curl http://localhost:8080/v2/models/NAME                       what the model takes and gives

SIGTERM: readiness fails at once, requests are answered for the drain window, what is in flight is finished, exit 0.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that the command line decides. Times are in seconds, sizes in bytes."""

    path: Path
    name: str = ""
    host: str = "0.0.0.0"  # noqa: S104  # a server in a container listens on its pod's address
    http_port: int = 8080
    max_body: int = 64 << 20
    drain_window: float = 3.0
    drain_timeout: float = 45.0
    keep_alive: float = 3660.0
    allow_pickle: bool = False
    workers: int = 0
    model_control_mode: str = "explicit"
    poll_interval: float = 2.0
    log_level: str = "info"


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Reads the options; exits with status 2 and a sentence where one is wrong, and with 0 after --help."""
    parser = _parser()
    values = vars(parser.parse_args(arguments))
    for action in parser._actions:  # noqa: SLF001  # the only way to see which options there are
        variable = PREFIX + action.dest.upper()
        if action.dest in values and values[action.dest] is None and variable in environment:
            values[action.dest] = _from_environment(parser, action, variable, environment[variable])
    if values["path"] is None:
        parser.error(f"PATH is missing: the directory or file of a model (or {PREFIX}PATH)")
    return Options(**{name: value for name, value in values.items() if value is not None})


def _from_environment(parser: argparse.ArgumentParser, action: argparse.Action, variable: str, text: str) -> Any:
    read: Any = _boolean if action.const is True else action.type or str
    try:
        value = read(text)
    except (argparse.ArgumentTypeError, ValueError) as error:
        parser.error(f"{variable}: {error}")
    if action.choices is not None and value not in action.choices:
        parser.error(f"{variable}: must be one of {', '.join(action.choices)}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="slipway-serve",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def option(name: str, read: Callable[[str], Any], metavar: str, text: str) -> None:
        parser.add_argument(
            name, type=_checked(read), metavar=metavar, help=f"{text} [{PREFIX}{name[2:].upper().replace('-', '_')}]"
        )

    parser.add_argument("path", nargs="?", type=Path, metavar="PATH", help=f"the model [{PREFIX}PATH]")
    option("--name", str, "NAME", "what the model is called (default: from model.yaml, else from PATH)")
    option("--host", str, "ADDRESS", "address to listen on (default: 0.0.0.0)")
    option("--http-port", _port, "PORT", "port to listen on, 0 for any free one (default: 8080)")
    option("--max-body", parse_size, "SIZE", "largest request body, else 413 (default: 64Mi)")
    option("--drain-window", parse_duration, "TIME", "after SIGTERM, still accept requests for this long (default: 3s)")
    option("--drain-timeout", parse_duration, "TIME", "after SIGTERM, end at the latest after this long (default: 45s)")
    option(
        "--keep-alive",
        parse_duration,
        "TIME",
        "close idle connections after this long; longer than proxies do (default: 61m)",
    )
    option("--workers", _count, "COUNT", "processes that run each model, 0 for threads of this one (default: 0)")
    option(
        "--poll-interval",
        parse_duration,
        "TIME",
        "with --model-control-mode poll, look for changed files this often (default: 2s)",
    )
    parser.add_argument(
        "--model-control-mode",
        choices=CONTROL_MODES,
        help="models are loaded at the start, and then never change (none), change with their files (poll), or on "
        f"requests to /v2/repository (explicit; the default) [{PREFIX}MODEL_CONTROL_MODE]",
    )
    parser.add_argument(
        "--allow-pickle",
        action="store_const",
        const=True,
        help=f"load pickle and joblib files: they can run any code, use it for files you trust [{PREFIX}ALLOW_PICKLE]",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help=f"default: info [{PREFIX}LOG_LEVEL]",
    )
    parser.add_argument("--version", action="version", version=f"slipway-serve {__version__}")
    return parser


def _checked(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A reader whose ValueError argparse shows as it is."""

    def checked(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _LAST_PORT:
        raise ValueError(f"'{text}' is not a port from 0 to {_LAST_PORT}")
    return int(text)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _MOST_WORKERS:
        raise ValueError(f"'{text}' is not a number from 0 to {_MOST_WORKERS}")
    return int(text)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"must be true or false, got '{text}'")
    return text.lower() in ("true", "1")
