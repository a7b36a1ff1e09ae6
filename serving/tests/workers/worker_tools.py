"""Models for workers to run, programs that own workers, and ways to ask."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from slipway_serving.config import read_config
from slipway_serving.runtimes.base import Inference

PATIENCE = 60.0
EMPTY = Inference({})

MODEL = """
    import os, signal, sys, numpy as np
    from slipway_serving import InvalidInputError
    from slipway_serving.errors import BodyTooLargeError, OverloadedError

    class Own(InvalidInputError):
        pass

    class Model:
        def predict(self, inputs, parameters):
            return getattr(self, parameters.get("do", "echo"))(inputs, parameters)

        def echo(self, inputs, parameters):
            return inputs

        def process(self, inputs, parameters):
            return np.array([os.getpid()])

        def told(self, inputs, parameters):
            return np.array([repr(parameters)])

        def variables(self, inputs, parameters):
            return np.array([os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "SLIPWAY_SERVE_WORKER_CPUS")])

        def modules(self, inputs, parameters):
            return np.array(sorted(sys.modules))

        def end(self, inputs, parameters):
            os.kill(os.getpid(), parameters["signal"])

        def leave(self, inputs, parameters):
            os._exit(3)

        def exit(self, inputs, parameters):
            sys.exit("no")

        def garble(self, inputs, parameters):
            for number in map(int, os.listdir("/proc/self/fd")):
                if number > 2 and os.path.realpath(f"/proc/self/fd/{number}").endswith("]"):
                    os.write(number, b"print() of a library that writes anywhere")

        def cut(self, inputs, parameters):
            os.closerange(3, 256)
            signal.pause()

        def refuse(self, inputs, parameters):
            raise {"own": Own, "full": OverloadedError, "large": BodyTooLargeError}[parameters["how"]]("not this one")

        def fail(self, inputs, parameters):
            return 1 / 0

        def complex(self, inputs, parameters):
            return np.ones(1, complex)
"""
HELD = """
    import os

    class Model:
        def load(self, directory):
            self.directory = directory

        def predict(self, inputs):
            entered = os.open(self.directory / "entered", os.O_WRONLY)
            os.write(entered, f"{os.getpid()}\\n".encode())
            os.close(entered)
            with open(self.directory / "gate"):
                return inputs
"""

SERVER = """
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from slipway_serving.config import ModelConfig
from slipway_serving.runtimes.base import Inference
from slipway_serving.workers.runtime import start_workers
runtime = start_workers(SimpleNamespace(path=Path(sys.argv[1]), config=ModelConfig(), name="echo"), 1)
"""
"""The begin of a program that is a server, as far as its workers know."""


def source(file: Path) -> SimpleNamespace:
    return SimpleNamespace(path=file, config=read_config(file.parent), name="echo")


def run(program: str, file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SERVER + program, file]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def call(do: str, **parameters) -> Inference:
    return Inference({}, parameters={"do": do, **parameters})


def only(outputs):
    (array,) = outputs.values()
    return array.tolist()


def said(item: bytes | str) -> str:
    return item.decode() if isinstance(item, bytes) else item


def has_ended(pid: int) -> bool:
    """Whether a process ends within the patience; it need not be a child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], PATIENCE)[0])
    finally:
        os.close(descriptor)


def worker_processes() -> list[str]:
    """The workers, zombies included, that this process has."""
    children = []
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError):  # the thread has ended meanwhile
            children += task.read_text().split()
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, command in commands.items() if not command or b"slipway_serving.workers" in command]
