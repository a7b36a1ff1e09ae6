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
from dataclasses import dataclass
from pathlib import Path

from slipway_serving.collector import keep_loaded
from slipway_serving.config import FILE_NAME, ModelConfig
from slipway_serving.errors import ModelLoadError, RequestError
from slipway_serving.runtimes.base import AsyncRuntime, Inference, Runtime, load_runtime
from slipway_serving.warming import warm_up
from slipway_serving.workers.messages import Channel, ClosedError, Message, signature_document

LOAD, READY, REFUSED, INFER, OUTPUTS, ERROR, FAILED = (
    "load",  # to the worker: the task
    "ready",  # the signature, seconds, whether predict is async
    "refused",  # a ModelLoadError
    "infer",  # to the worker: outputs, parameters, inputs
    "outputs",
    "error",  # a RequestError
    "failed",  # any other exception
)
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is for; the server sends it, because a command line is for everybody to read."""

    path: Path
    config: ModelConfig
    name: str
    log_level: int = logging.INFO

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
        _serve(Channel(connection))
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)  # a model that hangs in a thread must not keep the process alive


def _end_with(server: int) -> None:
    """Has the kernel kill this process when the server ends, also while the model computes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(0)


def _serve(channel: Channel) -> None:
    task: Task = pickle.loads(base64.b64decode(channel.receive().fields["task"]))  # noqa: S301  # the server's own
    logging.basicConfig(format="%(asctime)s %(levelname)s [worker %(process)d] %(message)s", level=task.log_level)
    runtime = _load(channel, task)
    if runtime is None:
        return
    keep_loaded()
    while True:
        try:
            message = channel.receive()
        except ClosedError:
            runtime.close()
            return
        _answer(channel, runtime, message)


def _load(channel: Channel, task: Task) -> Runtime | None:
    """The model, once the server knows of it; None where it could not be loaded, which the server then knows too."""
    started = time.perf_counter()
    try:
        runtime = load_runtime(task.path, task.config)
        require_plain(runtime, task.name)
        if task.config.warm_up:
            warm_up(runtime, task.name)
        fields = {
            "signature": signature_document(runtime.signature),
            "is_async": isinstance(runtime, AsyncRuntime),
            "seconds": time.perf_counter() - started,
        }
        channel.send(Message(READY, fields))
    except ClosedError:
        raise
    except ModelLoadError as error:
        fields = {"message": error.message, "hint": error.hint, "traceback": traceback.format_exc()}
        channel.send(Message(REFUSED, fields))
    except BaseException as error:  # noqa: BLE001  # whatever the model raises, also SystemExit, goes to the server
        channel.send(_failed(error))
    else:
        return runtime
    return None


def require_plain(runtime: Runtime, name: str) -> None:
    """Raises ModelLoadError for a model that does more than answer one request with one answer."""
    more = sorted(getattr(runtime, "operations", ()))
    if hasattr(runtime, "stream"):
        more.append("a predict that yields")
    if more:
        raise ModelLoadError(
            f"model '{name}' has {', '.join(more)}, which only a model in threads of the server can offer",
            f"say execution: thread in {FILE_NAME}",
        )


def _answer(channel: Channel, runtime: Runtime, message: Message) -> None:
    fields = message.fields
    try:
        outputs = runtime.infer(Inference(message.tensors, tuple(fields["outputs"]), fields["parameters"]))
        channel.send(Message(OUTPUTS, tensors=outputs))
    except ClosedError:
        raise
    except RequestError as error:
        channel.send(Message(ERROR, {"class": _known_class(error), "message": str(error)}))
    except BaseException as error:  # noqa: BLE001  # goes to the server, also SystemExit
        channel.send(_failed(error))


def _known_class(error: RequestError) -> str:
    """The nearest class that the server knows too; a model may have derived its own."""
    return next(each.__name__ for each in type(error).__mro__ if each.__module__ == RequestError.__module__)


def _failed(error: BaseException) -> Message:
    fields = {"class": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
    return Message(FAILED, fields)
