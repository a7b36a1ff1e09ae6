"""A model in worker processes, as a `Runtime`: each call takes a free worker and waits for its answer.

A worker runs one request, or one batch, at a time, also where `predict` is async. When one ends in the middle, what it
held is answered 503 and is not run again, for it may be why the worker ended; everybody else goes to another worker, or
waits for the next one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, wait
from pathlib import Path
from typing import Protocol

from slipway_serving.config import FILE_NAME, ModelConfig
from slipway_serving.cpus import available_cpus
from slipway_serving.datatypes import Tensors
from slipway_serving.errors import ModelLoadError, UnavailableError
from slipway_serving.runtimes.base import Inference
from slipway_serving.signature import Signature
from slipway_serving.workers.messages import UnsentError
from slipway_serving.workers.process import EndedError
from slipway_serving.workers.supervisor import Pool, Supervisor
from slipway_serving.workers.worker import Task

log = logging.getLogger("slipway_serving")
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


class ProcessRuntime:
    """Call `infer` from as many threads as there are workers."""

    def __init__(self, source: Source, count: int, restarted: Callable[[], None]) -> None:
        self.signature = Signature()
        self._name = source.name
        self._pool = Pool(source.name, count)
        task = Task(source.path, source.config, source.name, log.getEffectiveLevel())
        share = max(1, available_cpus() // count)
        self._supervisors = [Supervisor(task, number, share, self._pool, restarted) for number in range(1, count + 1)]

    @property
    def healthy(self) -> bool:
        """False while all workers are down and cannot be started soon; true again when one is up."""
        return self._pool.healthy

    def load(self) -> None:
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
        self.signature = loaded.signature
        if loaded.is_async:
            log.warning(
                "model '%s' has an async predict, of which a worker process runs one at a time; with execution: thread "
                "in %s its requests run side by side",
                self._name,
                FILE_NAME,
            )

    def infer(self, request: Inference) -> Tensors:
        """Raises UnavailableError where the worker ended meanwhile: the request must not be run again."""
        while True:
            worker = self._pool.take()
            try:
                return worker.infer(request)
            except UnsentError:  # it had ended before; the request is still nobody's
                continue
            except EndedError as error:
                raise UnavailableError(
                    f"the worker process of model '{self._name}' {error} while it had this request; "
                    "it is being restarted"
                ) from None
            finally:
                self._pool.give(worker)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Lets workers end what they do, kills those that take longer, and waits for the last one's end."""
        deadline = time.monotonic() + seconds
        self._pool.close()
        for supervisor in self._supervisors:
            supervisor.stop()
        for supervisor in self._supervisors:
            supervisor.join(max(0.0, deadline - time.monotonic()))


def start_workers(source: Source, count: int, restarted: Callable[[], None] = lambda: None) -> ProcessRuntime:
    """Starts the workers of a model and waits until all have loaded it; for a thread, as it blocks.

    `restarted` is told, from any thread, of each worker that is started in another's place. Raises ModelLoadError as
    the model's own runtime does, and whatever else the model raises while it loads.
    """
    runtime = ProcessRuntime(source, count, restarted)
    runtime.load()
    return runtime
