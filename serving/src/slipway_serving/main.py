"""The command `slipway-serve`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Serves a model until a signal; the exit status says whether everything was answered."""
    # As process 1 of a container a signal without a handler is ignored, and the imports below take a while.
    signal.signal(signal.SIGTERM, _stop_early)
    signal.signal(signal.SIGINT, _stop_early)
    code = _run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a model that hangs in a thread must not keep the process alive


def _stop_early(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["conformance"]:  # a model of that name is ./conformance
        from slipway_serving.conformance.command import main as conformance  # noqa: PLC0415  # the server needs none of it

        return conformance(arguments[1:])

    import logging  # noqa: PLC0415  # after the handlers above

    from slipway_serving.collector import collect_rarely  # noqa: PLC0415

    collect_rarely()
    from slipway_serving.errors import ModelLoadError  # noqa: PLC0415
    from slipway_serving.options import parse  # noqa: PLC0415
    from slipway_serving.server import report, serve  # noqa: PLC0415

    options = parse(arguments, os.environ)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=options.log_level.upper())
    try:
        return serve(options)
    except ModelLoadError as error:
        report(error)
        return 1
