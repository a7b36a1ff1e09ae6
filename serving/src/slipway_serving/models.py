"""One version of a model that is served: loading, warming up, running, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from slipway_serving.allocator import give_back
from slipway_serving.config import FILE_NAME
from slipway_serving.datatypes import Tensors
from slipway_serving.errors import ModelLoadError, UnavailableError
from slipway_serving.metrics import Metrics
from slipway_serving.runtimes.base import AsyncRuntime, Inference, Runtime, load_runtime
from slipway_serving.scheduling import AsyncScheduler, Scheduler, ThreadScheduler
from slipway_serving.signature import Signature
from slipway_serving.sources import ModelSource
from slipway_serving.warming import warm_up
from slipway_serving.workers.runtime import Tracing as WorkerTracing
from slipway_serving.workers.runtime import start_workers

log = logging.getLogger("slipway_serving")
T = TypeVar("T")


class State(enum.Enum):
    """A model's life."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed to load"
    UNLOADING = "being unloaded"
    UNLOADED = "unloaded"


class Tracing(WorkerTracing, Protocol):
    """What puts a trace's spans around the calls of models, in threads and in worker processes."""

    def watch(self, runtime: Runtime, name: str) -> Runtime:
        """The runtime with a span around each call."""

    def carry(self, scheduler: Scheduler) -> Scheduler:
        """The scheduler with the context of whoever submits in each request."""


class ServedModel:
    """One version of a model and what runs it. All methods are for the event loop's thread."""

    def __init__(self, source: ModelSource, metrics: Metrics, tracing: Tracing | None = None) -> None:
        self.name = source.name
        self.version = source.version
        self.platform = source.format
        self.source = source
        self.state = State.LOADING
        self.reason = ""
        self.signature = Signature()
        self.in_flight = 0
        self.metrics = metrics.for_model(source.name, source.version)
        self.runtime: Runtime | None = None
        self._scheduler: Scheduler | None = None
        self._tracing = tracing
        self._idle: asyncio.Event | None = None

    @property
    def depth(self) -> int:
        """Requests waiting for the model."""
        return self._scheduler.depth if self._scheduler else 0

    @property
    def is_ready(self) -> bool:
        return self.state is State.READY and self._is_healthy()

    def _is_healthy(self) -> bool:
        """False while no worker process of the model is up, and none comes soon."""
        return bool(getattr(self.runtime, "healthy", True))

    async def load(self) -> float:
        """Loads and warms up in a thread; returns the seconds it took. Raises ModelLoadError."""
        started = time.perf_counter()

        def load() -> Runtime:
            return _load(self.source, self.metrics.worker_restarted, self._tracing)

        try:
            runtime = await asyncio.wrap_future(in_thread(load))
        except BaseException as error:
            self.state, self.reason = State.FAILED, str(error)
            raise
        config = self.source.config
        observe = self.metrics.computed
        self.runtime, self.signature = runtime, runtime.signature
        if isinstance(runtime, AsyncRuntime):
            self._scheduler = AsyncScheduler(runtime, observe, queue_size=config.batching.queue_size, name=self.name)
        else:
            traced = runtime if self._tracing is None else self._tracing.watch(runtime, self.name)
            self._scheduler = ThreadScheduler(
                traced, observe, config.batching, instances=config.instances, name=self.name
            )
        if self._tracing is not None:
            self._scheduler = self._tracing.carry(self._scheduler)
        self.state = State.READY
        self.metrics.follow(lambda: self.in_flight, lambda: self.depth, lambda: self.is_ready)
        seconds = time.perf_counter() - started
        self.metrics.loaded(seconds)
        return seconds

    async def retire(self, seconds: float) -> None:
        """Lets go of the model once those who have it are answered, at the latest after so many seconds."""
        if self.in_flight:
            self._idle = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), seconds)
        self.unload()
        give_back()

    def enter(self) -> None:
        """Somebody has this model in hand: it stays until `leave`."""
        self.in_flight += 1

    def leave(self) -> None:
        self.in_flight -= 1
        if self._idle is not None and not self.in_flight:
            self._idle.set()

    def unload(self) -> Future[None] | None:
        """Refuses what is queued and what comes, and lets go of the model when nothing runs any more.

        What takes time of that happens in a thread; the future is its end.
        """
        self.state = State.UNLOADED
        scheduler, runtime = self._scheduler, self.runtime
        self._scheduler = self.runtime = None
        if scheduler is not None:
            scheduler.close()
        if runtime is not None and not isinstance(runtime, AsyncRuntime):
            return in_thread(runtime.close)
        if runtime is not None:
            runtime.close()
        return None

    def require_ready(self) -> None:
        """Raises UnavailableError where the model does not answer now."""
        if self.state is not State.READY:
            raise UnavailableError(f"model '{self.name}' is {self.state.value}")
        if not self._is_healthy():
            raise UnavailableError(f"the worker processes of model '{self.name}' ended, and are being restarted")

    def submit(self, request: Inference) -> asyncio.Future[Tensors]:
        """Queues one request. Raises a RequestError, or the future does, and nothing else."""
        if self._scheduler is None:
            raise UnavailableError(f"model '{self.name}' is {self.state.value}")
        return self._scheduler.submit(request)

    async def infer(self, request: Inference) -> Tensors:
        """Runs one request. Raises a RequestError and nothing else."""
        return await self.submit(request)

    def metadata(self, versions: list[str]) -> dict[str, Any]:
        """As V2 answers it."""
        return {
            "name": self.name,
            **({"versions": versions} if versions else {}),
            "platform": self.platform,
            "inputs": [spec.metadata() for spec in self.signature.inputs],
            "outputs": [spec.metadata() for spec in self.signature.all_outputs],
        }


def _load(source: ModelSource, restarted: Callable[[], None], tracing: Tracing | None) -> Runtime:
    config = source.config
    in_processes = config.execution == "process"
    runtime: Runtime
    if in_processes:
        runtime = start_workers(source, config.instances, restarted, tracing)
    else:
        runtime = load_runtime(source.path, config)
    signature = runtime.signature
    if config.batching.max_size > 1 and not (signature.is_batch and not isinstance(runtime, AsyncRuntime)):
        runtime.close()
        raise ModelLoadError(
            f"model '{source.name}' cannot batch: every input and output must be declared with -1 as first dimension, "
            "and predict must not be async",
            f"declare inputs and outputs, or remove 'batching' from {FILE_NAME}",
        )
    if config.warm_up and not in_processes:  # workers have done it themselves
        warm_up(runtime, source.name)
    return runtime


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
