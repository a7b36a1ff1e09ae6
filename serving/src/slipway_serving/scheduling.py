"""Between the event loop and a model: who runs when, and how many rows share one call.

Work-conserving: a free instance takes whatever is queued at once, up to the batch size; nothing waits for a timer
unless `max_delay` says so.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import numpy as np

from slipway_serving.config import Batching
from slipway_serving.datatypes import Tensors
from slipway_serving.errors import (
    DeadlineExceededError,
    InvalidInputError,
    ModelFailedError,
    OverloadedError,
    RequestError,
    UnavailableError,
)
from slipway_serving.runtimes.base import AsyncRuntime, Inference, Runtime

log = logging.getLogger("slipway_serving")

Observe = Callable[[float, float, int], None]
"""Told about every call of the model: seconds the first request waited, seconds it computed, rows."""
PRIORITY, TIMEOUT = "priority", "timeout"
"""Triton's request parameters: 1 is served first, 0 is the default level; microseconds that a request may wait."""
_BURST_SECONDS = 0.001
"""Short calls run in bursts of this length, and the loop works between them: both need the interpreter's lock, and
fighting for it at every step doubles what a request costs."""
_MICROSECONDS = 1e-6


class Scheduler(Protocol):
    """Takes requests on the event loop and answers them from elsewhere."""

    @property
    def depth(self) -> int:
        """Requests that wait."""

    def submit(self, request: Inference) -> asyncio.Future[Tensors]:
        """Queues a request; cancelling the future takes it out again. Raises OverloadedError when the queue is full.

        The future brings a RequestError or the outputs, never another exception.
        """

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
    error: BaseException | None = None
    timer: asyncio.TimerHandle | None = None
    taken: bool = False


class ThreadScheduler:
    """Threads that call a blocking model; answers come back to the loop together, one wake-up for many."""

    def __init__(
        self,
        runtime: Runtime,
        observe: Observe,
        batching: Batching | None = None,
        *,
        instances: int = 1,
        name: str = "",
    ) -> None:
        self._runtime = runtime
        self._observe = observe
        self._batching = batching or Batching()
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._queues: list[deque[_Job]] = [deque() for _ in range(self._batching.priority_levels)]
        self._lock = threading.Lock()
        # A token says that there may be work; whoever leaves work behind puts another. The loop puts one after it has
        # read all sockets that were ready: a thread woken earlier would fight with it for the interpreter's lock.
        self._tokens: SimpleQueue[bool] = SimpleQueue()
        self._release_pending = False
        self._done: deque[_Job] = deque()
        self._calls: deque[tuple[float, float, int]] = deque()
        self._wake_pending = False
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"model-{name}-{index}", daemon=True) for index in range(instances)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """Requests that wait, and whose clients do."""
        return sum(not job.future.done() for queue in self._queues for job in list(queue))

    def submit(self, request: Inference) -> asyncio.Future[Tensors]:
        if self._closed:
            raise UnavailableError(f"model '{self._name}' is unloaded")
        queues = self._queues
        queued = len(queues[0]) if len(queues) == 1 else sum(map(len, queues))
        if queued >= self._batching.queue_size:
            self._make_room()
        job = _Job(request, self._loop.create_future(), time.perf_counter())
        queue = queues[0]
        if request.parameters:
            queue = queues[self._level(request.parameters.get(PRIORITY, 0))]
        timeout = self._timeout(request.parameters)
        if timeout:
            job.timer = self._loop.call_later(timeout, _expire, job, timeout)
        if self._batching.max_size > 1:
            _classify(job)
        queue.append(job)
        if not self._release_pending:
            self._release_pending = True
            self._loop.call_soon(self._release)
        return job.future

    def _make_room(self) -> None:
        """Takes those out whose clients wait no more. Raises OverloadedError where there are none."""
        with self._lock:
            for queue in self._queues:
                waiting = [job for job in queue if not job.future.done()]
                self._done.extend(job for job in queue if job.future.done())
                queue.clear()
                queue.extend(waiting)
        self._wake()
        if (depth := self.depth) >= self._batching.queue_size:
            raise OverloadedError(f"the queue is full ({depth} requests wait); try again later")

    def _release(self) -> None:
        self._release_pending = False
        self._tokens.put(True)

    def _level(self, priority: Any) -> int:
        levels = len(self._queues)
        if type(priority) is not int or priority < 0:
            raise InvalidInputError(f"parameters.priority must be a whole number from 0, got {priority!r:.40}")
        return min(priority or (levels + 1) // 2, levels) - 1

    def _timeout(self, parameters: dict[str, Any]) -> float:
        if TIMEOUT not in parameters:
            return self._batching.default_timeout
        given = parameters[TIMEOUT]
        if type(given) is not int or given < 0:
            raise InvalidInputError(f"parameters.timeout must be whole microseconds from 0, got {given!r:.40}")
        return float(given * _MICROSECONDS) or self._batching.default_timeout

    def close(self) -> None:
        self._closed = True
        with self._lock:
            jobs = list(self._drain())
        for job in jobs:
            job.error = UnavailableError(f"model '{self._name}' is unloaded")
        self._done.extend(jobs)
        self._wake()
        for _ in self._threads:
            self._tokens.put(False)

    def _drain(self) -> Iterator[_Job]:
        for queue in self._queues:
            while queue:
                yield queue.popleft()

    # In the threads

    def _work(self) -> None:
        while self._tokens.get():
            since = time.perf_counter()
            while jobs := self._next():
                started = time.perf_counter()
                self._run(jobs)
                self._done.extend(jobs)
                now = time.perf_counter()
                if not any(self._queues):
                    break
                if now - since > _BURST_SECONDS:
                    self._wake()
                    if now - started < _BURST_SECONDS:
                        break  # the loop gives the next token when it has read its sockets
                    since = now
            self._wake()

    def _next(self) -> list[_Job]:
        if self._batching.max_delay:
            self._wait_for_more()
        return self._take()

    def _wait_for_more(self) -> None:
        """Gives later requests time to join the oldest, until a preferred size is reached."""
        enough = min(self._batching.preferred_sizes, default=self._batching.max_size)
        oldest = min((queue[0].queued for queue in list(self._queues) if queue), default=0.0)
        deadline = oldest + self._batching.max_delay
        while not self._closed and self._waiting_rows() < enough:
            left = deadline - time.perf_counter()
            if left <= 0:
                return
            try:
                if not self._tokens.get(timeout=left):
                    self._tokens.put(False)
                    return
            except Empty:
                return

    def _waiting_rows(self) -> int:
        return sum(job.rows for queue in self._queues for job in list(queue))

    def _take(self) -> list[_Job]:
        """The oldest job of the first level that has one, and every later one that fits into its batch."""
        with self._lock:
            jobs: list[_Job] = []
            for queue in self._queues:
                self._take_from(queue, jobs)
            if self._batching.preferred_sizes:
                self._cut(jobs)
        if len(self._threads) > 1 and any(self._queues):
            self._tokens.put(True)
        return jobs

    def _take_from(self, queue: deque[_Job], jobs: list[_Job]) -> None:
        limit = self._batching.max_size
        rows = sum(job.rows for job in jobs)
        passed: list[_Job] = []
        while queue and rows < limit and (not jobs or jobs[0].group is not None):
            job = queue.popleft()
            if job.future.done():
                self._done.append(job)
            elif not jobs or (job.group == jobs[0].group and rows + job.rows <= limit):
                job.taken = True
                jobs.append(job)
                rows += job.rows
            else:
                passed.append(job)
        queue.extendleft(reversed(passed))

    def _cut(self, jobs: list[_Job]) -> None:
        """Puts jobs beyond the largest preferred size that is reached back; without preferred sizes none."""
        rows = sum(job.rows for job in jobs)
        fitting = [size for size in self._batching.preferred_sizes if size <= rows]
        if not fitting or len(jobs) < 2 or rows == max(fitting):  # noqa: PLR2004  # one job cannot be cut
            return
        back: list[_Job] = []
        while len(jobs) > 1 and rows > max(fitting):
            back.append(jobs.pop())
            rows -= back[-1].rows
        for job in back:
            job.taken = False
            self._queues[self._level(job.request.parameters.get(PRIORITY, 0))].appendleft(job)

    def _run(self, jobs: list[_Job]) -> None:
        started = time.perf_counter()
        if len(jobs) == 1 or not self._run_merged(jobs):
            for job in jobs:
                self._run_alone(job)
        finished = time.perf_counter()
        rows = jobs[0].rows if len(jobs) == 1 else sum(job.rows for job in jobs)
        self._calls.append((started - jobs[0].queued, finished - started, rows))

    def _run_merged(self, jobs: list[_Job]) -> bool:
        """One call for all; False where it failed or cannot be split, and each has to run alone."""
        first = jobs[0].request
        inputs = {name: np.concatenate([job.request.inputs[name] for job in jobs]) for name in first.inputs}
        total = sum(job.rows for job in jobs)
        try:
            outputs = self._runtime.infer(Inference(inputs, first.outputs, first.parameters, _contexts(jobs)))
        except UnavailableError as error:  # what ran it is gone: once more would be as bad for the next
            for job in jobs:
                job.error = error
            return True
        except (Exception, SystemExit):  # noqa: BLE001  # whichever request is at fault, each is run alone and tells its own error
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
        except (Exception, SystemExit) as error:  # noqa: BLE001  # goes to the caller through the future
            job.error = error

    def _wake(self) -> None:
        if self._done and not self._wake_pending:
            self._wake_pending = True
            self._loop.call_soon_threadsafe(self._answer)

    # On the loop

    def _answer(self) -> None:
        # Cleared before the queue is emptied: whoever adds later either is seen here or wakes the loop again.
        self._wake_pending = False
        while self._calls:
            self._observe(*self._calls.popleft())
        while self._done:
            job = self._done.popleft()
            if job.timer is not None:
                job.timer.cancel()
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(explain(job.error, self._name))
            else:
                job.future.set_result(job.result or {})
        if any(self._queues):
            # Scheduled twice: the second time comes after the next look at sockets.
            self._loop.call_soon(self._loop.call_soon, self._release)


def _contexts(jobs: list[_Job]) -> tuple[Any, ...]:
    """Of all that share a call; none is the usual case."""
    return tuple(context for job in jobs for context in job.request.contexts) if jobs[0].request.contexts else ()


def _expire(job: _Job, timeout: float) -> None:
    """A request that still waits has waited too long; one that runs is answered."""
    if not job.future.done() and not job.taken:
        job.future.set_exception(
            DeadlineExceededError(f"the request waited longer than its timeout of {timeout:g} s for the model")
        )


def explain(error: BaseException, name: str) -> RequestError:
    """What a client is told about an exception of a model; what is not meant for clients goes to the log."""
    if isinstance(error, RequestError):
        return error
    log.error("model '%s' failed on a request", name, exc_info=error)
    return ModelFailedError(
        f"model '{name}' failed on this request ({type(error).__name__}); the server's log has the details"
    )


def _classify(job: _Job) -> None:
    """Counts a request's rows, and says with which others it may share a call: same tensors, outputs, parameters."""
    request = job.request
    tensors = []
    rows = 0
    for name, array in request.inputs.items():
        shape = array.shape
        if not shape or not shape[0] or (rows and shape[0] != rows):
            return
        rows = shape[0]
        tensors.append((name, array.dtype, shape[1:]))
    if len(tensors) > 1:
        tensors.sort(key=_first)
    job.rows = rows
    job.group = (tuple(tensors), request.outputs, _shared(request.parameters) if request.parameters else ())


def _first(tensor: tuple[str, Any, Any]) -> str:
    return tensor[0]


def _shared(parameters: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Those that the model sees the same for all in a batch; how a request is queued is its own matter."""
    return tuple(sorted((key, value) for key, value in parameters.items() if key not in (PRIORITY, TIMEOUT)))


class AsyncScheduler:
    """Calls an async model side by side; as many at once as its queue size allows."""

    def __init__(self, runtime: AsyncRuntime, observe: Observe, *, queue_size: int = 1000, name: str = "") -> None:
        self._runtime = runtime
        self._observe = observe
        self._queue_size = queue_size
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._running = 0
        self._closed = False

    @property
    def depth(self) -> int:
        return 0

    def submit(self, request: Inference) -> asyncio.Future[Tensors]:
        if self._closed:
            raise UnavailableError(f"model '{self._name}' is unloaded")
        if self._running >= self._queue_size:
            raise OverloadedError(f"{self._queue_size} requests are running; try again later")
        self._running += 1
        started = time.perf_counter()
        return self._loop.create_task(self._call(request, started))

    async def _call(self, request: Inference, started: float) -> Tensors:
        try:
            return await asyncio.wrap_future(self._runtime.start(request))
        except Exception as error:
            raise explain(error, self._name) from error
        finally:
            self._running -= 1
            self._observe(0.0, time.perf_counter() - started, 1)

    def close(self) -> None:
        self._closed = True
