"""Python models that stream, and that offer more than `predict`: what is read, what is closed, who waits for whom."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_serving.config import parse_config
from slipway_serving.errors import (
    InvalidInputError,
    ModelFailedError,
    ModelLoadError,
    OverloadedError,
    UnavailableError,
)
from slipway_serving.runtimes.base import (
    AsyncRuntime,
    Inference,
    OperationsRuntime,
    Stream,
    StreamingRuntime,
    load_runtime,
    warm_up,
)
from slipway_serving.runtimes.operations import AHEAD, Calls

COUNTING = """
    class Model:
        outputs = [{"name": "y", "datatype": "INT64", "shape": [-1]}]

        def load(self):
            self.closed = []

        ASYNC def predict(self, inputs):
            for index in range(int(inputs["n"][0])):
                if index == inputs.get("fail"):
                    raise ValueError("no further")
                yield {"y": [index]}
"""
BOTH_KINDS = pytest.mark.parametrize("kind", ["", "async"])


@pytest.fixture
def loaded(python_model):
    """Loads a Python model; `ASYNC` in its source becomes what is given."""
    made = []

    def load(source, kind="", **settings):
        directory = python_model(source.replace("ASYNC ", f"{kind} " if kind else ""))
        made.append(load_runtime(directory / "model.py", parse_config(settings)))
        return made[-1]

    yield load
    for runtime in made:
        runtime.close()


def request(count, **others):
    return Inference({"n": np.array([count]), **others})


async def read(stream):
    async with contextlib.aclosing(stream) as items:
        return [item async for item in items]


@BOTH_KINDS
async def test_a_predict_that_yields_streams(loaded, kind):
    runtime = loaded(COUNTING, kind)
    assert isinstance(runtime, StreamingRuntime)
    assert isinstance(runtime, AsyncRuntime) == bool(kind)
    items = await read(runtime.stream(request(40)))
    assert [item["y"].tolist() for item in items] == [[index] for index in range(40)]
    assert items[0]["y"].dtype == np.int64
    assert await read(runtime.stream(request(0))) == []


@BOTH_KINDS
async def test_an_error_comes_after_what_was_yielded_before_it(loaded, kind):
    stream = loaded(COUNTING, kind).stream(request(9, fail=3))
    assert [(await anext(stream))["y"].item() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no further"):
        await anext(stream)


@BOTH_KINDS
@pytest.mark.parametrize(("count", "message"), [(0, "yielded no item"), (2, "yielded several items")])
def test_one_answer_is_the_only_item_and_nothing_is_lost_silently(loaded, kind, count, message):
    runtime = loaded(COUNTING, kind)
    assert runtime.infer(request(1))["y"].tolist() == [0]
    with pytest.raises(InvalidInputError, match=message):
        runtime.infer(request(count))


@BOTH_KINDS
def test_a_stream_is_warmed_up_by_its_first_item(loaded, kind):
    runtime = loaded(COUNTING, kind)
    warm_up(runtime, request(1_000_000_000))
    with pytest.raises(ValueError, match="no further"):
        warm_up(runtime, request(1, fail=0))


def test_any_other_model_is_warmed_up_by_an_answer(loaded):
    runtime = loaded("class Model:\n    def predict(self, inputs):\n        return 1 / 0")
    assert not isinstance(runtime, StreamingRuntime)
    with pytest.raises(ZeroDivisionError):
        warm_up(runtime, Inference({}))


ENDLESS = """
    import asyncio, threading

    class Model:
        def __init__(self):
            self.closed = threading.Event()
            self.yielded = 0

        ASYNC def predict(self, inputs):
            try:
                while True:
                    self.yielded += 1
                    yield {"y": [self.yielded]}
            finally:
                self.closed.set()
"""


@BOTH_KINDS
async def test_a_reader_that_leaves_closes_the_generator(loaded, kind):
    runtime = loaded(ENDLESS, kind)
    async with contextlib.aclosing(runtime.stream(Inference({}))) as items:
        async for _ in items:
            break
    assert await asyncio.to_thread(runtime._model.closed.wait, 10)
    assert runtime._model.yielded <= 2 * AHEAD
    with pytest.raises(StopAsyncIteration):
        await anext(items)


@BOTH_KINDS
async def test_a_stream_that_nobody_reads_waits_and_can_be_closed(loaded, kind):
    runtime = loaded(ENDLESS, kind)
    stream = runtime.stream(Inference({}))
    while runtime._model.yielded < AHEAD:  # noqa: ASYNC110  # the generator runs ahead by itself
        await asyncio.sleep(0)
    await stream.aclose()
    assert await asyncio.to_thread(runtime._model.closed.wait, 10)
    assert runtime._model.yielded == AHEAD


SLOW = """
    import asyncio, threading

    class Model:
        def __init__(self):
            self.began, self.go_on, self.ended = threading.Event(), threading.Event(), threading.Event()

        async def predict(self, inputs):
            try:
                yield {"y": [1]}
                self.began.set()
                await asyncio.Event().wait()
            finally:
                self.ended.set()

        async def embeddings(self, request):
            try:
                self.began.set()
                await asyncio.Event().wait()
            finally:
                self.ended.set()

        def completions(self, request):
            self.began.set()
            self.go_on.wait(30)
            self.ended.set()
            return {"done": True}

        def chat_completions(self, request):
            yield "only"
"""


async def test_a_cancelled_reader_cancels_an_async_generator_where_it_waits(loaded):
    runtime = loaded(SLOW)
    reader = asyncio.create_task(read(runtime.stream(Inference({}))))
    await asyncio.to_thread(runtime._model.began.wait, 10)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await asyncio.to_thread(runtime._model.ended.wait, 10)


async def test_a_cancelled_call_cancels_a_coroutine(loaded):
    runtime = loaded(SLOW)
    calling = asyncio.create_task(runtime.call("embeddings", {}))
    await asyncio.to_thread(runtime._model.began.wait, 10)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert await asyncio.to_thread(runtime._model.ended.wait, 10)


async def test_a_cancelled_call_leaves_a_plain_function_to_its_end(loaded):
    runtime = loaded(SLOW)
    calling = asyncio.create_task(runtime.call("completions", {}))
    await asyncio.to_thread(runtime._model.began.wait, 10)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    runtime._model.go_on.set()
    assert await asyncio.to_thread(runtime._model.ended.wait, 10)
    assert await read(await runtime.call("chat_completions", {})) == ["only"]


async def test_a_call_that_waits_for_its_turn_is_taken_out_when_it_is_cancelled(loaded):
    runtime = loaded(SLOW)
    first = asyncio.create_task(runtime.call("completions", {}))
    await asyncio.to_thread(runtime._model.began.wait, 10)
    second = asyncio.create_task(runtime.call("completions", {}))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    runtime._model.go_on.set()
    assert await first == {"done": True}
    assert not runtime._calls._open


async def test_more_calls_than_the_queue_takes_are_refused(loaded):
    runtime = loaded(SLOW, batching={"queueSize": 2})
    calls = [asyncio.create_task(runtime.call("completions", {})) for _ in range(2)]
    await asyncio.to_thread(runtime._model.began.wait, 10)
    with pytest.raises(OverloadedError, match="2 calls run or wait"):
        runtime.stream(Inference({}))
    runtime._model.go_on.set()
    assert await asyncio.gather(*calls) == [{"done": True}] * 2
    assert (await runtime.call("completions", {}))["done"]


OPERATIONS = """
    class Model:
        def predict(self, inputs):
            return inputs

        def embeddings(self, request):
            return {"data": [request["input"]]}

        async def explain(self, inputs):
            return {"sum": float(inputs["x"].sum())}

        def completions(self, request):
            for word in request["prompt"].split():
                yield {"text": word}

        async def chat_completions(self, request):
            async def chunks():
                for message in request["messages"]:
                    yield {"delta": message}

            return chunks() if request.get("stream") else {"messages": len(request["messages"])}
"""


async def test_operations_answer_with_what_the_model_returns_or_yields(loaded):
    runtime = loaded(OPERATIONS)
    assert isinstance(runtime, OperationsRuntime)
    assert runtime.operations == {"embeddings", "explain", "completions", "chat_completions"}
    assert await runtime.call("embeddings", {"input": "a"}) == {"data": ["a"]}
    assert await runtime.call("explain", {"x": np.ones(3)}) == {"sum": 3.0}
    words = await runtime.call("completions", {"prompt": "one two"})
    assert isinstance(words, Stream)
    assert await read(words) == [{"text": "one"}, {"text": "two"}]
    chat = {"messages": ["a", "b"]}
    assert await runtime.call("chat_completions", chat) == {"messages": 2}
    assert await read(await runtime.call("chat_completions", {**chat, "stream": True})) == [
        {"delta": "a"},
        {"delta": "b"},
    ]
    assert not isinstance(await runtime.call("chat_completions", chat), Stream)
    assert runtime.infer(Inference({"x": np.ones(1)}))["x"].tolist() == [1]


@pytest.mark.parametrize(
    "returned",
    ["iter('ab')", "(letter for letter in 'ab')", "self.later()", "self.soon()", "self.soon_plain()"],
)
@BOTH_KINDS
async def test_any_mixture_of_plain_and_async_is_followed(loaded, kind, returned):
    runtime = loaded(
        f"""
        class Model:
            ASYNC def completions(self, request):
                return {returned}

            async def later(self):
                for letter in "ab":
                    yield letter

            async def soon(self):
                return self.later()

            async def soon_plain(self):
                return iter("ab")
        """,
        kind,
    )
    assert await read(await runtime.call("completions", {})) == ["a", "b"]


async def test_a_model_may_have_no_predict(loaded):
    runtime = loaded("class Model:\n    def embeddings(self, request):\n        return []")
    assert await runtime.call("embeddings", {}) == []
    with pytest.raises(InvalidInputError, match="the model has no predict; it offers: embeddings"):
        runtime.infer(Inference({}))
    with pytest.raises(InvalidInputError, match="the model has no explain; it offers: embeddings"):
        await runtime.call("explain", {})


async def test_a_model_with_predict_only_has_no_operations(loaded):
    runtime = loaded("class Model:\n    def predict(self, inputs):\n        return inputs")
    assert isinstance(runtime, OperationsRuntime)
    assert runtime.operations == frozenset()
    with pytest.raises(InvalidInputError, match="the model has no load; it offers predict only"):
        await runtime.call("load", {})


@pytest.mark.parametrize(
    ("raises", "expected", "message"),
    [
        ("InvalidInputError('not this')", InvalidInputError, "not this"),
        ("KeyError('k')", KeyError, "k"),
        ("SystemExit(3)", RuntimeError, r"the model raised SystemExit\(3\)"),
        ("StopIteration", RuntimeError, "StopIteration"),
    ],
)
@BOTH_KINDS
async def test_what_an_operation_raises_reaches_the_caller(loaded, kind, raises, expected, message):
    source = f"""
        from slipway_serving import InvalidInputError

        class Model:
            ASYNC def embeddings(self, request):
                raise {raises}
    """
    with pytest.raises(expected, match=message):
        await loaded(source, kind).call("embeddings", {})


THREADS = """
    import threading

    class Model:
        def predict(self, inputs):
            return {"thread": [threading.current_thread().name]}

        def completions(self, request):
            for _ in range(50):
                yield threading.current_thread().name
"""


async def test_a_generator_runs_in_one_thread_and_takes_turns_with_predict(loaded):
    runtime = loaded(THREADS)
    names = await read(await runtime.call("completions", {}))
    answer = await asyncio.to_thread(runtime.infer, Inference({}))
    assert {*names, answer["thread"].item()} == {names[0]}
    assert names[0].startswith("model-call")


async def test_unloading_ends_what_runs_with_a_sentence(loaded):
    runtime = loaded(ENDLESS)
    stream = runtime.stream(Inference({}))
    await anext(stream)
    calls = runtime._calls
    await asyncio.to_thread(calls.close)
    with pytest.raises(UnavailableError, match="unloaded"):
        await read(stream)
    with pytest.raises(UnavailableError, match="unloaded"):
        await calls.call(print)


@given(count=st.integers(0, 3 * AHEAD), leaves_after=st.integers(0, 3 * AHEAD), is_async=st.booleans())
def test_a_reader_gets_the_first_items_in_order_and_every_generator_is_closed(count, leaves_after, is_async):
    closed = threading.Event()

    def numbers():
        try:
            yield from range(count)
        finally:
            closed.set()

    async def async_numbers():
        with contextlib.closing(numbers()) as items:
            for item in items:
                yield item

    async def scenario():
        calls = Calls()
        got = []
        async with contextlib.aclosing(calls.stream(async_numbers if is_async else numbers)) as items:
            while len(got) < leaves_after and (item := await anext(items, None)) is not None:
                got.append(item)
        if got or leaves_after:
            assert await asyncio.to_thread(closed.wait, 10)
        await asyncio.to_thread(calls.close)
        return got

    assert asyncio.run(scenario()) == list(range(min(count, leaves_after)))


async def test_unloading_ends_what_waits_with_a_sentence():
    calls = Calls(threads=1)
    go_on = threading.Event()
    running = asyncio.create_task(calls.call(go_on.wait, 30))
    waiting = asyncio.create_task(calls.call(print, "never"))
    await asyncio.sleep(0)
    await asyncio.to_thread(calls.close)
    for call in (running, waiting):
        with pytest.raises(UnavailableError, match="unloaded"):
            await call
    go_on.set()


def test_a_predict_that_returns_a_generator_is_told_how_to_stream(loaded):
    runtime = loaded("class Model:\n    def predict(self, inputs):\n        return (item for item in 'ab')")
    with pytest.raises(ModelFailedError, match="predict returned a generator; write predict itself with yield"):
        runtime.infer(Inference({}))


def test_a_stream_cannot_batch(loaded):
    with pytest.raises(ModelLoadError, match="cannot batch: its predict yields"):
        loaded(COUNTING, batching={"maxSize": 4})
