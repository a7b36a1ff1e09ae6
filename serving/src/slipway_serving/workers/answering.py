"""One request in a worker: the model's answer, whole or in parts, and what goes wrong on the way.

An answer in parts runs in an event loop, which hears meanwhile whether the server wants more of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from slipway_serving.errors import RequestError
from slipway_serving.runtimes.base import Inference, OperationsRuntime, Runtime, Stream, StreamingRuntime
from slipway_serving.workers import values
from slipway_serving.workers.messages import (
    CALL,
    CLOSE,
    END,
    ERROR,
    FAILED,
    INFER,
    MORE,
    OPEN,
    OUTPUTS,
    PART,
    STREAM,
    TRACE,
    Channel,
    ClosedError,
    Message,
)

_UNTRACED = contextlib.nullcontext()


class Answering:
    """Answers one request after the other, all in the same thread."""

    def __init__(self, channel: Channel, runtime: Runtime) -> None:
        self._channel = channel
        self._runtime = runtime
        self._runner = asyncio.Runner()

    def answer(self, message: Message) -> None:
        """Sends what the model answers, or what it raises. Raises ClosedError."""
        try:
            with _traced(message.fields[TRACE]) if TRACE in message.fields else _UNTRACED:
                self._channel.send(self._answered(message))
        except ClosedError:
            raise
        except RequestError as error:
            self._channel.send(Message(ERROR, {"class": _known_class(error), "message": str(error)}))
        except BaseException as error:  # noqa: BLE001  # goes to the server, also SystemExit
            self._channel.send(failed(error))

    def _answered(self, message: Message) -> Message:
        if message.kind == INFER:
            return Message(OUTPUTS, tensors=self._runtime.infer(_inference(message)))
        return self._runner.run(self._in_parts(message), context=contextvars.copy_context())

    async def _in_parts(self, message: Message) -> Message:
        loop = asyncio.get_running_loop()
        more = asyncio.Event()
        work = loop.create_task(self._follow(message, more))
        loop.add_reader(self._channel.fileno(), self._hear, more, work)
        try:
            return await work
        except asyncio.CancelledError:
            self._settle()
            return Message(END)
        finally:
            loop.remove_reader(self._channel.fileno())

    def _hear(self, more: asyncio.Event, work: asyncio.Task[Message]) -> None:
        try:
            kind = self._channel.receive().kind
        except ClosedError:
            kind = CLOSE
        if kind == MORE:
            more.set()
        else:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            work.cancel()

    async def _follow(self, message: Message, more: asyncio.Event) -> Message:
        value = await self._begin(message)
        if not isinstance(value, Stream):
            return values.pack(END, value)
        self._channel.send(Message(OPEN))
        async with contextlib.aclosing(value) as items:
            async for item in items:
                self._channel.send(values.pack(PART, item) if message.kind == CALL else Message(PART, tensors=item))
                await more.wait()
                more.clear()
        return Message(END)

    async def _begin(self, message: Message) -> Any:
        runtime = self._runtime
        if message.kind == STREAM and isinstance(runtime, StreamingRuntime):
            return runtime.stream(_inference(message))
        if message.kind == CALL and isinstance(runtime, OperationsRuntime):
            return await runtime.call(*values.called(message))
        raise TypeError(f"a {type(runtime).__name__} does not answer to {message.kind}")

    def _settle(self) -> None:
        """Who asks next must not wait for what nobody wants: the worker is not free before that has ended."""
        settle = getattr(self._runtime, "settle", None)
        if settle is not None:
            settle()


def _inference(message: Message) -> Inference:
    return Inference(message.tensors, tuple(message.fields["outputs"]), message.fields["parameters"])


@contextlib.contextmanager
def _traced(headers: Mapping[str, str]) -> Iterator[None]:
    """What the model traces meanwhile belongs to the request."""
    from opentelemetry import context  # noqa: PLC0415  # only where the server traces, and so has it
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    token = context.attach(TraceContextTextMapPropagator().extract(headers))
    try:
        yield
    finally:
        context.detach(token)


def _known_class(error: RequestError) -> str:
    """The nearest class that the server knows too; a model may have derived its own."""
    return next(each.__name__ for each in type(error).__mro__ if each.__module__ == RequestError.__module__)


def failed(error: BaseException) -> Message:
    """Tells of an exception that is no RequestError."""
    fields = {"class": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
    return Message(FAILED, fields)
