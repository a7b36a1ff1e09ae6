"""KServe's clients. Arguments: the server's URL, and HOST:PORT of gRPC."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from cases import ARRAYS, TEXTS, Cases, refused, same
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

url, address = sys.argv[1:]
case = Cases()


def request(array, datatype, *, binary, **options):
    tensor = InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return InferRequest("identity", [tensor], **options)


async def with_rest(use, protocol="v2"):
    async with InferenceRESTClient(RESTConfig(protocol=protocol, timeout=20)) as client:
        return await use(client)


async def with_grpc(use):
    async with InferenceGRPCClient(address, timeout=20) as client:
        return await use(client)


def rest(use, protocol="v2"):
    return asyncio.run(with_rest(use, protocol))


def grpc(use):
    return asyncio.run(with_grpc(use))


def rest_echo(datatype, array, binary):
    asked = {"parameters": {"binary_data_output": True}} if binary else {}
    answer = rest(lambda client: client.infer(url, request(array, datatype, binary=binary, **asked), "identity"))
    same(array, answer.outputs[0].as_numpy().astype(array.dtype))


def grpc_echo(datatype, array):
    answer = grpc(lambda client: client.infer(request(array, datatype, binary=True)))
    same(array, answer.outputs[0].as_numpy())


for datatype, array in ARRAYS.items():
    text = TEXTS if datatype == "BYTES" else array  # over REST the client makes text of all bytes that it gets
    case.add(f"rest binary {datatype}", partial(rest_echo, datatype, text, True))
    if datatype != "FP16":
        case.add(f"rest json {datatype}", partial(rest_echo, datatype, text, False))
    case.add(f"grpc {datatype}", partial(grpc_echo, datatype, array))


@case("rest health")
def rest_health():
    assert rest(lambda client: client.is_server_live(url))
    assert rest(lambda client: client.is_server_ready(url))
    assert rest(lambda client: client.is_model_ready(url, "identity"))


@case("grpc health")
def grpc_health():
    assert grpc(lambda client: client.is_server_live())
    assert grpc(lambda client: client.is_server_ready())
    assert grpc(lambda client: client.is_model_ready("identity"))


@case("rest requested outputs and id")
def requested():
    outputs = [RequestedOutput("x")]
    asked = request(ARRAYS["FP32"], "FP32", binary=False, request_id="42", request_outputs=outputs)
    answer = rest(lambda client: client.infer(url, asked, "identity"))
    assert answer.id == "42"
    assert [output.name for output in answer.outputs] == ["x"]


@case("rest mistakes")
def rest_mistakes():
    asked = request(ARRAYS["FP32"], "FP32", binary=False)
    refused(Exception, "404", lambda: rest(lambda client: client.infer(url, asked, "no-such-model")))


@case("grpc mistakes")
def grpc_mistakes():
    asked = request(ARRAYS["FP32"], "FP32", binary=True)
    asked.model_name = "no-such-model"
    refused(Exception, "not_found", lambda: grpc(lambda client: client.infer(asked)))


@case("v1 predict")
def v1_predict():
    rows = {"instances": [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]}
    answer = rest(lambda client: client.infer(url, rows, "sums"), "v1")
    assert answer == {"predictions": [10.0, 26.0]}, answer


@case("v1 health")
def v1_health():
    assert rest(lambda client: client.is_model_ready(url, "sums"), "v1")


@case("v1 explain of a model that has none is a 501")
def v1_explain():
    rows = {"instances": [[1.0, 2.0, 3.0, 4.0]]}
    refused(Exception, "501", lambda: rest(lambda client: client.explain(url, "sums", rows), "v1"))


case.run()
