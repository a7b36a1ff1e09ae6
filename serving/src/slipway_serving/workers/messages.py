"""What the server and a worker say to each other, over a pair of sockets that only the two hold.

They take turns: the server says `load` and later `infer`, the worker answers each with one message. To `stream` and
`call` it answers with `end`, or with `open`, any number of `part`, and `end`; each part but the first waits for the
server's `more`. Instead the server may say `close` at any time: what runs is ended, and the `end` follows. A message is

    magic, length of the header, length of the body      16 bytes, little-endian
    header                                               JSON: kind, fields, and [name, datatype, shape, bytes] a tensor
    body                                                 the tensors as in the binary tensor extension, in that order

Header and tensors are padded to 8 bytes, so that arrays are views of what was received. The server unpickles nothing.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slipway_serving.codec import binary
from slipway_serving.datatypes import BYTES, Array, Datatype, Tensors, datatype_named, datatype_of
from slipway_serving.errors import ModelFailedError, ServingError
from slipway_serving.signature import Signature, TensorSpec

LOAD, READY, REFUSED = (
    "load",  # to the worker: the task
    "ready",  # the signature, what the model can do, seconds
    "refused",  # a ModelLoadError
)
INFER, OUTPUTS = (
    "infer",  # to the worker: outputs, parameters, inputs
    "outputs",
)
STREAM, CALL, MORE, CLOSE = (
    "stream",  # to the worker, as `infer`
    "call",  # to the worker: the operation and what it gets
    "more",  # to the worker: the last part has been taken
    "close",  # to the worker: nobody reads any more; where nothing runs, it means nothing
)
OPEN, PART, END = (
    "open",  # the model yields
    "part",  # what it has yielded
    "end",  # nothing runs any more; what an operation has returned
)
ERROR, FAILED = (
    "error",  # a RequestError
    "failed",  # any other exception
)
TRACE = "trace"
"""The field of a request that has the headers of its trace; left out where nobody traces."""

_MAGIC = b"SLW1"
_PREFIX = struct.Struct("<4sIQ")
_ALIGNMENT = 8
_JOINED = 1 << 16
"""Below so many bytes one copy is cheaper than telling the kernel of many pieces."""
_PIECES = 512
"""Fewer than IOV_MAX everywhere."""

Piece = bytes | memoryview


class ChannelError(ServingError):
    """The other side is gone, or says what cannot be."""


class ClosedError(ChannelError):
    """The other side is gone; it may have read what was sent."""


class UnsentError(ClosedError):
    """The other side was gone before a single byte was sent."""


class ProtocolError(ChannelError):
    """The other side sent what is no message."""


@dataclass(frozen=True, slots=True)
class Message:
    """`fields` are what JSON carries, with NaN and infinity; `tensors` are numbers, booleans and strings."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    tensors: Tensors = field(default_factory=dict)


def encode(message: Message) -> list[Piece]:
    """A message in pieces; large arrays are not copied. Raises ModelFailedError for one that has no datatype."""
    entries = []
    pieces: list[Piece] = []
    size = 0
    for name, array in message.tensors.items():
        datatype = _datatype(name, array)
        data = _data(array, datatype)
        padding = bytes(-len(data) % _ALIGNMENT)
        entries.append((name, datatype.name, array.shape, len(data)))
        pieces += (data, padding)
        size += len(data) + len(padding)
    document = {"kind": message.kind, "fields": message.fields, "tensors": entries}
    header = _JSON.encode(document).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    return [_PREFIX.pack(_MAGIC, len(header), size), header, *pieces]


def _datatype(name: str, array: Array) -> Datatype:
    try:
        return datatype_of(array)
    except ValueError as error:
        raise ModelFailedError(f"output '{name}': {error}") from None


def _data(array: Array, datatype: Datatype) -> Piece:
    if datatype is BYTES:
        return binary.bytes_of(array, datatype)
    return np.ascontiguousarray(array, dtype=datatype.dtype).reshape(-1).view(np.uint8).data


def _plain(value: Any) -> Any:
    """What may be in a model's example besides JSON: arrays, numpy's numbers, bytes."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be sent to the server")


_JSON = json.JSONEncoder(separators=(",", ":"), default=_plain)


def decode(header: memoryview, body: memoryview) -> Message:
    """Reads what `encode` wrote after its first 16 bytes; arrays are views of `body`. Raises ProtocolError."""
    try:
        document = json.loads(bytes(header))
        tensors: Tensors = {}
        for name, datatype, shape, size in document["tensors"]:
            tensors[name] = _array(body[:size], datatype_named(datatype), shape)
            body = body[size + -size % _ALIGNMENT :]
        if body:
            raise ProtocolError(f"{len(body)} bytes belong to no tensor")
        return Message(document["kind"], document["fields"], tensors)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, MemoryError, ServingError) as error:
        raise ProtocolError(f"what is no message: {type(error).__name__}: {str(error)[:200]}") from error


def _array(data: memoryview, datatype: Datatype, shape: list[int]) -> Array:
    if datatype is BYTES:
        return binary.array_from(data, datatype, shape, "a tensor")
    return np.frombuffer(data, dtype=datatype.dtype).reshape(shape)


class Channel:
    """One end of the pair. For one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._prefix = bytearray(_PREFIX.size)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Raises UnsentError, ClosedError, and what `encode` raises, all of that before anything is sent."""
        pieces = encode(message)
        if sum(map(len, pieces)) < _JOINED:
            pieces = [b"".join(pieces)]
        sent = 0
        try:
            while pieces:
                count = self._socket.sendmsg(pieces[:_PIECES])
                sent += count
                pieces = _after(pieces, count)
        except OSError as error:
            raise (ClosedError if sent else UnsentError)(str(error)) from error

    def receive(self) -> Message:
        """The next message. Raises ClosedError and ProtocolError."""
        self._read(memoryview(self._prefix))
        magic, header_size, body_size = _PREFIX.unpack(self._prefix)
        if magic != _MAGIC:
            raise ProtocolError("what is no message")
        try:
            whole = np.empty(header_size + body_size, dtype=np.uint8).data  # unlike a bytearray, not written twice
        except (MemoryError, ValueError) as error:
            raise ProtocolError(
                f"a message of {header_size + body_size} bytes, for which there is no memory"
            ) from error
        self._read(whole)
        return decode(whole[:header_size], whole[header_size:])

    def _read(self, into: memoryview) -> None:
        """Fills a buffer, and takes no more: what comes after it is for those who wait for the socket."""
        while into:
            try:
                count = self._socket.recv_into(into)
            except OSError as error:
                raise ClosedError(str(error)) from error
            if not count:
                raise ClosedError("the other side is gone")
            into = into[count:]

    def finish(self) -> None:
        """Says that nothing more will be sent; the other side's answer can still be received."""
        self._shut(socket.SHUT_WR)

    def shutdown(self) -> None:
        """Whoever waits in `receive`, in any thread, gets a ClosedError."""
        self._shut(socket.SHUT_RDWR)

    def _shut(self, how: int) -> None:
        try:
            self._socket.shutdown(how)
        except OSError:
            return  # the other side was first

    def close(self) -> None:
        self._socket.close()


def _after(pieces: list[Piece], count: int) -> list[Piece]:
    """What is left to send, after so many bytes were."""
    for index, piece in enumerate(pieces):
        if count < len(piece):
            return [memoryview(piece)[count:], *pieces[index + 1 :]]
        count -= len(piece)
    return []


def signature_document(signature: Signature) -> dict[str, Any]:
    """A signature as JSON carries it."""
    groups = {
        "inputs": signature.inputs,
        "outputs": signature.outputs,
        "optional_outputs": signature.optional_outputs,
    }
    return {group: [_spec_document(spec) for spec in specs] for group, specs in groups.items()}


def _spec_document(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "datatype": spec.datatype.name,
        "shape": spec.shape,
        "accepts": sorted(datatype.name for datatype in spec.accepts),
        "columns": spec.columns,
        "example": spec.example,
    }


def signature_from(document: Mapping[str, Any]) -> Signature:
    """Reads what `signature_document` wrote."""
    return Signature(**{group: tuple(map(_spec_from, specs)) for group, specs in document.items()})


def _spec_from(document: Mapping[str, Any]) -> TensorSpec:
    shape = document["shape"]
    return TensorSpec(
        document["name"],
        datatype_named(document["datatype"]),
        None if shape is None else tuple(shape),
        frozenset(map(datatype_named, document["accepts"])),
        tuple(document["columns"]),
        document["example"],
    )
