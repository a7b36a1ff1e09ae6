"""Models in worker processes that stream, or offer more than predict: the same as in threads, and who ends what."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal

import numpy as np
import orjson
import pytest
from grpc_client import flower
from grpc_client import serve as serve_grpc
from processes import until
from worker_tools import PATIENCE, has_ended, only

from slipway_serving.errors import InvalidInputError, ModelLoadError, OverloadedError, UnavailableError
from slipway_serving.runtimes.base import Inference, OperationsRuntime, Stream, StreamingRuntime
from slipway_serving.runtimes.operations import AHEAD
from slipway_serving.workers.process import RemoteError
from slipway_serving.workers.runtime import CLOSE_SECONDS

BOTH_KINDS = pytest.mark.parametrize("kind", ["", "async"])
COUNTING = """
    import os, signal

    class Model:
        outputs = [{"name": "y", "datatype": "INT64", "shape": [-1]}]

        ASYNC def predict(self, inputs):
            for index in range(int(inputs["n"][0])):
                if index == inputs.get("fail"):
                    raise ValueError("no further")
                if index == inputs.get("die"):
                    os.kill(os.getpid(), signal.SIGKILL)
                yield {"y": [index]}
"""
OPENING = """
    import asyncio, os

    class Model:
        def load(self, directory):
            self.directory = directory

        def note(self, name, text="."):
            with open(self.directory / name, "a") as file:
                file.write(text)
"""
ENDLESS = (
    OPENING
    + """
        ASYNC def predict(self, inputs):
            try:
                while True:
                    self.note("yielded")
                    yield {"y": [os.getpid()]}
            finally:
                self.note("closed")

        def completions(self, request):
            return str(os.getpid())
"""
)
WAITING = (
    OPENING
    + """
        async def predict(self, inputs):
            try:
                yield {"y": [os.getpid()]}
                await asyncio.Event().wait()
            finally:
                self.note("closed")

        async def embeddings(self, request):
            try:
                self.note("began", f"{os.getpid()}\\n")
                await asyncio.Event().wait()
            finally:
                self.note("closed")

        def completions(self, request):
            self.note("began", f"{os.getpid()}\\n")
            with open(self.directory / "gate"):
                return "over"

        def chat_completions(self, request):
            return os.getpid()
"""
)


@pytest.fixture
def streaming(workers):
    """Starts the workers of a model; `ASYNC` in its source becomes what is given."""

    def start(text, kind="", settings="", count=1):
        return workers(text.replace("ASYNC ", f"{kind} " if kind else ""), settings, count)

    return start


def request(count, **others):
    return Inference({name: np.array([value]) for name, value in {"n": count, **others}.items()})


async def read(stream):
    async with contextlib.aclosing(stream) as items:
        return [only(item) if isinstance(item, dict) else item async for item in items]


async def text_in(path) -> str:
    await until(lambda: asyncio.to_thread(path.exists), PATIENCE)
    return path.read_text()


# What is read


@BOTH_KINDS
async def test_a_predict_that_yields_streams_from_its_worker(streaming, kind):
    runtime = streaming(COUNTING, kind)
    assert isinstance(runtime, StreamingRuntime)
    assert await read(runtime.stream(request(3 * AHEAD))) == [[index] for index in range(3 * AHEAD)]
    assert await read(runtime.stream(request(0))) == []
    assert only(await asyncio.to_thread(runtime.infer, request(1))) == [0]
    with pytest.raises(InvalidInputError, match="yielded several items"):
        await asyncio.to_thread(runtime.infer, request(2))


@BOTH_KINDS
async def test_a_failure_comes_after_the_items_before_it(streaming, kind):
    stream = streaming(COUNTING, kind).stream(request(9, fail=2))
    assert [only(await anext(stream)), only(await anext(stream))] == [[0], [1]]
    with pytest.raises(RemoteError, match="no further") as caught:
        await anext(stream)
    assert type(caught.value).__name__ == "ValueError"
    assert "yield" in "".join(caught.value.__notes__) or "raise" in "".join(caught.value.__notes__)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_large_items_cross_whole(streaming):
    runtime = streaming("""
        import numpy as np

        class Model:
            def predict(self, inputs):
                for index in range(4):
                    yield inputs["x"] + index
    """)
    given = np.arange(1 << 18, dtype=np.float64)
    stream = runtime.stream(Inference({"x": given}))
    async with contextlib.aclosing(stream):
        assert [bool((item["output"] == given + index).all()) async for index, item in aenumerate(stream)] == [True] * 4


async def aenumerate(items):
    index = 0
    async for item in items:
        yield index, item
        index += 1


def test_a_model_that_does_not_yield_has_no_stream(workers):
    runtime = workers()
    assert not isinstance(runtime, StreamingRuntime)
    assert isinstance(runtime, OperationsRuntime)
    assert runtime.operations == frozenset()


@BOTH_KINDS
def test_a_stream_cannot_batch(streaming, kind):
    with pytest.raises(ModelLoadError, match="cannot batch: its predict yields"):
        streaming(COUNTING, kind, "batching: {maxSize: 4}")


async def test_more_streams_than_the_queue_takes_are_refused(streaming):
    runtime = streaming(ENDLESS, settings="batching: {queueSize: 1}")
    async with contextlib.aclosing(runtime.stream(Inference({}))) as first:
        await anext(first)
        with pytest.raises(OverloadedError, match="1 calls run or wait"):
            runtime.stream(Inference({}))


# The same as in threads


EVERYTHING = """
    import asyncio, datetime, numpy as np
    from slipway_serving import InvalidInputError

    class Model:
        inputs = [{"name": "x", "datatype": "INT64", "shape": [-1]}]
        outputs = [{"name": "y", "datatype": "INT64", "shape": [-1]}]

        def predict(self, inputs):
            for index in range(inputs["x"][0]):
                if index == 5:
                    raise ValueError("five")
                yield {"y": inputs["x"] + index}

        def explain(self, inputs):
            if inputs["x"][0] == 9:
                return {"explanations": [float("nan")]}
            if inputs["x"][0] == 8:
                return b"no JSON"
            return {"explanations": inputs["x"] / 2, "at": datetime.date(2026, 1, 2), "more": [(1, np.float32(0.1))]}

        def chat_completions(self, request):
            text = request["messages"][-1]["content"]
            if text == "refuse":
                raise InvalidInputError("not that word")
            if text == "fail":
                raise KeyError("inside")
            if text == "exit":
                raise SystemExit(3)
            if text == "whole":
                return {"choices": [{"message": "all at once"}], "usage": {"prompt_tokens": 3}}
            return self.words(text)

        def words(self, text):
            yield "you said "
            if text == "break":
                raise ValueError("in the middle")
            yield {"content": text}

        async def completions(self, request):
            await asyncio.sleep(0)
            yield request["prompt"]
            if request["prompt"] == "refuse":
                raise InvalidInputError("not that")

        async def embeddings(self, request):
            return np.arange(6, dtype=np.float32).reshape(2, 3)
"""


def chat(text, **others):
    return {"model": "echo", "messages": [{"role": "user", "content": text}], **others}


def tensor(*values):
    return {"inputs": [{"name": "x", "datatype": "INT64", "shape": [len(values)], "data": list(values)}]}


ASKED = [
    *[("/v2/models/echo/generate_stream", {"x": number}) for number in (0, 1, 3, 6)],
    *[("/v2/models/echo/generate", {"x": number}) for number in (0, 1, 3)],
    *[("/v2/models/echo/infer", tensor(number)) for number in (1, 2)],
    *[("/v1/models/echo:explain", {"instances": [number]}) for number in (4, 8, 9)],
    *[("/v1/models/echo:predict", {"instances": [number]}) for number in (1, 2)],
    *[
        ("/v1/chat/completions", chat(text, stream=stream))
        for text in ("hi", "whole", "refuse", "fail", "exit", "break")
        for stream in (False, True)
    ],
    *[
        ("/v1/completions", {"model": "echo", "prompt": text, "stream": stream})
        for text in ("hi", "refuse")
        for stream in (False, True)
    ],
    *[
        ("/v1/embeddings", {"model": "echo", "input": ["a", "b"], "encoding_format": form})
        for form in ("float", "base64")
    ],
    ("/v1/embeddings", {"model": "echo", "input": "one"}),
]
_OWN = re.compile(r'"id":"[a-z]+-[0-9a-f]+"|"created":[0-9]+')


async def everything_of(client):
    answers = [await client.post(path, json=body) for path, body in ASKED]
    documents = [await client.get("/openapi.json"), await client.get("/v2/models/echo")]
    return [
        (answer.status_code, answer.headers["content-type"], _OWN.sub("", answer.text))
        for answer in (*answers, *documents)
    ]


async def test_every_answer_is_the_one_of_a_model_in_threads(python_model, serving):
    async with serving(python_model(EVERYTHING, "warmUp: false")) as client:
        in_threads = await everything_of(client)
    async with serving(python_model(EVERYTHING, "warmUp: false\nexecution: process")) as client:
        in_processes = await everything_of(client)
        metrics = (await client.get("/metrics")).text
    for asked, one, other in zip([*ASKED, "openapi", "metadata"], in_threads, in_processes, strict=True):
        assert (asked, other) == (asked, one)
    assert {status for status, *_ in in_threads} == {200, 400, 422, 500}
    assert 'requests_in_flight{model="echo",version=""} 0' in metrics
    assert 'worker_restarts_total{model="echo",version=""} 0' in metrics


async def test_a_request_nested_too_deeply_is_a_400_and_ends_no_worker(python_model, serving):
    async with serving(python_model(EVERYTHING, "warmUp: false\nexecution: process")) as client:
        body = orjson.dumps(chat("hi"))[:-1] + b',"more":' + b"[" * 900 + b"]" * 900 + b"}"
        answer = await client.post("/v1/chat/completions", content=body)
        assert answer.status_code == 400
        assert "cannot be given this request" in answer.json()["error"]["message"]
        assert (await client.post("/v1/chat/completions", json=chat("hi"))).status_code == 200
        assert 'worker_restarts_total{model="echo",version=""} 0' in (await client.get("/metrics")).text


async def test_grpc_streams(python_model):
    source = "class Model:\n    def predict(self, inputs):\n        yield inputs\n        yield inputs"
    async with serve_grpc(python_model(source, "execution: process")) as client:
        answers = [answer async for answer in client.stream(iter([flower(model="echo")]))]
    assert [answer.infer_response.id for answer in answers] == ["7", "7"]


# Who leaves


@BOTH_KINDS
async def test_a_generator_runs_a_few_items_ahead_and_is_closed_when_its_reader_leaves(streaming, kind, tmp_path):
    runtime = streaming(ENDLESS, kind)
    yielded = tmp_path / "echo" / "yielded"
    stream = runtime.stream(Inference({}))
    (pid,) = only(await anext(stream))
    # One is read, one waits for the reader, and the rest waits in the worker.
    await until(lambda: asyncio.to_thread(lambda: yielded.stat().st_size >= AHEAD + 2), PATIENCE)
    await stream.aclose()
    assert await text_in(tmp_path / "echo" / "closed") == "."
    assert yielded.stat().st_size == AHEAD + 2
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert await runtime.call("completions", {}) == str(pid)


async def test_a_reader_that_leaves_cancels_an_async_generator_where_it_waits(streaming, tmp_path):
    runtime = streaming(WAITING)
    async with contextlib.aclosing(runtime.stream(Inference({}))) as items:
        (pid,) = only(await anext(items))
        reader = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
    assert await text_in(tmp_path / "echo" / "closed") == "."
    assert await runtime.call("chat_completions", {}) == pid


async def test_a_cancelled_call_cancels_a_coroutine(streaming, tmp_path):
    runtime = streaming(WAITING)
    calling = asyncio.create_task(runtime.call("embeddings", {}))
    pid = await text_in(tmp_path / "echo" / "began")
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert await text_in(tmp_path / "echo" / "closed") == "."
    assert await runtime.call("chat_completions", {}) == int(pid)


async def test_a_worker_is_not_free_while_a_plain_function_runs_that_nobody_waits_for(streaming, tmp_path):
    runtime = streaming(WAITING, count=2)
    os.mkfifo(tmp_path / "echo" / "gate")
    calling = asyncio.create_task(runtime.call("completions", {}))
    busy = int(await text_in(tmp_path / "echo" / "began"))
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    others = {await runtime.call("chat_completions", {}) for _ in range(3)}
    assert len(others) == 1
    assert busy not in others
    (tmp_path / "echo" / "gate").write_text("")  # waits for the function, so that it has been running all the time


async def test_an_http_client_that_leaves_closes_the_generator(python_model, serving, tmp_path):
    async with serving(python_model(ENDLESS.replace("ASYNC ", ""), "execution: process")) as client:
        async with client.stream("POST", "/v2/models/echo/generate_stream", json={"x": 1}) as answer:
            assert (await anext(answer.aiter_lines())).startswith("data: ")
        assert (await text_in(tmp_path / "echo" / "closed"))[0] == "."


# Who ends


async def test_a_worker_that_is_killed_ends_its_streams_only_and_after_what_it_had_sent(streaming):
    runtime = streaming(COUNTING, count=2)
    other = runtime.stream(request(100))
    assert only(await anext(other)) == [0]
    stream = runtime.stream(request(99, die=2 * AHEAD))
    assert [only(await anext(stream)), only(await anext(stream))] == [[0], [1]]
    with pytest.raises(UnavailableError, match=r"ended by signal 9 \(SIGKILL\) while it had this request; it is being"):
        await read(stream)
    assert await read(other) == [[index] for index in range(1, 100)]
    assert await read(runtime.stream(request(1))) == [[0]]


async def test_a_client_sees_a_503_before_the_first_item_and_an_event_after_it(python_model, serving):
    directory = python_model(COUNTING.replace("ASYNC ", ""), "execution: process\nwarmUp: false")
    (directory / "model.yaml").write_text(
        "execution: process\nwarmUp: false\ninputs:\n- {name: n, datatype: INT64, shape: [1]}\n"
        "- {name: die, datatype: INT64, shape: [1]}\n"
    )
    async with serving(directory) as client:
        early = await client.post("/v2/models/echo/generate_stream", json={"n": 99, "die": 0})
        late = await client.post("/v2/models/echo/generate_stream", json={"n": 99, "die": 2 * AHEAD})
        after = await client.post("/v2/models/echo/generate_stream", json={"n": 2, "die": 99})
        metrics = (await client.get("/metrics")).text
    assert (early.status_code, early.headers["retry-after"]) == (503, "1")
    assert "SIGKILL" in early.json()["error"]
    assert late.status_code == 200
    item, *_, error = [orjson.loads(line[6:]) for line in late.text.split("\n\n") if line]
    assert item == {"model_name": "echo", "y": 0}
    assert "SIGKILL" in error["error"]
    assert after.text.count("data: ") == 2
    assert 'code="503"' in metrics


async def test_a_call_whose_worker_is_killed_is_a_503(streaming, tmp_path):
    runtime = streaming(WAITING)
    calling = asyncio.create_task(runtime.call("embeddings", {}))
    os.kill(int(await text_in(tmp_path / "echo" / "began")), signal.SIGKILL)
    with pytest.raises(UnavailableError, match="SIGKILL"):
        await calling


async def test_a_worker_that_ended_before_costs_a_stream_nothing(streaming):
    runtime = streaming(ENDLESS)
    pid = int(await runtime.call("completions", {}))
    os.kill(pid, signal.SIGKILL)
    assert has_ended(pid)
    async with contextlib.aclosing(runtime.stream(Inference({}))) as items:
        assert only(await anext(items)) != [pid]


@BOTH_KINDS
async def test_unloading_ends_what_runs_with_a_sentence_and_closes_the_generator(streaming, kind, tmp_path):
    runtime = streaming(ENDLESS, kind)
    stream = runtime.stream(Inference({}))
    await anext(stream)
    began = asyncio.get_running_loop().time()
    await asyncio.to_thread(runtime.close)
    assert asyncio.get_running_loop().time() - began < CLOSE_SECONDS
    with pytest.raises(UnavailableError, match="the model is unloaded"):
        await read(stream)
    assert (tmp_path / "echo" / "closed").read_text() == "."
    with pytest.raises(UnavailableError, match="unloaded"):
        await runtime.call("completions", {})


@pytest.mark.parametrize(
    ("raises", "expected", "message"),
    [
        ("InvalidInputError('not this')", InvalidInputError, "^not this$"),
        ("KeyError('k')", RemoteError, "k"),
        ("SystemExit(3)", RemoteError, r"the model raised SystemExit\(3\)"),
    ],
)
@BOTH_KINDS
async def test_what_an_operation_raises_reaches_the_caller(streaming, kind, raises, expected, message):
    runtime = streaming(
        f"""
        from slipway_serving import InvalidInputError

        class Model:
            ASYNC def embeddings(self, request):
                raise {raises}

            ASYNC def completions(self, request):
                yield "one"
                raise {raises}
        """,
        kind,
    )
    with pytest.raises(expected, match=message):
        await runtime.call("embeddings", {})
    stream = await runtime.call("completions", {})
    assert isinstance(stream, Stream)
    assert await anext(stream) == "one"
    with pytest.raises(expected, match=message):
        await anext(stream)
    with pytest.raises(InvalidInputError, match="the model has no explain; it offers: completions, embeddings"):
        await runtime.call("explain", {})
