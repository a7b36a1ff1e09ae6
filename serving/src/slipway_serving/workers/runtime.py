"""A model in worker processes, as a `Runtime`: each call takes a free worker and waits for its answer.

A worker runs one request, or one batch, or one stream, at a time, also where the model is async. When one ends in the
middle, what it held is answered 503 and is not run again, for it may be why the worker ended; everybody else goes to
another worker, or waits for the next one.

`Workers` are the processes, `ProcessRuntime` is the model in them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, wait
from pathlib import Path
from typing import Any, Protocol, TypeVar

from slipway_serving.config import FILE_NAME, ModelConfig
from slipway_serving.cpus import available_cpus
from slipway_serving.datatypes import Tensors
from slipway_serving.errors import ModelLoadError, UnavailableError
from slipway_serving.runtimes.base import Inference, Stream
from slipway_serving.runtimes.operations import Calls
from slipway_serving.workers import values
from slipway_serving.workers.messages import END, INFER, PART, STREAM, Message, UnsentError
from slipway_serving.workers.process import EndedError, Loaded, inference
from slipway_serving.workers.supervisor import Pool, Supervisor
from slipway_serving.workers.worker import Task

log = logging.getLogger("slipway_serving")
T = TypeVar("T")
Answers = Generator[Message, None, None]
CLOSE_SECONDS = 10.0
"""How long `close` lets workers end what they do."""


class Source(Protocol):
    """Where a model is, as the repository knows it."""

    @property
    def path(self) -> Path: ...

    @property
    def config(self) -> ModelConfig: ...

    @property
    def name(self) -> str: ...


class Tracing(Protocol):
    """How a model's own spans in a worker become part of a request's trace."""

    collector: str
    """Where they go; "" where the usual variables say it."""

    def headers(self) -> Mapping[str, str]:
        """The context of whoever calls, as W3C's headers."""


class Workers:
    """The worker processes of a model, and who of those that call has which."""

    def __init__(self, source: Source, count: int, restarted: Callable[[], None], traces: str | None) -> None:
        self._name = source.name
        self.pool = Pool(source.name, count)
        config = dataclasses.replace(source.config, instances=1)  # of each worker; they are `count`
        task = Task(source.path, config, source.name, log.getEffectiveLevel(), traces)
        share = max(1, available_cpus() // count)
        self._supervisors = [Supervisor(task, number, share, self.pool, restarted) for number in range(1, count + 1)]

    def load(self) -> Loaded:
        """Waits until each worker has loaded and warmed up. Raises ModelLoadError, and what else a model may raise."""
        try:
            first = [supervisor.first for supervisor in self._supervisors]
            for future in wait(first, return_when=FIRST_EXCEPTION).done:
                future.result()
        except EndedError as error:
            self.close(0)
            raise ModelLoadError(
                f"the worker process of model '{self._name}' {error} while it loaded the model",
                "signal 9 mostly means that memory ran out: each worker holds the whole model; start fewer of them",
            ) from error
        except OSError as error:
            self.close(0)
            raise ModelLoadError(
                f"a worker process of model '{self._name}' cannot be started: {error.strerror or error}",
                "there may be a limit on processes or memory; start fewer of them",
            ) from error
        except BaseException:
            self.close(0)
            raise
        loaded = first[0].result()
        if loaded.is_async:
            log.warning(
                "model '%s' has an async predict, of which a worker process runs one at a time; with execution: thread "
                "in %s its requests run side by side",
                self._name,
                FILE_NAME,
            )
        return loaded

    def infer(self, message: Message) -> Tensors:
        """Raises UnavailableError where the worker ended meanwhile: the request must not be run again."""
        while True:
            worker = self.pool.take()
            try:
                return worker.infer(message)
            except UnsentError:  # it had ended before; the request is still nobody's
                continue
            except EndedError as error:
                raise self._lost(error) from None
            finally:
                self.pool.give(worker)

    def answers(self, message: Message, gone: threading.Event) -> Answers:
        """As `WorkerProcess.answers`, of a free one. Raises UnavailableError as `infer` does."""
        while True:
            worker = self.pool.take()
            try:
                if not gone.is_set():  # while this waited for a worker
                    yield from worker.answers(message, gone)
            except UnsentError:
                continue
            except EndedError as error:
                raise self._lost(error) from None
            else:
                return
            finally:
                self.pool.give(worker)

    def _lost(self, error: EndedError) -> UnavailableError:
        return UnavailableError(
            f"the worker process of model '{self._name}' {error} while it had this request; it is being restarted"
        )

    def close(self, seconds: float) -> None:
        """Lets workers end what they do, kills those that take longer, and waits for the last one's end."""
        deadline = time.monotonic() + seconds
        self.pool.close()
        for supervisor in self._supervisors:
            supervisor.stop()
        for supervisor in self._supervisors:
            supervisor.join(max(0.0, deadline - time.monotonic()))


class ProcessRuntime:
    """Call `infer` from as many threads as there are workers."""

    def __init__(self, workers: Workers, loaded: Loaded, calls: Calls, tracing: Tracing | None) -> None:
        self.signature = loaded.signature
        self.operations = loaded.operations
        self._workers = workers
        self._calls = calls
        self._trace: Callable[[], Mapping[str, str]] = dict if tracing is None else tracing.headers

    @property
    def healthy(self) -> bool:
        """False while all workers are down and cannot be started soon; true again when one is up."""
        return self._workers.pool.healthy

    def infer(self, request: Inference) -> Tensors:
        """Raises UnavailableError where the worker ended meanwhile: the request must not be run again."""
        return self._workers.infer(inference(INFER, request, self._trace()))

    async def call(self, operation: str, payload: Any) -> Any | Stream[Any]:
        message = values.call_message(operation, payload, self._trace())
        gone = threading.Event()
        call = self._calls.stream(self._answer, message, gone)
        call.on_leave = gone.set
        return await call.answer()

    def _answer(self, message: Message, gone: threading.Event) -> Any:
        """What an operation returned, or a generator of what it yields."""
        answers = self._workers.answers(message, gone)
        first = next(answers)
        if first.kind != END:
            return _contents(answers, values.unpack)
        with contextlib.closing(answers):
            return values.unpack(first)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Lets workers end what they do, kills those that take longer, and waits for the last one's end."""
        self._calls.close()
        self._workers.close(seconds)


class StreamingProcessRuntime(ProcessRuntime):
    """A model whose `predict` yields."""

    def stream(self, request: Inference) -> Stream[Tensors]:
        gone = threading.Event()
        call = self._calls.stream(self._items, inference(STREAM, request, self._trace()), gone)
        call.on_leave = gone.set
        return call

    def _items(self, message: Message, gone: threading.Event) -> Iterator[Tensors]:
        return _contents(self._workers.answers(message, gone), lambda part: part.tensors)


def _contents(answers: Answers, read: Callable[[Message], T]) -> Iterator[T]:
    with contextlib.closing(answers):
        for answer in answers:
            if answer.kind == PART:
                yield read(answer)


def start_workers(
    source: Source,
    count: int,
    restarted: Callable[[], None] = lambda: None,
    tracing: Tracing | None = None,
) -> ProcessRuntime:
    """Starts the workers of a model and waits until all have loaded it; for a thread, as it blocks.

    `restarted` is told, from any thread, of each worker that is started in another's place. Raises ModelLoadError as
    the model's own runtime does, and whatever else the model raises while it loads.
    """
    workers = Workers(source, count, restarted, None if tracing is None else tracing.collector)
    loaded = workers.load()
    calls = Calls(count, source.config.batching.queue_size, ahead=1)  # a model runs ahead in its worker
    return (StreamingProcessRuntime if loaded.streams else ProcessRuntime)(workers, loaded, calls, tracing)
