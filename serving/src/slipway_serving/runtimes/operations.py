"""Calls of a model's own functions, away from the server's event loop.

A plain function or generator runs in one of a few threads, from its beginning to its end in the same one; a coroutine
function or async generator in one task of the model's own event loop. Either may also return a generator, which is then
read where it belongs.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from slipway_serving.errors import OverloadedError, UnavailableError

T = TypeVar("T")
AHEAD: Final = 16
"""Items that a generator may be ahead of its reader."""
_UNLOADED = "the model is unloaded"


class LoopThread:
    """An event loop in a thread that does not keep the process alive."""

    def __init__(self) -> None:
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)), name="model-loop", daemon=True)
        self._thread.start()
        self._loop = started.result()

    async def _run(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        self._stop = asyncio.Event()
        started.set_result(asyncio.get_running_loop())
        await self._stop.wait()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def close(self) -> None:
        """Cancels what runs."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=5)


class Call:
    """One call: the model's side puts in from any thread, the event loop that asked takes out (a `Stream`)."""

    def __init__(self, on_end: Callable[[Call], None], ahead: int = AHEAD) -> None:
        self._loop = asyncio.get_running_loop()
        self._ahead = ahead
        self.on_leave: Callable[[], None] = _nothing
        """Told, on the reader's event loop, when the reader has left."""
        self._news = asyncio.Event()
        self._lock = threading.Lock()
        self._on_end = on_end
        self._items: deque[Any] = deque()
        self._room: Future[bool] | None = None
        self._streams = False
        self._ended = False
        self._abandoned = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._work: Future[None] | None = None

    # What the reader calls, on its event loop.

    async def answer(self) -> Any:
        """What the function returned, or this object where it yields. Raises what it raised."""
        while not (self._streams or self._ended):
            await self._wait()
        if self._streams:
            return self
        if self._error is not None:
            raise self._error
        return self._value

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while True:
            with self._lock:
                if self._items:
                    self._make_room(goes_on=True)
                    return self._items.popleft()
                if self._ended or self._abandoned:
                    error, self._error = self._error, None
                    raise (None if self._abandoned else error) or StopAsyncIteration
            await self._wait()

    async def aclose(self) -> None:
        """Tells the model's generator to stop; does not wait until it has."""
        self._abandon()

    async def _wait(self) -> None:
        try:
            await self._news.wait()
        except asyncio.CancelledError:
            self._abandon()
            raise
        self._news.clear()

    def _abandon(self) -> None:
        with self._lock:
            self._abandoned = True
            self._items.clear()
            self._make_room(goes_on=False)
        if self._work is not None:
            self._work.cancel()
        self.on_leave()

    def _make_room(self, *, goes_on: bool) -> None:
        if self._room is not None:
            self._room.set_result(goes_on)
            self._room = None

    # What the model's side calls, in its thread.

    def runs(self, work: Future[None]) -> None:
        """What is cancelled when nobody reads any more; where it is cancelled otherwise, the model is unloaded."""
        self._work = work
        if self._abandoned:
            work.cancel()
        work.add_done_callback(lambda done: self.end(error=UnavailableError(_UNLOADED)) if done.cancelled() else None)

    def open(self) -> None:
        """The function yields."""
        self._streams = True
        self._tell()

    def put(self, item: Any) -> Future[bool]:
        """Hands an item over. The result comes when there is room for another; False where nobody reads any more."""
        room: Future[bool] = Future()
        room.set_running_or_notify_cancel()  # whoever waits for it may be cancelled; it may not
        with self._lock:
            if self._abandoned or self._ended:
                room.set_result(False)
                return room
            self._items.append(item)
            if len(self._items) < self._ahead:
                room.set_result(True)
            else:
                self._room = room
        self._tell()
        return room

    def end(self, value: Any = None, error: BaseException | None = None) -> None:
        """The function is over; only the first call counts."""
        with self._lock:
            if self._ended:
                return
            self._value = value
            # What is not an Exception would end the reader's event loop, and a StopIteration its iteration.
            unfit = error is not None and (not isinstance(error, Exception) or isinstance(error, StopIteration))
            self._error = RuntimeError(f"the model raised {error!r}") if unfit else error
            self._ended = True
            self._make_room(goes_on=False)
        self._on_end(self)
        self._tell()

    def _tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # the reader's loop is closed
            self._loop.call_soon_threadsafe(self._news.set)


class Calls:
    """Runs the functions of one model: plain ones in `threads` threads; at most `limit` calls run or wait at once.

    A generator may be `ahead` items ahead of its reader.
    """

    def __init__(self, threads: int = 1, limit: int = 1000, ahead: int = AHEAD) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="model-call")
        self._limit = limit
        self._ahead = ahead
        self._lock = threading.Lock()
        self._open: set[Call] = set()
        self._loop: LoopThread | None = None
        self._closed = False

    @property
    def loop(self) -> LoopThread:
        """The model's event loop; it starts when it is first needed."""
        with self._lock:
            if self._loop is None:
                self._loop = LoopThread()
            return self._loop

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returned, or a Stream of what it yields. Raises OverloadedError, UnavailableError."""
        return await self._begin(function, arguments).answer()

    def stream(self, generator: Callable[..., Any], *arguments: Any) -> Call:
        """A Stream of what a generator function yields, at once. Raises OverloadedError, UnavailableError."""
        return self._begin(generator, arguments)

    def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Calls a plain function in one of the threads and waits for it; blocks."""
        return self._submit(function, *arguments).result()

    def close(self) -> None:
        """Ends every call with UnavailableError; a plain function that runs is not waited for."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            calls = list(self._open)
        for call in calls:
            call.end(error=UnavailableError(_UNLOADED))
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()

    def _begin(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Call:
        if self._closed:
            raise UnavailableError(_UNLOADED)
        call = Call(self._over, self._ahead)
        with self._lock:
            if len(self._open) >= self._limit:
                raise OverloadedError(f"{self._limit} calls run or wait; try again later")
            self._open.add(call)
        work = functools.partial(function, *arguments)
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            self._in_loop(call, work)
        else:
            self._in_thread(call, work)
        return call

    def _over(self, call: Call) -> None:
        with self._lock:
            self._open.discard(call)

    def _in_thread(self, call: Call, work: Callable[[], Any]) -> None:
        call.runs(self._submit(self._evaluate, call, work))

    def _submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """To one of the threads, with the caller's context: what the model traces there belongs to the request."""
        return self._pool.submit(contextvars.copy_context().run, function, *arguments)

    def _in_loop(self, call: Call, work: Callable[[], Any]) -> None:
        call.runs(self.loop.submit(self._follow(call, work)))

    def _evaluate(self, call: Call, work: Callable[[], Any]) -> None:
        """Calls a plain function, in a thread."""
        try:
            result = work()
            if isinstance(result, (Awaitable, AsyncIterator)):
                self._in_loop(call, lambda: result)
            elif isinstance(result, Iterator):
                _read(call, result)
            else:
                call.end(result)
        except BaseException as error:  # noqa: BLE001  # goes to whoever reads
            call.end(error=error)

    async def _follow(self, call: Call, work: Callable[[], Any]) -> None:
        """Calls an async function, or waits for what a plain one returned, in a task of the model's loop."""
        try:
            result = work()
            while isinstance(result, Awaitable):
                result = await result
            if isinstance(result, AsyncIterator):
                await _read_async(call, result)
            elif isinstance(result, Iterator):
                self._in_thread(call, lambda: result)
            else:
                call.end(result)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # goes to whoever reads
            call.end(error=error)


def _nothing() -> None:
    pass


def _read(call: Call, items: Iterator[Any]) -> None:
    call.open()
    try:
        for item in items:
            if not call.put(item).result():
                break
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
    call.end()


async def _read_async(call: Call, items: AsyncIterator[Any]) -> None:
    call.open()
    try:
        async for item in items:
            room = call.put(item)
            if not (room.result() if room.done() else await asyncio.wrap_future(room)):
                break
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()
    call.end()
