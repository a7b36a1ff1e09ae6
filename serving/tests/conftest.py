"""Models on disk, applications in this process, and server processes on the loopback interface."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from slipway_serving.app import App
from slipway_serving.metrics import Metrics
from slipway_serving.models import Repository, ServedModel, find_model

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
    """A client of an application in this process, with a loaded model."""

    @asynccontextmanager
    async def start(path: Path, **options: int) -> AsyncIterator[httpx2.AsyncClient]:
        metrics = Metrics()
        model = ServedModel(find_model(path), metrics)
        await model.load()
        app = App(Repository([model]), metrics, **options)
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
            yield client
        model.unload()

    return start
