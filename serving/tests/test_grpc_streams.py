"""The requests of one stream: side by side, in one batch, bounded, each with its own answers in order."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest
from grpc_client import flower, serve
from hypothesis import given
from hypothesis import strategies as st

from slipway_serving.errors import NotOfferedError
from slipway_serving.grpc import concurrent

BATCHED = """
    import threading

    class Model:
        inputs = outputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
        gate, sizes = threading.Event(), []

        def predict(self, inputs):
            self.sizes.append(len(inputs["x"]))
            self.gate.wait(30)
            return inputs
"""
GATED = """
    import asyncio, threading

    class Model:
        gate, lock = threading.Event(), threading.Lock()
        running = most = 0

        async def predict(self, inputs, parameters):
            Model.running += 1
            Model.most = max(Model.most, Model.running)
            try:
                while parameters.get("waits") and not self.gate.is_set():
                    await asyncio.sleep(0.002)
            finally:
                Model.running -= 1
            return inputs
"""
COUNTS = """
    import asyncio
    import numpy as np

    class Model:
        async def predict(self, inputs):
            for index in range(20):
                await asyncio.sleep(0)
                yield {"y": np.array([index], dtype="i4")}
"""


def class_of(model):
    return type(model.runtime._predict.__self__)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # the server has no event for it
            await asyncio.sleep(0.005)


def asked(number: int, **parameters: bool):
    message = flower(model="echo", id=str(number))
    for name, value in parameters.items():
        message.parameters[name].bool_param = value
    return message


def ids(answers):
    return [answer.infer_response.id for answer in answers]


async def test_requests_of_one_stream_share_a_batch(python_model):
    async with serve(python_model(BATCHED, "batching: {maxSize: 32}\nwarmUp: false")) as client:
        model = client.app.repository.find("echo")
        call = client.stream(iter([asked(number) for number in range(9)]))
        await until(lambda: model.in_flight == 9)
        class_of(model).gate.set()
        answers = [answer async for answer in call]
        assert sorted(ids(answers)) == [str(number) for number in range(9)]
        assert sum(class_of(model).sizes) == 9
        assert len(class_of(model).sizes) <= 2


async def test_an_answer_does_not_wait_for_those_before_it_and_the_stream_ends_with_the_last(python_model):
    async with serve(python_model(GATED)) as client:
        model = client.app.repository.find("echo")
        call = client.stream(iter([asked(1, waits=True), flower(model="no", id="2"), asked(3)]))
        first, second = await call.read(), await call.read()
        assert sorted(ids([first, second])) == ["2", "3"]
        assert "model 'no'" in first.error_message + second.error_message
        assert not call.done()
        class_of(model).gate.set()
        assert (await call.read()).infer_response.id == "1"
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        assert client.server.in_flight == 0


async def test_so_many_run_at_once_and_the_others_wait_their_turn(python_model):
    async with serve(python_model(GATED)) as client:
        model = client.app.repository.find("echo")
        call = client.stream(iter([asked(number, waits=True) for number in range(150)]))
        await until(lambda: class_of(model).running == concurrent.MOST)
        class_of(model).gate.set()
        answers = [answer async for answer in call]
        assert sorted(map(int, ids(answers))) == list(range(150))
        assert class_of(model).most <= concurrent.MOST


async def test_the_answers_to_one_request_keep_their_order(python_model):
    async with serve(python_model(COUNTS)) as client:
        answers = [answer async for answer in client.stream(iter([asked(number) for number in range(5)]))]
    for number in range(5):
        own = [answer.infer_response for answer in answers if answer.infer_response.id == str(number)]
        values = [int.from_bytes(answer.raw_output_contents[0], "little") for answer in own]
        assert values == list(range(20))


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_the_end_of_a_stream_is_the_end_of_all_its_requests(python_model, how):
    async with serve(python_model(GATED)) as client:
        model = client.app.repository.find("echo")
        sent = iter([asked(number, waits=True) for number in range(5)])
        call = client.stream(sent, timeout=30 if how == "cancel" else 0.5)
        await until(lambda: model.in_flight == 5)
        if how == "cancel":
            call.cancel()
        await until(lambda: not model.in_flight and not client.server.in_flight)
        await until(lambda: not class_of(model).running)


async def test_the_end_of_the_server_answers_what_a_stream_has_asked(python_model):
    never = asyncio.Event()

    async def three_and_no_more():
        for number in range(3):
            yield asked(number, waits=True)
        await never.wait()

    async with serve(python_model(GATED)) as client:
        model = client.app.repository.find("echo")
        call = client.stream(three_and_no_more())
        await until(lambda: model.in_flight == 3)
        closing = asyncio.ensure_future(client.server.close(30))
        await asyncio.sleep(0)
        class_of(model).gate.set()
        assert sorted(ids([await call.read() for _ in range(3)])) == ["0", "1", "2"]
        assert await call.read() is grpc.aio.EOF
        assert await closing == 0


@given(finish=st.permutations(range(8)), breaks=st.booleans())
def test_every_request_is_answered_once_whatever_the_order(finish, breaks):
    async def run():
        turns = [asyncio.Event() for _ in finish]
        answered = []

        async def requests():
            for number in range(len(finish)):
                yield number
            if breaks:
                raise NotOfferedError("no further")

        async def answer(number):
            await turns[number].wait()
            answered.append(number)

        running = asyncio.ensure_future(concurrent.each(requests(), answer))
        for number in finish:
            turns[number].set()
            for _ in range(5):
                await asyncio.sleep(0)
            assert running.done() == (len(answered) == len(finish))
        if breaks:
            with pytest.raises(NotOfferedError, match="no further"):
                await running
        assert answered == list(finish)

    asyncio.run(run())
