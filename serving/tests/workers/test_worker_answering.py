"""One worker's side of the sockets, without a process: what it says to which words, and in which order."""

from __future__ import annotations

import asyncio
import socket

import numpy as np
import pytest

from slipway_serving.signature import Signature
from slipway_serving.workers.answering import Answering
from slipway_serving.workers.messages import (
    CALL,
    CLOSE,
    END,
    FAILED,
    MORE,
    OPEN,
    PART,
    STREAM,
    Channel,
    Message,
)
from slipway_serving.workers.values import call_message

ASKED = Message(STREAM, {"outputs": [], "parameters": {}})


class Model:
    """Streams three items, never ends a call, and keeps what becomes of it."""

    signature = Signature()
    operations = frozenset({"completions"})

    def __init__(self):
        self.happened = []

    def infer(self, request): ...

    def close(self): ...

    def settle(self):
        self.happened.append("settled")

    async def stream(self, _request):
        try:
            for index in range(3):
                self.happened.append(index)
                yield {"y": np.array([index])}
        finally:
            self.happened.append("closed")

    async def call(self, _operation, _payload):
        try:
            await asyncio.Event().wait()
        finally:
            self.happened.append("cancelled")


@pytest.fixture
def side():
    """The model, the server's end, and what answers one message that the server has sent."""
    ours, theirs = map(Channel, socket.socketpair())
    model = Model()
    answering = Answering(theirs, model)
    yield model, ours, lambda: answering.answer(theirs.receive())
    answering._runner.close()
    ours.close()
    theirs.close()


def kinds(channel, number):
    return [channel.receive().kind for _ in range(number)]


def test_each_part_waits_until_the_one_before_was_taken(side):
    model, server, answer = side
    for word in (ASKED, Message(MORE), Message(MORE), Message(MORE)):
        server.send(word)
    answer()
    assert kinds(server, 5) == [OPEN, PART, PART, PART, END]
    assert model.happened == [0, 1, 2, "closed"]


def test_a_stream_that_is_closed_ends_after_the_model_has(side):
    model, server, answer = side
    for word in (ASKED, Message(MORE), Message(CLOSE)):
        server.send(word)
    answer()
    assert kinds(server, 4) == [OPEN, PART, PART, END]
    assert model.happened == [0, 1, "closed", "settled"]


def test_a_server_that_says_nothing_more_closes_a_stream_too(side):
    model, server, answer = side
    server.send(ASKED)
    server.finish()
    answer()
    assert kinds(server, 3) == [OPEN, PART, END]
    assert model.happened == [0, "closed", "settled"]


def test_a_call_that_nobody_waits_for_is_cancelled_and_the_worker_free_after_it(side):
    model, server, answer = side
    server.send(call_message("completions", {}, {}))
    server.send(Message(CLOSE))
    answer()
    assert kinds(server, 1) == [END]
    assert model.happened == ["cancelled", "settled"]


def test_one_request_after_the_other_is_answered(side):
    model, server, answer = side
    for _ in range(3):
        server.send(ASKED)
        server.send(Message(CLOSE))
        answer()
        assert kinds(server, 3)[-1] == END
    assert model.happened == [0, "closed", "settled"] * 3


@pytest.mark.parametrize("message", [Message("unknown"), Message(CALL), Message(STREAM)])
def test_what_is_no_request_is_a_failure_and_not_the_end(side, message):
    _, server, answer = side
    server.send(message)
    answer()
    assert kinds(server, 1) == [FAILED]
