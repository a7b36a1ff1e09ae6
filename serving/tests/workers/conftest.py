"""Workers that have ended when the test has."""

from __future__ import annotations

import os

import pytest
from worker_tools import HELD, MODEL, source

from slipway_serving.workers.runtime import start_workers


@pytest.fixture
def workers(python_model):
    """Starts the workers of a Python model; they have ended when the test has."""
    started = []

    def start(text=MODEL, settings="", count=1, restarted=lambda: None):
        started.append(start_workers(source(python_model(text, settings) / "model.py"), count, restarted))
        return started[-1]

    yield start
    for runtime in started:
        runtime.close()


@pytest.fixture
def held(workers, tmp_path):
    """A model whose call says its process id, and waits for a gate."""
    directory = tmp_path / "echo"
    directory.mkdir()
    os.mkfifo(directory / "entered")
    os.mkfifo(directory / "gate")
    runtime = workers(HELD)

    def entered() -> int:
        return int((directory / "entered").read_text())

    def open_gate() -> None:
        (directory / "gate").write_text("")

    return runtime, entered, open_gate
