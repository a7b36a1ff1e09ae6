"""Sends a frame as a real gRPC client does; prints the values of the answer and its size. ADDRESS FRAME."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import InferResult, service_pb2

_PREFIX = 5
_LIMIT = 8 << 20


def main() -> None:
    address, frame = sys.argv[1:]
    options = [("grpc.max_send_message_length", _LIMIT), ("grpc.max_receive_message_length", _LIMIT)]
    with grpc.insecure_channel(address, options=options) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")  # bytes in, bytes out
        message = infer(Path(frame).read_bytes()[_PREFIX:], timeout=20)
    response = service_pb2.ModelInferResponse.FromString(message)
    print(json.dumps({"values": values(response), "bytes": len(message) + _PREFIX}))


def values(response: Any) -> list[float]:
    """Of the first output, whether its contents are raw or typed."""
    tensor = response.outputs[0]
    array = InferResult(response).as_numpy(tensor.name)
    contents = tensor.contents
    typed = [*contents.fp32_contents, *contents.fp64_contents, *contents.int64_contents]
    return [float(value) for value in (np.ravel(array) if array is not None else typed)]


if __name__ == "__main__":
    main()
