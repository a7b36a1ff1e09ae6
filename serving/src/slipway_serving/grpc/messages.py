"""The messages of open_inference.proto, as classes.

They are made in a pool of their own: a model may bring a client of the same protocol, whose generated code claims the
same names in the pool that all programs share.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from slipway_serving.errors import InvalidInputError
from slipway_serving.grpc.compile import COMPILED

SERVICE: Final = "inference.GRPCInferenceService"


def _classes() -> dict[str, Any]:
    files = descriptor_pb2.FileDescriptorSet.FromString(COMPILED.read_bytes()).file
    made = message_factory.GetMessages(files, descriptor_pool.DescriptorPool())
    return {name.removeprefix("inference."): message for name, message in made.items()}


_MESSAGES: Final = _classes()


def read(name: str, data: bytes) -> Any:
    """The message of this name that a client sent. Raises InvalidInputError."""
    try:
        return _MESSAGES[name].FromString(data)
    except DecodeError:
        raise InvalidInputError(f"the message is not a {name}") from None


def __getattr__(name: str) -> Any:
    try:
        return _MESSAGES[name]
    except KeyError:
        raise AttributeError(name) from None
