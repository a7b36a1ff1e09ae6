"""A real server process on loopback, with models that show everything that clients use."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from slipway_serving.conformance import models

SUMS = """
    class Model:
        inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
        outputs = [{"name": "y", "datatype": "FP32", "shape": [-1]}]

        def predict(self, inputs):
            return {"y": inputs["x"].sum(axis=1)}
"""
CHAT = """
    from slipway_serving import InvalidInputError

    class Model:
        def predict(self, inputs):
            return inputs

        def chat_completions(self, request):
            text = request["messages"][-1]["content"]
            if text == "refuse":
                raise InvalidInputError("not that word")
            return self.words(text)

        def words(self, text):
            yield "you said "
            yield text

        def completions(self, request):
            yield request["prompt"]
            yield ", continued"

        def embeddings(self, request):
            texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
            return [[float(len(text)), 0.5] for text in texts]
"""


@dataclass
class Server:
    """A server process."""

    process: subprocess.Popen[bytes]
    http_port: int
    grpc_port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def http(self) -> str:
        return f"127.0.0.1:{self.http_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("conformance")
    models.write(written)
    directory = written / "slipway"
    for name, source in (("sums", SUMS), ("other", SUMS), ("chat", CHAT)):
        (directory / name).mkdir()
        (directory / name / "model.py").write_text(textwrap.dedent(source))
    return directory


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Ends with the module; a server that does not stop cleanly, or logs a bug of its own, fails it."""
    http_port, grpc_port = _free_ports(2)
    log = tmp_path_factory.mktemp("server") / "log"
    # As environment variables, so that a server without one of them starts all the same, and only its clients fail.
    ports = {"SLIPWAY_SERVE_HTTP_PORT": str(http_port), "SLIPWAY_SERVE_GRPC_PORT": str(grpc_port)}
    command = [sys.executable, "-m", "slipway_serving", str(repository), "--host", "127.0.0.1", "--drain-window", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=os.environ | ports, stdout=output, stderr=output)
    started = Server(process, http_port, grpc_port, log)
    try:
        _wait_until_ready(started)
        yield started
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert "a bug of the server" not in log.read_text()


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{server.url}/v2/health/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert server.process.poll() is None, server.log.read_text()
            assert time.monotonic() < deadline, server.log.read_text()
            time.sleep(0.05)
