"""What runs in a worker process: loads the model, warms it up, and answers one request after the other.

It ends when the server closes its end of the sockets, and with the server, however that ends. Signals for everybody,
as a terminal or a container's stop sends them, it leaves to the server.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import logging
import os
import pickle
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slipway_serving.collector import keep_loaded
from slipway_serving.config import ModelConfig
from slipway_serving.errors import ModelLoadError
from slipway_serving.runtimes.base import AsyncRuntime, Runtime, StreamingRuntime, load_runtime
from slipway_serving.warming import warm_up
from slipway_serving.workers.answering import Answering, failed
from slipway_serving.workers.messages import (
    CLOSE,
    LOAD,
    MORE,
    READY,
    REFUSED,
    Channel,
    ClosedError,
    Message,
    signature_document,
)

_PR_SET_PDEATHSIG = 1
_LATE = (MORE, CLOSE)
"""What the server may have said while the answer's end was on its way to it."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is for; the server sends it, because a command line is for everybody to read."""

    path: Path
    config: ModelConfig
    name: str
    log_level: int = logging.INFO
    traces: str | None = None
    """The collector for the model's own spans, "" for that of the usual variables; None where nobody traces."""

    def message(self) -> Message:
        return Message(LOAD, {"task": base64.b64encode(pickle.dumps(self)).decode()})


def main() -> None:
    """The process. Its arguments are the socket's number and the server's process id."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which the model's own children would inherit
    _end_with(int(sys.argv[2]))
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)  # or what a model prints is lost when it is killed
    with contextlib.suppress(ClosedError):
        _run(Channel(connection))
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)  # a model that hangs in a thread must not keep the process alive


def _end_with(server: int) -> None:
    """Has the kernel kill this process when the server ends, also while the model computes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(0)


def _run(channel: Channel) -> None:
    task: Task = pickle.loads(base64.b64decode(channel.receive().fields["task"]))  # noqa: S301  # the server's own
    logging.basicConfig(format="%(asctime)s %(levelname)s [worker %(process)d] %(message)s", level=task.log_level)
    with _exporting(task.traces):
        _serve(channel, task)


@contextlib.contextmanager
def _exporting(collector: str | None) -> Iterator[None]:
    """What the model traces goes where the server's own spans go; what is held back, at the end."""
    if collector is None:
        yield
        return
    from opentelemetry import trace  # noqa: PLC0415  # only where the server traces, and so has it
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    from slipway_serving.middleware.tracing import provider  # noqa: PLC0415

    spans = provider(collector, CollectorRegistry())
    trace.set_tracer_provider(spans)
    try:
        yield
    finally:
        spans.shutdown()


def _serve(channel: Channel, task: Task) -> None:
    runtime = _load(channel, task)
    if runtime is None:
        return
    keep_loaded()
    answering = Answering(channel, runtime)
    while True:
        try:
            message = channel.receive()
        except ClosedError:
            runtime.close()
            return
        if message.kind not in _LATE:
            answering.answer(message)


def _load(channel: Channel, task: Task) -> Runtime | None:
    """The model, once the server knows of it; None where it could not be loaded, which the server then knows too."""
    started = time.perf_counter()
    try:
        runtime = load_runtime(task.path, task.config)
        if task.config.warm_up:
            warm_up(runtime, task.name)
        fields = {
            "signature": signature_document(runtime.signature),
            "is_async": isinstance(runtime, AsyncRuntime),
            "streams": isinstance(runtime, StreamingRuntime),
            "operations": sorted(getattr(runtime, "operations", ())),
            "seconds": time.perf_counter() - started,
        }
        channel.send(Message(READY, fields))
    except ClosedError:
        raise
    except ModelLoadError as error:
        fields = {"message": error.message, "hint": error.hint, "traceback": traceback.format_exc()}
        channel.send(Message(REFUSED, fields))
    except BaseException as error:  # noqa: BLE001  # whatever the model raises, also SystemExit, goes to the server
        channel.send(failed(error))
    else:
        return runtime
    return None
