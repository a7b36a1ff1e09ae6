"""The options of `slipway-serve`: on the command line, else as SLIPWAY_SERVE_* in the environment, else in a file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from slipway_serving import __version__
from slipway_serving.errors import did_you_mean
from slipway_serving.units import parse_duration, parse_size

_LAST_PORT = 65535
OFF: Final = -1
_MOST_WORKERS = 1024
_MOST_CONNECTIONS = 1_000_000
PREFIX = "SLIPWAY_SERVE_"
CONTROL_MODES = ("none", "poll", "explicit")
"""Triton's model control modes: fixed at the start; as the files change; as requests to the repository say."""
PAYLOAD_LOG_MODES = ("all", "request", "response")

_DESCRIPTION = """\
Serves models over the Open Inference Protocol V2 (REST, JSON and binary tensors).

PATH is a model's directory (with model.yaml where something cannot be read out of the model) or a single file:
*.onnx, *.skops, XGBoost's *.ubj and *.json, LightGBM's *.lgb and *.txt, a Python file with a class Model, or, only with
--allow-pickle, *.joblib, *.pkl and *.pickle. A directory of such directories is a repository: each is a model, with
Triton's numbered versions where it has them.

Each option is also an environment variable, in brackets below, and a key of the file that --config names: maxBody for
--max-body. The command line counts more than the environment, and the environment more than the file.
"""
_EPILOG = """\
Once it runs:
  curl http://localhost:8080/predict                              an example request and its prediction
  curl http://localhost:8080/predict -d '{"x": [[5.1, 3.5, 1.4, 0.2]]}'
  curl http://localhost:8080/v2/models/NAME                       what the model takes and gives

SIGTERM: readiness fails at once, requests are answered for the drain window, what is in flight is finished, exit 0.
"""
_NEEDS = {
    "jwt_issuer": "jwt_jwks_file",
    "jwt_audience": "jwt_jwks_file",
    "payload_log_sample": "payload_log_url",
    "payload_log_mode": "payload_log_url",
    "payload_log_max_size": "payload_log_url",
}
"""Options that mean nothing without another: who gives one would believe in what is not there."""


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that the command line decides. Times are in seconds, sizes in bytes."""

    path: Path
    name: str = ""
    host: str = "0.0.0.0"  # noqa: S104  # a server in a container listens on its pod's address
    http_port: int = 8080
    grpc_port: int = 9000
    """OFF for no gRPC."""
    max_body: int = 64 << 20
    max_connections: int = 0
    drain_window: float = 3.0
    drain_timeout: float = 45.0
    keep_alive: float = 3660.0
    allow_pickle: bool = False
    workers: int = 0
    model_control_mode: str = "explicit"
    poll_interval: float = 2.0
    api_key_file: Path | None = None
    jwt_jwks_file: Path | None = None
    jwt_issuer: str = ""
    jwt_audience: str = ""
    metrics_without_auth: bool = False
    access_log: bool = False
    access_log_file: Path | None = None
    otlp_endpoint: str = ""
    payload_log_url: str = ""
    payload_log_sample: float = 1.0
    payload_log_mode: str = "all"
    payload_log_max_size: int = 1 << 20
    log_level: str = "info"


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Reads the options; exits with status 2 and a sentence where one is wrong, and with 0 after --help."""
    parser = _parser()
    values = vars(parser.parse_args(arguments))
    actions = [action for action in parser._actions if action.dest in values]  # noqa: SLF001  # the only way to see them
    for action in actions:
        variable = PREFIX + action.dest.upper()
        if values[action.dest] is None and variable in environment:
            values[action.dest] = _read(parser, action, variable, environment[variable])
    file = values.pop("config")
    if file is not None:
        _add_from_file(parser, actions, file, values)
    if values["path"] is None:
        parser.error(f"PATH is missing: the directory or file of a model (or {PREFIX}PATH)")
    for name, needed in _NEEDS.items():
        if values[name] is not None and values[needed] is None:
            parser.error(f"{_flag(name)} means nothing without {_flag(needed)}")
    return Options(**{name: value for name, value in values.items() if value is not None})


def _add_from_file(
    parser: argparse.ArgumentParser, actions: Sequence[argparse.Action], file: Path, values: dict[str, Any]
) -> None:
    known = {_key(action.dest): action for action in actions if action.dest != "config"}
    for key, value in _document(parser, file).items():
        action = known.get(key)
        if action is None:
            parser.error(f"{file}: unknown key '{key}'; {did_you_mean(str(key), known)}")
        if not isinstance(value, (str, int, float)) or (isinstance(value, bool) and action.const is not True):
            parser.error(f"{file}: {key} must be {'true or false' if action.const is True else 'one value'}")
        read = _read(parser, action, f"{file}: {key}", str(value))
        if values[action.dest] is None:
            values[action.dest] = read


def _document(parser: argparse.ArgumentParser, file: Path) -> dict[Any, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"{file} cannot be read: {error}")
    except yaml.YAMLError as error:
        parser.error(f"{file} is not valid YAML: {' '.join(str(error).split())}")
    if document is None:
        return {}
    if not isinstance(document, dict):
        parser.error(f"{file} must be a mapping of keys to values, such as httpPort: 8080")
    return document


def _read(parser: argparse.ArgumentParser, action: argparse.Action, where: str, text: str) -> Any:
    """A value from elsewhere than the command line, read as it is there."""
    read: Any = _boolean if action.const is True else action.type or str
    try:
        value = read(text)
    except (argparse.ArgumentTypeError, ValueError) as error:
        parser.error(f"{where}: {error}")
    if action.choices is not None and value not in action.choices:
        parser.error(f"{where}: must be one of {', '.join(action.choices)}")
    return value


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _key(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


class _Group:
    """Options that belong together in --help. Each names its environment variable."""

    def __init__(self, parser: argparse.ArgumentParser, title: str) -> None:
        self._group = parser.add_argument_group(title)

    def option(self, name: str, read: Callable[[str], Any], metavar: str, text: str) -> None:
        self._group.add_argument(name, type=_checked(read), metavar=metavar, help=_help(name, text))

    def choice(self, name: str, choices: Sequence[str], text: str) -> None:
        self._group.add_argument(name, choices=choices, help=_help(name, text))

    def flag(self, name: str, text: str) -> None:
        self._group.add_argument(name, action="store_const", const=True, help=_help(name, text))


def _help(name: str, text: str) -> str:
    return f"{text} [{PREFIX}{name[2:].upper().replace('-', '_')}]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="slipway-serve",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", nargs="?", type=Path, metavar="PATH", help=f"the model [{PREFIX}PATH]")
    parser.add_argument("--version", action="version", version=f"slipway-serve {__version__}")
    group = _Group(parser, "process")
    group.option("--config", Path, "FILE", "read further options from this YAML file")
    group.choice("--log-level", ("debug", "info", "warning", "error"), "default: info")
    _add_models(_Group(parser, "models"))
    _add_listening(_Group(parser, "listening and limits"))
    _add_stopping(_Group(parser, "stopping"))
    _add_security(_Group(parser, "authentication (off by default)"))
    _add_observability(_Group(parser, "logs and traces (off by default)"))
    return parser


def _add_models(group: _Group) -> None:
    group.option("--name", str, "NAME", "what the model is called (default: from model.yaml, else from PATH)")
    group.option("--workers", _count, "COUNT", "processes that run each model, 0 for threads of this one (default: 0)")
    group.choice(
        "--model-control-mode",
        CONTROL_MODES,
        "models are loaded at the start, and then never change (none), change with their files (poll), or on "
        "requests to /v2/repository (explicit; the default)",
    )
    group.option(
        "--poll-interval",
        parse_duration,
        "TIME",
        "with --model-control-mode poll, look for changed files this often (default: 2s)",
    )
    group.flag("--allow-pickle", "load pickle and joblib files: they can run any code, use it for files you trust")


def _add_listening(group: _Group) -> None:
    group.option("--host", str, "ADDRESS", "address to listen on (default: 0.0.0.0)")
    group.option("--http-port", _port, "PORT", "port to listen on, 0 for any free one (default: 8080)")
    group.option("--grpc-port", _grpc_port, "PORT", "port for gRPC, 0 for any free one, off for none (default: 9000)")
    group.option("--max-body", parse_size, "SIZE", "largest request body, else 413 (default: 64Mi)")
    group.option(
        "--max-connections",
        _connections,
        "COUNT",
        "connections served at once on each of the two ports; on others everything but health is a 503, over gRPC "
        "UNAVAILABLE and GOAWAY, and far beyond it they are closed; 0 for no limit of ours (default: 0)",
    )
    group.option(
        "--keep-alive",
        parse_duration,
        "TIME",
        "close idle connections after this long; longer than proxies do (default: 61m)",
    )


def _add_stopping(group: _Group) -> None:
    group.option("--drain-window", parse_duration, "TIME", "after SIGTERM, accept requests for this long (default: 3s)")
    group.option("--drain-timeout", parse_duration, "TIME", "after SIGTERM, end at the latest then (default: 45s)")


def _add_security(group: _Group) -> None:
    group.option(
        "--api-key-file",
        Path,
        "FILE",
        "answer only those who have a key of this file, one a line as name:key; read again when it changes",
    )
    group.option(
        "--jwt-jwks-file",
        Path,
        "FILE",
        "answer those who have a token signed with a key of this JWKS; read again when it changes; needs the extra jwt",
    )
    group.option("--jwt-issuer", str, "ISSUER", "the issuer that tokens must have (iss)")
    group.option("--jwt-audience", str, "AUDIENCE", "the audience that tokens must have (aud)")
    group.flag("--metrics-without-auth", "let anybody read /metrics, as anybody may read /v2/health")


def _add_observability(group: _Group) -> None:
    group.flag("--access-log", "write a JSON object a line for every request to standard output")
    group.option("--access-log-file", Path, "FILE", "write it to this file; opened anew when it was moved")
    group.option(
        "--otlp-endpoint",
        _url,
        "URL",
        "send traces to this OpenTelemetry collector over HTTP, as OTEL_EXPORTER_OTLP_ENDPOINT; needs the extra otel",
    )
    group.option("--payload-log-url", _url, "URL", "send requests and answers of models to this sink, as CloudEvents")
    group.option("--payload-log-sample", _share, "SHARE", "of the requests, chosen at random, 0 to 1 (default: 1)")
    group.choice("--payload-log-mode", PAYLOAD_LOG_MODES, "what is sent (default: all)")
    group.option("--payload-log-max-size", parse_size, "SIZE", "leave out what is larger (default: 1Mi)")


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


def _grpc_port(text: str) -> int:
    return OFF if text == "off" else _port(text)


def _count(text: str) -> int:
    return _number(text, _MOST_WORKERS)


def _connections(text: str) -> int:
    return _number(text, _MOST_CONNECTIONS)


def _number(text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > most:
        raise ValueError(f"'{text}' is not a number from 0 to {most}")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"'{text}' is not a share from 0 to 1, such as 0.01")
    return share


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"'{text}' is not an http:// or https:// URL")
    if parts.username is not None or parts.fragment:
        raise ValueError("a URL here has no user, no password and no fragment")
    _ = parts.port  # raises where it is none
    return text


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"must be true or false, got '{text}'")
    return text.lower() in ("true", "1")
