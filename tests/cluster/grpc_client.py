"""Asks over gRPC for the species of the example's flower: ADDRESS MODEL. Prints it, and whether the server lives."""

from __future__ import annotations

import json
import struct
import sys

import grpc

from slipway_serving.grpc import messages

ADDRESS, MODEL = sys.argv[1:]
FLOWER = struct.pack("<4f", 5.1, 3.5, 1.4, 0.2)
OPTIONS = [("grpc.enable_http_proxy", 0)]  # the address may be of a network that no proxy knows


def call(channel, name, request):
    method = channel.unary_unary(
        f"/{messages.SERVICE}/{name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=getattr(messages, f"{name}Response").FromString,
    )
    return method(request, timeout=60, wait_for_ready=True)


infer = messages.ModelInferRequest(model_name=MODEL, raw_input_contents=[FLOWER])
infer.inputs.add(name="x", datatype="FP32", shape=[1, 4])
infer.outputs.add(name="label")
with grpc.insecure_channel(ADDRESS, options=OPTIONS) as connection:
    live = call(connection, "ServerLive", messages.ServerLiveRequest()).live
    answer = call(connection, "ModelInfer", infer)
(content,) = answer.raw_output_contents
(length,) = struct.unpack_from("<I", content)  # before each element of BYTES
sys.stdout.write(json.dumps({"live": live, "label": content[4 : 4 + length].decode()}))
