"""Calls of what a model offers besides inference, and answers that come in pieces as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from slipway_serving.apis.inference import CANCELLED, CLIENT_GONE, Call
from slipway_serving.errors import InvalidInputError, RequestError
from slipway_serving.http.messages import Response
from slipway_serving.models import ServedModel
from slipway_serving.runtimes.base import OperationsRuntime, Stream
from slipway_serving.scheduling import explain

EVENT_STREAM = b"text/event-stream; charset=utf-8"
_UNBUFFERED = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
"""A proxy must hand on each event as it comes; the second header is nginx's."""
END: Any = object()


def offers(model: ServedModel, operation: str) -> bool:
    return isinstance(model.runtime, OperationsRuntime) and operation in model.runtime.operations


def offered(model: ServedModel) -> str:
    """What a model can do, as words."""
    runtime = model.runtime
    operations = runtime.operations if isinstance(runtime, OperationsRuntime) else ()
    return ", ".join(["predict", *sorted(operations)])


async def call(model: ServedModel, operation: str, payload: Any) -> Any:
    """What the model returned, or a Stream of what it yields. Raises a RequestError and nothing else."""
    model.require_ready()
    runtime = model.runtime
    if not isinstance(runtime, OperationsRuntime):
        raise InvalidInputError(f"model '{model.name}' has no {operation}")
    try:
        return await runtime.call(operation, payload)
    except Exception as error:
        raise explain(error, model.name) from error


async def next_item(stream: Stream[Any], model: ServedModel) -> Any:
    """The next item, END after the last. Raises a RequestError and nothing else; then the stream is closed."""
    try:
        return await anext(aiter(stream), END)
    except BaseException as error:
        await stream.aclose()
        if isinstance(error, Exception):
            raise explain(error, model.name) from error
        raise


def event(data: bytes) -> bytes:
    """One server-sent event; `data` is a line."""
    return b"data: %b\n\n" % data


def event_response(counted: Call, pieces: AsyncGenerator[bytes, None], source: Stream[Any] | None) -> Response:
    """An answer of server-sent events; the request is counted, and `source` closed, when it ends or the client goes."""
    return Response(content_type=EVENT_STREAM, headers=[*_UNBUFFERED], stream=_Events(counted, pieces, source))


class _Events(AsyncIterator[bytes]):
    """Pieces of an answer, and what has to happen at their end however it comes, begun or not."""

    def __init__(self, counted: Call, pieces: AsyncGenerator[bytes, None], source: Stream[Any] | None) -> None:
        self._call = counted
        self._pieces = pieces
        self._source = source

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            self._call.end(200)
            raise
        except BaseException as error:
            self._call.fail(error)
            raise

    async def aclose(self) -> None:
        self._call.end(CLIENT_GONE, CANCELLED)
        await self._pieces.aclose()
        if self._source is not None:
            await self._source.aclose()


async def events(  # noqa: PLR0917  # see event_response
    counted: Call,
    opening: list[bytes],
    source: Stream[Any],
    write: Callable[[Any], bytes],
    failed: Callable[[RequestError], bytes],
    end: Callable[[], list[bytes]] = list,
) -> AsyncGenerator[bytes, None]:
    """Events of what is written already, of each item of a stream, and of `end`; or, at the first failure, of that."""
    try:
        for first in opening:
            yield event(first)
        while (item := await next_item(source, counted.model)) is not END:
            yield event(write(item))
        for last in end():
            yield event(last)
    except Exception as error:  # noqa: BLE001  # the status has been sent: all that is left is to say it
        refusal = explain(error, counted.model.name)
        counted.fail(refusal)
        yield event(failed(refusal))
