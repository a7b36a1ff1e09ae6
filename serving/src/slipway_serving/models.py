"""The models that a server serves: finding their files, loading, warming up, running."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from slipway_serving.config import FILE_NAME, NAME, ModelConfig, read_config
from slipway_serving.datatypes import Tensors
from slipway_serving.errors import (
    ModelFailedError,
    ModelLoadError,
    NotFoundError,
    RequestError,
    UnavailableError,
    did_you_mean,
)
from slipway_serving.metrics import Metrics
from slipway_serving.runtimes.base import FORMATS, AsyncRuntime, Inference, Runtime, format_of, load_runtime
from slipway_serving.scheduling import AsyncScheduler, Scheduler, ThreadScheduler
from slipway_serving.signature import Signature

log = logging.getLogger("slipway_serving")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model is and what it is called, known before anything is loaded."""

    path: Path
    config: ModelConfig
    name: str
    format: str


def find_model(path: Path, name: str = "", *, allow_pickle: bool = False) -> ModelSource:
    """Looks at a model's directory or file. Raises ModelLoadError saying what is missing."""
    if not path.exists():
        raise ModelLoadError(f"{path} does not exist", "give the path of a model's directory, or of a model file")
    config = read_config(path) if path.is_dir() else ModelConfig()
    if allow_pickle:
        config = dataclasses.replace(config, allow_pickle=True)
    file = _model_file(path, config) if path.is_dir() else path
    name = name or config.name or (path.resolve().name if path.is_dir() else path.stem)
    if not NAME.fullmatch(name):
        raise ModelLoadError(
            f"'{name}' cannot be a model's name: letters, digits, '.', '_' and '-' only", "give one with --name"
        )
    return ModelSource(file, config, name, format_of(file, config.format).name)


def _model_file(directory: Path, config: ModelConfig) -> Path:
    if config.file:
        file = (directory / config.file).resolve()
        if not file.is_relative_to(directory.resolve()) or not file.is_file():
            raise ModelLoadError(f"{FILE_NAME} names the file '{config.file}', which is not in {directory}")
        return file
    suffixes = [suffix for each in FORMATS.values() for suffix in each.suffixes]
    formats = [FORMATS[config.format]] if config.format in FORMATS else list(FORMATS.values())
    candidates = sorted(
        file
        for file in directory.iterdir()
        if any(file.suffix in each.suffixes for each in formats) and (file.suffix != ".py" or file.name == "model.py")
    )
    named = [file for file in candidates if file.stem == "model"] or candidates
    if len(named) == 1:
        return named[0]
    if not named:
        raise ModelLoadError(
            f"{directory} holds no model", f"expected model.py, or one file that ends in {', '.join(suffixes[:-1])}"
        )
    found = ", ".join(file.name for file in named[:5])
    raise ModelLoadError(f"{directory} holds several model files: {found}", f"say which with 'file:' in {FILE_NAME}")


class State(enum.Enum):
    """A model's life."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed to load"
    UNLOADED = "unloaded"


class ServedModel:
    """One model and what runs it. All methods are for the event loop's thread."""

    def __init__(self, source: ModelSource, metrics: Metrics) -> None:
        self.name = source.name
        self.version = source.config.version
        self.platform = source.format
        self.state = State.LOADING
        self.signature = Signature()
        self.in_flight = 0
        self.metrics = metrics.for_model(source.name)
        self._source = source
        self._runtime: Runtime | None = None
        self._scheduler: Scheduler | None = None
        self.metrics.follow(lambda: self.in_flight, lambda: self.depth, lambda: self.state is State.READY)

    @property
    def depth(self) -> int:
        """Requests waiting for the model."""
        return self._scheduler.depth if self._scheduler else 0

    async def load(self) -> float:
        """Loads and warms up in a thread; returns the seconds it took. Raises ModelLoadError."""
        started = time.perf_counter()
        try:
            runtime = await asyncio.wrap_future(in_thread(lambda: _load(self._source)))
        except BaseException:
            self.state = State.FAILED
            raise
        config = self._source.config
        observe = self.metrics.computed
        self._runtime, self.signature = runtime, runtime.signature
        if isinstance(runtime, AsyncRuntime):
            self._scheduler = AsyncScheduler(runtime, observe, queue_size=config.queue_size)
        else:
            self._scheduler = ThreadScheduler(
                runtime,
                observe,
                instances=config.instances,
                batch_size=config.batch_size,
                queue_size=config.queue_size,
            )
        self.state = State.READY
        seconds = time.perf_counter() - started
        self.metrics.loaded(seconds)
        return seconds

    def unload(self) -> None:
        """Refuses further requests."""
        self.state = State.UNLOADED
        if self._scheduler is not None:
            self._scheduler.close()

    def require_ready(self) -> None:
        """Raises UnavailableError where the model does not answer now."""
        if self.state is not State.READY:
            raise UnavailableError(f"model '{self.name}' is {self.state.value}")

    async def infer(self, request: Inference) -> Tensors:
        """Runs one request. Raises a RequestError and nothing else."""
        if self._scheduler is None:
            self.require_ready()
            raise UnavailableError(f"model '{self.name}' is not loaded")
        try:
            return await self._scheduler.submit(request)
        except RequestError:
            raise
        except Exception as error:
            log.exception("model '%s' failed on a request", self.name)
            raise ModelFailedError(
                f"model '{self.name}' failed on this request ({type(error).__name__}); the server's log has the details"
            ) from error

    def metadata(self) -> dict[str, Any]:
        """As V2 answers it."""
        return {
            "name": self.name,
            **({"versions": [self.version]} if self.version else {}),
            "platform": self.platform,
            "inputs": [spec.metadata() for spec in self.signature.inputs],
            "outputs": [spec.metadata() for spec in self.signature.all_outputs],
        }


def _load(source: ModelSource) -> Runtime:
    runtime = load_runtime(source.path, source.config)
    signature = runtime.signature
    if source.config.batch_size > 1 and not (signature.is_batch and not isinstance(runtime, AsyncRuntime)):
        raise ModelLoadError(
            f"model '{source.name}' cannot batch: every input and output must be declared with -1 as first dimension, "
            "and predict must not be async",
            f"declare inputs and outputs, or remove 'batching' from {FILE_NAME}",
        )
    if source.config.warm_up and signature.inputs:
        _warm_up(runtime, source.name)
    return runtime


def _warm_up(runtime: Runtime, name: str) -> None:
    """One call with the example. Only an example that a person gave must work; one made up from shapes need not fit."""
    signature = runtime.signature
    try:
        runtime.infer(Inference(signature.example()))
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:300]
        if all(spec.example is not None for spec in signature.inputs):
            raise ModelLoadError(f"the model failed on its own example: {type(error).__name__}: {reason}") from error
        log.warning(
            "model '%s' did not take a made-up example (%s); give one in %s to warm it up", name, reason, FILE_NAME
        )


def in_thread(function: Callable[[], T]) -> Future[T]:
    """Runs a function in a thread that the end of the process does not wait for."""
    future: Future[T] = Future()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  # goes to whoever waits
            future.set_exception(error)

    threading.Thread(target=run, name="loader", daemon=True).start()
    return future


class Repository:
    """The models of a server, by name."""

    def __init__(self, models: list[ServedModel]) -> None:
        self._models = {model.name: model for model in models}

    def __iter__(self) -> Any:
        return iter(self._models.values())

    def find(self, name: str, version: str = "") -> ServedModel:
        """Raises NotFoundError for a model or version that this server does not have."""
        model = self._models.get(name)
        if model is None:
            raise NotFoundError(f"model '{name:.80}' is not served here; {did_you_mean(name, self._models)}")
        if version and version != model.version:
            have = f"its version is {model.version}" if model.version else "it has no versions"
            raise NotFoundError(f"model '{name}' has no version '{version:.80}'; {have}")
        return model

    def require_ready(self) -> None:
        """Raises UnavailableError unless every model is ready."""
        for model in self._models.values():
            model.require_ready()
