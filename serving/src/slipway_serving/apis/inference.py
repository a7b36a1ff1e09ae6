"""What every protocol does around one call of a model: count it, time it, and decode large bodies elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from slipway_serving.datatypes import Tensors
from slipway_serving.errors import ModelFailedError, RequestError
from slipway_serving.http.messages import Pending, Request, Response
from slipway_serving.models import ServedModel
from slipway_serving.runtimes.base import Inference

T = TypeVar("T")
OFF_LOOP_BYTES = 256 << 10
"""What is larger is decoded and encoded in a thread, so that health checks do not wait for it."""
CLIENT_GONE = 499
"""The status under which a request is counted whose client did not wait, as nginx has it."""
CANCELLED = "cancelled"
"""What the metrics call its cause."""

Decode = Callable[[], tuple[Inference, Callable[[Tensors], Response]]]
"""Reads a request: what the model is asked, and how its outputs are answered."""


def answer(model: ServedModel, request: Request, size: int, decode: Decode) -> Pending:
    """Runs one inference; small ones without a task or a thread of their own. Raises a RequestError.

    `size` is how many bytes there are to decode.
    """
    call = Call(model, request)
    if size >= OFF_LOOP_BYTES:
        task = asyncio.get_running_loop().create_task(call.run_off_loop(decode))
        return Pending(task, call.finish_task)
    try:
        model.require_ready()
        inference, encode = decode()
        future = model.submit(inference)
    except BaseException as error:
        call.fail(error)
        raise
    return Pending(future, lambda done: call.finish(done, encode))


class Call:
    """One request to a model, counted from its first byte to its answer."""

    __slots__ = ("_ended", "model", "request")

    def __init__(self, model: ServedModel, request: Request) -> None:
        self.model = model
        self.request = request
        request.model = model
        self._ended = False
        model.enter()

    def end(self, code: int, cause: str = "") -> None:
        """The answer is known; `cause` says why it is an error, where it is one."""
        if not self._ended:
            self._ended = True
            self.model.leave()
            self.model.metrics.answered(code, time.perf_counter() - self.request.started, cause)

    def fail(self, error: BaseException) -> None:
        self.end(code_of(error), cause_of(error))

    def finish(self, done: asyncio.Future[Tensors], encode: Callable[[Tensors], Response]) -> Response:
        return self._measured(lambda: encode(done.result()))

    def finish_task(self, done: asyncio.Future[Response]) -> Response:
        return self._measured(done.result)

    def _measured(self, result: Callable[[], Response]) -> Response:
        try:
            response = result()
        except BaseException as error:
            self.fail(error)
            raise
        if response.stream is None:  # else the request ends with the stream
            self.end(response.status)
        return response

    async def counted(self, work: Awaitable[Response]) -> Response:
        """Waits for an answer, and counts the request with it."""
        try:
            response = await work
        except BaseException as error:
            self.fail(error)
            raise
        if response.stream is None:
            self.end(response.status)
        return response

    async def run_off_loop(self, decode: Decode) -> Response:
        self.model.require_ready()
        inference, encode = await asyncio.to_thread(decode)
        outputs = await self.model.infer(inference)
        return await off_loop(lambda: encode(outputs), size_of(outputs))


def code_of(error: BaseException) -> int:
    """The status under which a failed request is counted."""
    if isinstance(error, RequestError):
        return error.status
    return CLIENT_GONE if isinstance(error, asyncio.CancelledError) else ModelFailedError.status


def cause_of(error: BaseException) -> str:
    """What the metrics call the cause of a failed request; "internal" is a bug of the server."""
    if isinstance(error, RequestError):
        return error.cause
    return CANCELLED if isinstance(error, asyncio.CancelledError) else RequestError.cause


def measured(model: ServedModel, request: Request, work: Coroutine[Any, Any, Response]) -> Pending:
    """Counts and times a request that a coroutine answers."""
    call = Call(model, request)
    return Pending(asyncio.get_running_loop().create_task(work), call.finish_task)


async def off_loop(function: Callable[[], T], size: int) -> T:
    """Calls a codec: at once where there is little to do, else in a thread."""
    return function() if size < OFF_LOOP_BYTES else await asyncio.to_thread(function)


def size_of(tensors: Tensors) -> int:
    return sum(array.nbytes for array in tensors.values())
