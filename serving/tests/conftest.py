"""Models on disk, applications in this process, and server processes on the loopback interface."""

from __future__ import annotations

import socket
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from processes import Process

from slipway_serving.app import App
from slipway_serving.http.server import HttpServer
from slipway_serving.metrics import Metrics
from slipway_serving.models import ServedModel
from slipway_serving.repository import Repository
from slipway_serving.sources import Settings

IRIS = Path(__file__).parents[2] / "examples" / "iris"

ECHO = """
class Model:
    def predict(self, inputs):
        return inputs
"""


@pytest.fixture
def iris() -> Path:
    return IRIS


@pytest.fixture
def python_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes a directory with a Python model."""

    def write(source: str = ECHO, settings: str = "", name: str = "echo") -> Path:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        (directory / "model.py").write_text(textwrap.dedent(source))
        (directory / "model.yaml").write_text(textwrap.dedent(settings))
        return directory

    return write


Serving = Callable[..., AbstractAsyncContextManager[httpx2.AsyncClient]]


@pytest.fixture
def serving() -> Serving:
    """A client of a server in this process, on the loopback interface, with loaded models."""

    @asynccontextmanager
    async def start(path: Path, *, settings: Settings | None = None, mode: str = "none", **limits: int):
        metrics = Metrics()
        repository = Repository(path, settings or Settings(), metrics, mode)
        repository.discover()
        await repository.load_all()
        listener = socket.create_server(("127.0.0.1", 0))
        app = App(repository, metrics, **{name: limit for name, limit in limits.items() if name == "max_body"})
        server = HttpServer(app, **limits)
        await server.listen(listener)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx2.AsyncClient(base_url=address, timeout=30) as client:
            yield client
        await server.close(5)
        repository.close()

    return start


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    processes: list[Process] = []

    def run(path: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Process:
        processes.append(Process(path, *arguments, environment=environment))
        return processes[-1]

    yield run
    for process in processes:
        process.popen.kill()
        process.popen.communicate()


def load_model(path: Path, **settings: object) -> ServedModel:
    """The only model at a path, not loaded yet."""
    repository = Repository(path, Settings(**settings), Metrics())
    repository.discover()
    return next(iter(repository))
