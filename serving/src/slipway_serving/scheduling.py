"""Between the event loop and a model: who runs when, and how many rows share one call.

Work-conserving: a free instance takes whatever is queued at once, up to the batch size; nothing ever waits for a timer.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

import numpy as np

from slipway_serving.datatypes import Tensors
from slipway_serving.errors import OverloadedError, UnavailableError
from slipway_serving.runtimes.base import AsyncRuntime, Inference, Runtime

Observe = Callable[[float, float, int], None]
"""Told about every call of the model: seconds the first request waited, seconds it computed, rows."""


class Scheduler(Protocol):
    """Takes requests on the event loop and answers them from elsewhere."""

    @property
    def depth(self) -> int:
        """Requests that wait."""

    def submit(self, request: Inference) -> asyncio.Future[Tensors]:
        """Queues a request; cancelling the future takes it out again. Raises OverloadedError when the queue is full."""

    def close(self) -> None:
        """Refuses what is queued and what comes (UnavailableError); what runs is still answered."""


@dataclass(slots=True, eq=False)
class _Job:
    request: Inference
    future: asyncio.Future[Tensors]
    queued: float
    rows: int = 1
    group: Hashable = None
    """Jobs of equal groups may share a call; None runs alone."""
    result: Tensors | None = None
    error: Exception | None = None


class ThreadScheduler:
    """Threads that call a blocking model; answers come back to the loop together, one wake-up for many."""

    def __init__(
        self, runtime: Runtime, observe: Observe, *, instances: int = 1, batch_size: int = 1, queue_size: int = 1000
    ) -> None:
        self._runtime = runtime
        self._observe = observe
        self._batch_size = batch_size
        self._queue_size = queue_size
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Job] = deque()
        self._lock = threading.Lock()
        # One token a job wakes one thread a job; a batch takes more jobs than tokens, whose surplus wakes find nothing.
        self._tokens: SimpleQueue[bool] = SimpleQueue()
        self._done: deque[_Job] = deque()
        self._wake_pending = False
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"model-{index}", daemon=True) for index in range(instances)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        return len(self._queue)

    def submit(self, request: Inference) -> asyncio.Future[Tensors]:
        if self._closed:
            raise UnavailableError("the model is unloaded")
        if len(self._queue) >= self._queue_size:
            raise OverloadedError(f"the queue is full ({self._queue_size} requests wait); try again later")
        job = _Job(request, self._loop.create_future(), time.perf_counter())
        if self._batch_size > 1:
            _classify(job)
        self._queue.append(job)
        self._tokens.put(True)
        return job.future

    def close(self) -> None:
        self._closed = True
        while self._queue:
            job = self._queue.popleft()
            job.error = UnavailableError("the model is unloaded")
            self._deliver([job])
        for _ in self._threads:
            self._tokens.put(False)

    def _work(self) -> None:
        while self._tokens.get():
            jobs = self._take()
            if jobs:
                self._run(jobs)

    def _take(self) -> list[_Job]:
        """The oldest job, and every later one that fits into its batch."""
        with self._lock:
            jobs: list[_Job] = []
            rows = 0
            passed: list[_Job] = []
            while self._queue and rows < self._batch_size:
                if jobs and jobs[0].group is None:
                    break
                job = self._queue.popleft()
                if job.future.cancelled():
                    continue
                if not jobs or (job.group == jobs[0].group and rows + job.rows <= self._batch_size):
                    jobs.append(job)
                    rows += job.rows
                else:
                    passed.append(job)
            self._queue.extendleft(reversed(passed))
            return jobs

    def _run(self, jobs: list[_Job]) -> None:
        started = time.perf_counter()
        merged = len(jobs) > 1 and self._run_merged(jobs)
        if not merged:
            for job in jobs:
                self._run_alone(job)
        finished = time.perf_counter()
        self._observe(started - jobs[0].queued, finished - started, sum(job.rows for job in jobs))
        self._deliver(jobs)

    def _run_merged(self, jobs: list[_Job]) -> bool:
        """One call for all; False where it failed or cannot be split, and each has to run alone."""
        first = jobs[0].request
        inputs = {name: np.concatenate([job.request.inputs[name] for job in jobs]) for name in first.inputs}
        total = sum(job.rows for job in jobs)
        try:
            outputs = self._runtime.infer(Inference(inputs, first.outputs, first.parameters))
        except Exception:  # noqa: BLE001  # whichever request is at fault, each is run alone and tells its own error
            return False
        if any(array.ndim == 0 or array.shape[0] != total for array in outputs.values()):
            return False
        start = 0
        for job in jobs:
            end = start + job.rows
            job.result = {name: array[start:end] for name, array in outputs.items()}
            start = end
        return True

    def _run_alone(self, job: _Job) -> None:
        try:
            job.result = self._runtime.infer(job.request)
        except Exception as error:  # noqa: BLE001  # goes to the caller through the future
            job.error = error

    def _deliver(self, jobs: list[_Job]) -> None:
        self._done.extend(jobs)
        if not self._wake_pending:
            self._wake_pending = True
            self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        # Cleared before the queue is emptied: whoever adds later either is seen here or wakes the loop again.
        self._wake_pending = False
        while self._done:
            job = self._done.popleft()
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result or {})


def _classify(job: _Job) -> None:
    request = job.request
    shapes = [array.shape for array in request.inputs.values()]
    lengths = {shape[0] if shape else 0 for shape in shapes}
    if len(lengths) != 1 or 0 in lengths:
        return
    (job.rows,) = lengths
    tensors = frozenset((name, array.dtype.str, array.shape[1:]) for name, array in request.inputs.items())
    job.group = (tensors, request.outputs, frozenset(request.parameters.items()))


class AsyncScheduler:
    """Calls an async model side by side; as many at once as its queue size allows."""

    def __init__(self, runtime: AsyncRuntime, observe: Observe, *, queue_size: int = 1000) -> None:
        self._runtime = runtime
        self._observe = observe
        self._queue_size = queue_size
        self._running = 0
        self._closed = False

    @property
    def depth(self) -> int:
        return 0

    def submit(self, request: Inference) -> asyncio.Future[Tensors]:
        if self._closed:
            raise UnavailableError("the model is unloaded")
        if self._running >= self._queue_size:
            raise OverloadedError(f"{self._queue_size} requests are running; try again later")
        self._running += 1
        started = time.perf_counter()
        future = asyncio.wrap_future(self._runtime.start(request))
        future.add_done_callback(lambda _: self._finished(started))
        return future

    def _finished(self, started: float) -> None:
        self._running -= 1
        self._observe(0.0, time.perf_counter() - started, 1)

    def close(self) -> None:
        self._closed = True
