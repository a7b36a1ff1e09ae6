"""The messages of open_inference.proto, as classes.

They are made in a pool of their own: a model may bring a client of the same protocol, whose generated code claims the
same names in the pool that all programs share.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from slipway_serving.grpc.compile import COMPILED

SERVICE: Final = "inference.GRPCInferenceService"


def _classes() -> dict[str, Any]:
    files = descriptor_pb2.FileDescriptorSet.FromString(COMPILED.read_bytes()).file
    made = message_factory.GetMessages(files, descriptor_pool.DescriptorPool())
    return {name.removeprefix("inference."): message for name, message in made.items()}


_MESSAGES: Final = _classes()


def __getattr__(name: str) -> Any:
    try:
        return _MESSAGES[name]
    except KeyError:
        raise AttributeError(name) from None
