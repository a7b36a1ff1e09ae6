"""What the server and a worker say to each other: nothing is changed on the way, and nonsense is refused."""

from __future__ import annotations

import math
import pickle
import select
import socket
import struct
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from slipway_serving.config import parse_config
from slipway_serving.datatypes import BYTES, DATATYPES, FP32
from slipway_serving.errors import ModelFailedError
from slipway_serving.signature import Signature, TensorSpec
from slipway_serving.workers.messages import (
    Channel,
    ChannelError,
    ClosedError,
    Message,
    ProtocolError,
    UnsentError,
    encode,
    signature_document,
    signature_from,
)

NUMBERS = [datatype.dtype for datatype in DATATYPES.values() if datatype.dtype.kind in "fiub"]
NAMES = st.text(max_size=8)
SCALARS = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@st.composite
def tensors(draw: st.DrawFn) -> np.ndarray:
    shape = draw(SHAPES)
    if draw(st.booleans()):
        array = np.empty(shape, dtype=object)
        array.reshape(-1)[:] = draw(st.lists(st.binary(max_size=9), min_size=array.size, max_size=array.size))
    else:
        array = draw(arrays.arrays(draw(st.sampled_from(NUMBERS)), shape))
    return array.T if draw(st.booleans()) else array[..., ::-1] if array.ndim else array


class Pair:
    """Two connected channels, and a socket to write anything to the first."""

    def __init__(self):
        self.sockets = socket.socketpair()
        self.server, self.worker = map(Channel, self.sockets)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.close()
        self.worker.close()


def sent(message: Message) -> Message:
    """As the other side receives it; a message may be larger than what the kernel holds."""
    with Pair() as pair:
        sender = threading.Thread(target=pair.server.send, args=(message,))
        sender.start()
        received = pair.worker.receive()
        sender.join()
    return received


def same(one, other) -> bool:
    return one == other or (
        isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    )


@given(NAMES, st.dictionaries(NAMES, SCALARS, max_size=4), st.dictionaries(NAMES, tensors(), max_size=4))
def test_messages_arrive_as_they_were(kind, fields, given_tensors):
    received = sent(Message(kind, fields, given_tensors))
    assert received.kind == kind
    assert received.fields.keys() == fields.keys()
    assert all(
        same(received.fields[key], value) and type(received.fields[key]) is type(value) for key, value in fields.items()
    )
    assert list(received.tensors) == list(given_tensors)
    for name, array in given_tensors.items():
        arrived = received.tensors[name]
        assert (arrived.dtype, arrived.shape) == (array.dtype, array.shape)
        assert arrived.flags.aligned
        assert arrived.flags.writeable
        assert arrived.tolist() == array.tolist() if array.dtype == object else arrived.tobytes() == array.tobytes()


@pytest.mark.parametrize("size", [1 << 14, (1 << 14) + 1, 1 << 20])
def test_large_tensors_cross_whole(size):
    array = np.arange(size, dtype=np.float64)
    received = sent(Message("infer", {}, {"x": array, "empty": array[:0], "y": array[::2]}))
    assert (received.tensors["x"] == array).all()
    assert (received.tensors["y"] == array[::2]).all()
    assert received.tensors["empty"].shape == (0,)


def test_large_tensors_are_not_copied_on_their_way_to_the_kernel():
    array = np.zeros(1 << 20, dtype=np.float32)
    assert any(
        np.shares_memory(np.frombuffer(piece, np.uint8), array) for piece in encode(Message("x", {}, {"x": array}))
    )


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array(["a", "é"]), [b"a", "é".encode()]),
        (np.array([b"a", b"\xff"]), [b"a", b"\xff"]),
        (np.array(["a", b"b", 3], dtype=object), [b"a", b"b", b"3"]),
        (np.arange(3, dtype=">i4"), [0, 1, 2]),
    ],
)
def test_what_models_answer_with_besides_becomes_a_datatype_of_the_protocol(array, expected):
    assert sent(Message("outputs", {}, {"y": array})).tensors["y"].tolist() == expected


def test_an_array_that_no_datatype_carries_is_told_by_name_before_anything_is_sent():
    with Pair() as pair:
        with pytest.raises(ModelFailedError, match="output 'y': numpy's complex128 has no datatype"):
            pair.worker.send(Message("outputs", {}, {"x": np.ones(1), "y": np.ones(1, complex)}))
        pair.worker.send(Message("outputs"))
        assert pair.server.receive() == Message("outputs")


@given(
    st.one_of(
        st.binary(max_size=80), st.binary(max_size=80).map(lambda rest: struct.pack("<4sIQ", b"SLW1", 8, 8) + rest)
    )
)
def test_arbitrary_bytes_are_refused(data):
    with Pair() as pair:
        pair.sockets[1].sendall(data)
        pair.sockets[1].shutdown(socket.SHUT_WR)
        with pytest.raises(ChannelError):
            pair.server.receive()


@given(st.data())
def test_a_damaged_message_is_refused_or_another_message(data):
    whole = bytearray(
        b"".join(encode(Message("infer", {"a": 1}, {"x": np.ones((2, 3)), "s": np.array([b"ab"], object)})))
    )
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    with Pair() as pair:
        pair.sockets[1].sendall(whole)
        pair.sockets[1].shutdown(socket.SHUT_WR)
        try:
            received = pair.server.receive()
        except ChannelError:
            return
        assert isinstance(received, Message)


def test_messages_that_come_together_are_read_one_by_one_and_the_socket_shows_the_next():
    with Pair() as pair:
        for number in (1, 2):
            pair.worker.send(Message("part", {}, {"x": np.full(3, number)}))
        for number in (1, 2):
            assert select.select([pair.server], [], [], 0)[0]
            assert pair.server.receive().tensors["x"].tolist() == [number] * 3
        assert not select.select([pair.server], [], [], 0)[0]


def test_a_size_that_cannot_be_is_refused_without_waiting_for_it():
    with Pair() as pair:
        pair.sockets[1].sendall(struct.pack("<4sIQ", b"SLW1", 8, 1 << 62))
        with pytest.raises(ProtocolError, match="no memory"):
            pair.server.receive()


def test_whether_anything_was_sent_is_known():
    with Pair() as pair:
        pair.worker.close()
        with pytest.raises(UnsentError):
            pair.server.send(Message("infer"))
        with pytest.raises(ClosedError):
            pair.server.receive()


def test_a_call_that_waits_is_woken_by_a_shutdown():
    with Pair() as pair:
        woken = []

        def wait():
            with pytest.raises(ClosedError) as caught:
                pair.server.receive()
            woken.append(caught.value)

        waiting = threading.Thread(target=wait)
        waiting.start()
        pair.server.shutdown()
        waiting.join()
        assert woken


def test_signatures_arrive_as_they_were():
    signature = Signature(
        (
            TensorSpec("x", FP32, (-1, 2), frozenset({DATATYPES["INT8"], BYTES}), ("a", "b"), [[1, 2.5]]),
            TensorSpec("any", BYTES, example="text"),
        ),
        (TensorSpec("y", DATATYPES["FP16"], ()),),
        (TensorSpec("z", DATATYPES["BOOL"], (3,)),),
    )
    received = sent(Message("ready", {"signature": signature_document(signature)}))
    restored = signature_from(received.fields["signature"])
    assert restored == signature
    assert restored.inputs[0].datatype is FP32


@pytest.mark.parametrize("example", [np.ones((1, 2)), [np.float32(1), np.float32(1)], (1, 1)])
def test_examples_may_be_arrays(example):
    signature = Signature((TensorSpec("x", FP32, (-1, 2), example=example),))
    received = sent(Message("ready", {"signature": signature_document(signature)}))
    restored = signature_from(received.fields["signature"]).inputs[0]
    assert restored.example_array().tolist() == signature.inputs[0].example_array().tolist()


def test_settings_keep_the_one_datatype_of_each_name():
    config = parse_config({"inputs": [{"name": "x", "datatype": "FP32"}], "parameters": {"a": [1]}})
    restored = pickle.loads(pickle.dumps(config))  # noqa: S301  # our own
    assert restored == config
    assert restored.inputs[0].datatype is FP32
