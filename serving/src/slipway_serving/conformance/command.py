"""The command `slipway-serve conformance`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from slipway_serving import __version__
from slipway_serving.conformance import models, report
from slipway_serving.conformance.checks import Check, Result, run
from slipway_serving.conformance.client import Client
from slipway_serving.conformance.suite import checks
from slipway_serving.conformance.target import DEFAULT_MODEL, Target, discover

AUTHORIZATION = "SLIPWAY_CONFORMANCE_AUTHORIZATION"
_DESCRIPTION = """\
Checks any Open Inference Protocol server: what the protocol requires, extensions that the server may offer, and what
clients rely on beyond it. The exit status is 0 where no required check fails, 1 where one does, 2 where the server
cannot be reached.

The server should serve the model `identity`, which gives back what it gets; --write-models writes it for slipway-serve,
KServe and MLServer. With any other model the checks are made as far as its metadata allows.
"""
_EPILOG = f"""\
  slipway-serve conformance --write-models /tmp/models
  slipway-serve /tmp/models/slipway/identity &
  slipway-serve conformance http://localhost:8080 --grpc localhost:9000

Where the server asks for credentials: {AUTHORIZATION} in the environment is sent as the header Authorization.
"""
_WIDEST = 200
_NO_TERMINAL = 160


def main(arguments: Sequence[str]) -> int:
    """Runs the suite; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.write_models:
        return _write(options.write_models)
    if not options.url:
        parser.error("URL is missing: the address of the server, for example http://localhost:8080")
    try:
        chosen = [check for check in checks(grpc=bool(options.grpc)) if check.id.startswith(options.only)]
        client = Client(options.url, timeout=options.timeout, authorization=os.environ.get(AUTHORIZATION, ""))
        target = discover(client, options.model, grpc=options.grpc, unload=options.unload)
    except ValueError as error:
        parser.error(str(error))
    except ModuleNotFoundError as error:
        return _stop(f"--grpc needs the package '{error.name}'; install it with: pip install grpcio protobuf")
    except (OSError, HTTPException) as error:
        return _stop(f"{options.url} cannot be reached: {error}; is the server running?")
    if not chosen:
        parser.error(f"no check begins with '{options.only}'; leave --only out to see all of them")
    show = _as_json if options.output == "json" else _as_table
    return 0 if report.is_conformant(show(chosen, target)) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="slipway-serve conformance",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", nargs="?", metavar="URL", help="address of the server")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help=f"the model (default: {DEFAULT_MODEL})")
    parser.add_argument("--grpc", default="", metavar="HOST:PORT", help="check gRPC there too")
    parser.add_argument(
        "--only", default="", metavar="PREFIX", help="only checks whose id begins so, as infer. or http."
    )
    parser.add_argument("--unload", action="store_true", help="also unload the model, and load it again")
    parser.add_argument("--timeout", type=_seconds, default=10.0, metavar="SECONDS", help="for an answer (default: 10)")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default: table")
    parser.add_argument(
        "--write-models", type=Path, metavar="DIRECTORY", help="write the model `identity` for several servers, and end"
    )
    parser.add_argument("--version", action="version", version=f"slipway-serve conformance {__version__}")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(text)
    return seconds


def _as_table(chosen: Sequence[Check], target: Target) -> list[Result]:
    """Prints each row as it is found, then what it comes to."""
    width = min(shutil.get_terminal_size((_NO_TERMINAL, 0)).columns, _WIDEST)
    table = report.Table(width)
    _print(f"{target.client.url}, model '{target.model}': {target.describe()}\n")
    _print(table.header())
    results = []
    for result in run(chosen, target):
        results.append(result)
        _print(table.row(result))
    _print(f"\n{report.summary(results)}")
    if not target.grpc:
        _print("gRPC was not checked; name it with --grpc HOST:PORT.")
    return results


def _as_json(chosen: Sequence[Check], target: Target) -> list[Result]:
    results = list(run(chosen, target))
    about = {"url": target.client.url, "model": target.model, "suite": __version__}
    _print(json.dumps(report.document(results, **about), indent=1, ensure_ascii=False))
    return results


def _write(directory: Path) -> int:
    try:
        _print(models.write(directory))
    except OSError as error:
        return _stop(f"{directory} cannot be written: {error.strerror or error}")
    return 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _stop(message: str) -> int:
    sys.stderr.write(f"slipway-serve conformance: {message}\n")
    return 2
