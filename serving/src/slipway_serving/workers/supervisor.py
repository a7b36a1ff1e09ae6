"""Keeps one worker of a model running, and says which workers are free."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from slipway_serving.errors import ModelLoadError, UnavailableError
from slipway_serving.workers.process import EndedError, Loaded, RemoteError, WorkerProcess
from slipway_serving.workers.worker import Task

log = logging.getLogger("slipway_serving")
_MOST_DOUBLINGS = 16
_PATIENCE_SECONDS = 1.0
"""Requests wait for a worker that is started again so soon, and for its load."""


@dataclass(slots=True)
class Backoff:
    """How long to wait before a worker is started again: twice as long after each end, from `first` to `most` seconds.

    A worker that lived for `reset` seconds starts the count anew.
    """

    first: float = 0.1
    most: float = 30.0
    reset: float = 10.0
    failures: int = 0

    def after(self, lived: float) -> float:
        """Seconds to wait now that a worker has ended that lived for so long (0: it never answered)."""
        self.failures = 1 if lived >= self.reset else self.failures + 1
        return min(self.most, self.first * float(1 << min(self.failures - 1, _MOST_DOUBLINGS)))


class Pool:
    """The workers of a model that are up, and those of them that are free."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._changed = threading.Condition()
        self._up: set[WorkerProcess] = set()
        self._free: list[WorkerProcess] = []
        self._failing: set[int] = set()
        self._closed = False
        self.healthy = True
        """False while no worker is up and none will be soon; requests are refused then instead of waiting."""

    def take(self) -> WorkerProcess:
        """A free worker, as soon as there is one. Raises UnavailableError where nobody knows when there will be."""
        with self._changed:
            while self._closed or not self._free:
                if self._closed:
                    raise UnavailableError(f"model '{self._name}' is unloaded")
                if not self.healthy:
                    raise UnavailableError(
                        f"no worker process of model '{self._name}' is running: they end again and again, or cannot be "
                        "started; the server's log says why, and tries go on"
                    )
                self._changed.wait()
            return self._free.pop()

    def give(self, worker: WorkerProcess) -> None:
        """Back, after a call."""
        with self._changed:
            if worker.usable and worker in self._up:
                self._free.append(worker)
                self._changed.notify()

    def add(self, number: int, worker: WorkerProcess) -> None:
        """A worker has loaded the model."""
        with self._changed:
            self._up.add(worker)
            self._failing.discard(number)
            self._free.append(worker)
            self._update()

    def remove(self, worker: WorkerProcess) -> None:
        """A worker has ended."""
        with self._changed:
            self._up.discard(worker)
            if worker in self._free:
                self._free.remove(worker)
            self._update()

    def failing(self, number: int) -> None:
        """The worker of this number cannot be started, or is not started again for a while."""
        with self._changed:
            self._failing.add(number)
            self._update()

    def close(self) -> None:
        """Whoever waits for a worker is refused."""
        with self._changed:
            self._closed = True
            self._free.clear()
            self._up.clear()
            self._changed.notify_all()

    def _update(self) -> None:
        self.healthy = bool(self._up) or len(self._failing) < self._size
        self._changed.notify_all()


class Supervisor:
    """One worker after another in the same place. Its thread starts them, and lives as long as they have to."""

    def __init__(self, task: Task, number: int, cpus: int, pool: Pool, restarted: Callable[[], None]) -> None:
        self._task = task
        self._number = number
        self._cpus = cpus
        self._pool = pool
        self._restarted = restarted
        self._backoff = Backoff()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._worker: WorkerProcess | None = None
        self._document = ""
        self.first: Future[Loaded] = Future()
        """The first worker's model. An exception of it, mostly a ModelLoadError, is the end of the supervisor."""
        self._thread = threading.Thread(target=self._run, name=f"worker-{task.name}-{number}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                delay = self._live()
                if self._stopping.wait(delay):
                    return
                self._restarted()
        except Exception as error:
            if self.first.done():
                log.exception("a bug of the server: a worker of model '%s' is not watched any more", self._task.name)
                self._pool.failing(self._number)
            else:
                self.first.set_exception(error)

    def _live(self) -> float:
        """From a worker's start to its end; returns the seconds until the next one. Raises only for the first."""
        try:
            worker = self._start()
            loaded = worker.load()
            self._check(loaded)
        except (ModelLoadError, RemoteError, EndedError, OSError) as error:
            self._discard()
            if not self.first.done():
                raise
            delay = self._backoff.after(0)
            self._say(f"could not be started again: {_sentence(error)}", delay)
            self._pool.failing(self._number)
            return delay
        return self._watch(worker, loaded)

    def _start(self) -> WorkerProcess:
        with self._lock:
            if self._stopping.is_set():
                raise EndedError("was not needed any more")
            self._worker = WorkerProcess(self._task, self._cpus)
            return self._worker

    def _check(self, loaded: Loaded) -> None:
        """Raises ModelLoadError where the files have become another model's since the first worker read them."""
        self._document = self._document or loaded.document
        if loaded.document != self._document:
            raise ModelLoadError("its files have changed, and with them what it takes and gives", "load it again")

    def _watch(self, worker: WorkerProcess, loaded: Loaded) -> float:
        self._pool.add(self._number, worker)
        log.info("%s (process %d) loaded in %.2f s", self._title(), worker.pid, loaded.seconds)
        if not self.first.done():
            self.first.set_result(loaded)
        started = time.monotonic()
        reason = worker.wait()
        self._pool.remove(worker)
        if self._stopping.is_set():
            return 0
        delay = self._backoff.after(time.monotonic() - started)
        self._say(f"(process {worker.pid}) {reason}", delay)
        if delay > _PATIENCE_SECONDS:
            self._pool.failing(self._number)
        return delay

    def _say(self, what: str, delay: float) -> None:
        if not self._stopping.is_set():
            log.error("%s %s; it is started again in %.1f s", self._title(), what, delay)

    def _title(self) -> str:
        return f"model '{self._task.name}': worker {self._number}"

    def _discard(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()

    def stop(self) -> None:
        """Lets the worker end what it does, and starts no other."""
        with self._lock:
            self._stopping.set()
            if self._worker is not None:
                self._worker.retire()

    def join(self, seconds: float) -> None:
        """Waits until the worker has ended; one that takes longer is killed."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            with self._lock:
                if self._worker is not None:
                    self._worker.kill()
            self._thread.join()


def _sentence(error: Exception) -> str:
    if isinstance(error, ModelLoadError):
        return error.message
    return str(error) if isinstance(error, EndedError) else f"{type(error).__name__}: {error}"
