"""V2 over gRPC: the codec against the other two forms of a tensor, and grpcio's own client against the real server."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys

import grpc
import grpc.aio
import numpy as np
import orjson
import pytest
from grpc_client import FLOWER, flower, request, serve
from hypothesis import given
from hypothesis import strategies as st

from slipway_serving.codec import v2
from slipway_serving.datatypes import DATATYPES
from slipway_serving.errors import InvalidInputError
from slipway_serving.grpc import codec, compile, messages  # noqa: A004  # a module's name
from slipway_serving.middleware.authentication import Authenticator, parse_keys
from slipway_serving.middleware.files import FollowedFile
from slipway_serving.signature import Signature

ANYTHING = Signature()
SHAPES = st.lists(st.integers(0, 3), max_size=3)


def test_the_compiled_messages_are_those_of_the_source(tmp_path):
    fresh = tmp_path / "fresh.binpb"
    done = subprocess.run([sys.executable, "-m", "slipway_serving.grpc.compile", str(fresh)], check=False)
    assert done.returncode == 0
    assert fresh.read_bytes() == compile.COMPILED.read_bytes()


def decoded(message, signature=ANYTHING):
    return codec.decode(*codec.parse(message.SerializeToString()), signature)


@pytest.mark.parametrize("datatype", DATATYPES)
@given(shape=SHAPES, data=st.data())
def test_a_tensor_is_the_same_over_rest_and_grpc(datatype, shape, data):
    kind = DATATYPES[datatype]
    count = int(np.prod(shape, dtype=int))
    if datatype == "BYTES":
        items = data.draw(st.lists(st.binary(max_size=5), min_size=count, max_size=count))
        raw = b"".join(len(item).to_bytes(4, "little") + item for item in items)
    elif datatype == "BOOL":
        raw = bytes(data.draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)))
    else:
        size = count * kind.dtype.itemsize
        raw = data.draw(st.binary(min_size=size, max_size=size))
    over_grpc = decoded(request(datatype=datatype, shape=shape, raw=raw)).inputs
    entry = {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
    head = orjson.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}})
    over_rest = v2.decode_request(head + raw, ANYTHING, len(head))
    assert over_grpc["x"].dtype == over_rest.inputs["x"].dtype == kind.dtype
    assert over_grpc["x"].shape == tuple(shape)
    answer = messages.ModelInferResponse.FromString(codec.encode(over_rest, over_grpc, "m", ""))
    assert list(answer.raw_output_contents) == [raw]
    assert (answer.outputs[0].datatype, list(answer.outputs[0].shape)) == (datatype, shape)
    encoded = v2.encode_response(over_rest, over_grpc, "m")
    assert encoded.body[encoded.header_length or len(encoded.body) :] == raw


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_request_or_a_sentence(data):
    with contextlib.suppress(InvalidInputError):
        codec.decode(*codec.parse(data), ANYTHING)


@given(st.data())
def test_a_broken_request_is_a_request_or_a_sentence(data):
    whole = bytearray(request(raw=b"12345678").SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidInputError):
        codec.decode(*codec.parse(bytes(whole)), ANYTHING)


def test_raw_contents_are_not_copied():
    data = request(raw=np.arange(2, dtype="<f4").tobytes()).SerializeToString()
    _, raw = codec.parse(data)
    assert raw[0].obj is data


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("UINT16", "uint_contents", [0, 65535]),
        ("INT64", "int64_contents", [-(2**63), 2**63 - 1]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("FP32", "fp32_contents", [0.5, float("inf")]),
        ("FP64", "fp64_contents", [0.1, -0.0]),
        ("BYTES", "bytes_contents", [b"\xff", b""]),
    ],
)
def test_typed_contents(datatype, field, values):
    assert decoded(request(datatype=datatype, **{field: values})).inputs["x"].tolist() == values


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (messages.ModelInferRequest(), "'inputs' is empty"),
        (request(raw=b"1234"), "inputs[0] 'x' has 4 bytes, but FP32 [2] has 8"),
        (request(raw=b"12345678", fp32_contents=[1, 2]), "has both contents and raw_input_contents"),
        (request(fp64_contents=[1, 2]), "has fp64_contents, but FP32 is in fp32_contents"),
        (request(fp32_contents=[1]), "has 1 elements, but shape [2] has 2"),
        (request(datatype="FP16"), "FP16 has no typed contents"),
        (request(datatype="BF16"), "BF16 has no typed contents"),
        (request(datatype="FLOAT"), "unknown datatype 'FLOAT'"),
        (request(datatype="INT8", int_contents=[1, 300]), "element 1 is 300, but INT8 takes"),
        (request(shape=(-1,), raw=b""), "shape has -1"),
        (request(shape=(1,) * 40, raw=b""), "shape has 40 lengths"),
        (request(name="", raw=b"12345678"), "inputs[0].name is missing"),
    ],
)
def test_what_cannot_be_is_named(message, says):
    with pytest.raises(InvalidInputError) as caught:
        decoded(message)
    assert says in str(caught.value)


def test_parameters_have_their_types_and_need_a_value():
    message = request(raw=b"12345678")
    for key, (field, value) in {
        "a": ("bool_param", True),
        "b": ("int64_param", -1),
        "c": ("string_param", "s"),
        "d": ("double_param", 0.5),
        "e": ("uint64_param", 2**64 - 1),
    }.items():
        setattr(message.parameters[key], field, value)
    assert decoded(message).parameters == {"a": True, "b": -1, "c": "s", "d": 0.5, "e": 2**64 - 1}
    message.parameters["f"].SetInParent()
    with pytest.raises(InvalidInputError, match=r"parameters\['f'\] has no value"):
        decoded(message)


# A server


async def test_every_method_answers(iris):
    async with serve(iris) as client:
        named = {"name": "iris"}
        assert (await client.call("ServerLive")).live
        assert (await client.call("ServerReady")).ready
        assert (await client.call("ServerMetadata")).name == "slipway-serving"
        assert (await client.call("ModelReady", messages.ModelReadyRequest(**named))).ready
        metadata = await client.call("ModelMetadata", messages.ModelMetadataRequest(**named))
        assert [(tensor.name, tensor.datatype) for tensor in metadata.outputs] == [
            ("label", "BYTES"),
            ("probabilities", "FP32"),
        ]
        config = (await client.call("ModelConfig", messages.ModelConfigRequest(**named))).config
        assert (config.max_batch_size, list(config.input[0].dims)) == (32, [4])
        answer = await client.call("ModelInfer", flower())
        assert (answer.id, answer.model_name) == ("7", "iris")
        assert answer.raw_output_contents[0] == b"\x06\x00\x00\x00setosa"
        stats = (await client.call("ModelStatistics")).model_stats[0]
        assert (stats.name, stats.inference_count) == ("iris", 1)
        index = await client.call("RepositoryIndex")
        assert [(model.name, model.state) for model in index.models] == [("iris", "READY")]


async def test_models_are_unloaded_and_loaded(iris):
    async with serve(iris) as client:
        unload = messages.RepositoryModelUnloadRequest(model_name="iris")
        unload.parameters["unload_dependents"].bool_param = False
        await client.call("RepositoryModelUnload", unload)
        assert await client.refused("ModelInfer", flower()) == ("UNAVAILABLE", "model 'iris' is unloaded")
        assert not (await client.call("ModelReady", messages.ModelReadyRequest(name="iris"))).ready
        load = messages.RepositoryModelLoadRequest(model_name="iris")
        await client.call("RepositoryModelLoad", load)
        await client.call("ModelInfer", flower())
        load.parameters["config"].string_param = "{}"
        assert (await client.refused("RepositoryModelLoad", load))[0] == "INVALID_ARGUMENT"
        elsewhere = messages.RepositoryIndexRequest(repository_name="other")
        assert (await client.refused("RepositoryIndex", elsewhere))[0] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        (flower(model="irsi"), "NOT_FOUND", "did you mean 'iris'?"),
        (flower(model_version="9"), "NOT_FOUND", "no version '9'"),
        (request(shape=(1, 3), raw=b"0" * 12), "NOT_FOUND", "model 'm'"),
        (messages.ModelInferRequest(model_name="iris"), "INVALID_ARGUMENT", "'inputs' is empty"),
    ],
)
async def test_mistakes_are_statuses(iris, message, code, says):
    async with serve(iris) as client:
        found, said = await client.refused("ModelInfer", message)
    assert found == code
    assert says in said


async def test_a_model_that_fails_tells_no_secrets(python_model):
    directory = python_model("class Model:\n    def predict(self, inputs): raise KeyError('secret')")
    async with serve(directory) as client:
        code, said = await client.refused("ModelInfer", flower(model="echo"))
    assert code == "INTERNAL"
    assert "secret" not in said


async def test_a_message_beyond_the_limit_is_refused(iris):
    async with serve(iris) as client:
        large = request(shape=(3_000_000,), raw=bytes(12_000_000))
        assert (await client.refused("ModelInfer", large))[0] == "RESOURCE_EXHAUSTED"


async def test_a_stream_answers_each_request_and_goes_on_after_a_failure(iris):
    async with serve(iris) as client:
        answers = [answer async for answer in client.stream(iter([flower(), flower(model="no"), flower(id="8")]))]
    assert sorted(answer.infer_response.id for answer in answers) == ["7", "7", "8"]  # also of the one that failed
    (failed,) = [answer for answer in answers if answer.error_message]
    assert "model 'no'" in failed.error_message


async def test_a_model_that_yields_streams(python_model):
    directory = python_model("class Model:\n    def predict(self, inputs):\n        yield inputs\n        yield inputs")
    async with serve(directory) as client:
        answers = [answer async for answer in client.stream(iter([flower(model="echo")]))]
    assert [list(answer.infer_response.raw_output_contents) for answer in answers] == [[FLOWER], [FLOWER]]


async def test_a_client_that_leaves_takes_its_request_back(python_model):
    source = """
        import threading

        class Model:
            gate = threading.Event()

            def predict(self, inputs):
                self.gate.wait()
                return inputs
    """
    async with serve(python_model(source)) as client:
        model = client.app.repository.find("echo")
        first = asyncio.create_task(client.call("ModelInfer", flower(model="echo")))
        second = asyncio.create_task(client.call("ModelInfer", flower(model="echo")))
        while model.in_flight < 2:  # noqa: ASYNC110  # the server has no event for it
            await asyncio.sleep(0.01)
        second.cancel()
        while model.in_flight > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        type(model.runtime._predict.__self__).gate.set()
        assert (await first).id == "7"
        assert client.server.in_flight == 0


async def test_health_for_the_kubelet_and_readiness_while_draining(iris):
    async with serve(iris) as client:
        check = client.channel.unary_unary("/grpc.health.v1.Health/Check")
        assert await check(b"") == b"\x08\x01"
        assert await check(b"\x0a\x1e" + b"inference.GRPCInferenceService") == b"\x08\x01"
        with pytest.raises(grpc.aio.AioRpcError, match="NOT_FOUND"):
            await check(b"\x0a\x01x")
        watch = client.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        assert await watch.read() == b"\x08\x01"
        client.app.draining = True
        assert await watch.read() == b"\x08\x02"
        assert await check(b"") == b"\x08\x02"
        assert not (await client.call("ServerReady")).ready
        await client.call("ModelInfer", flower())


async def test_without_a_key_only_health_is_answered(iris, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("somebody:0123456789abcdef\n")
    authenticator = Authenticator(FollowedFile(keys, parse_keys), None)
    async with serve(iris, authenticator=authenticator) as client:
        assert (await client.call("ServerLive")).live
        assert (await client.refused("ModelInfer", flower()))[0] == "UNAUTHENTICATED"
        with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
            await client.stream(iter([flower()])).read()
        metadata = (("authorization", "Bearer 0123456789abcdef"),)
        assert (await client.call("ModelInfer", flower(), metadata=metadata)).id == "7"


def test_inference_keeps_the_names_that_were_asked_for():
    message = request(raw=b"12345678")
    message.outputs.add(name="y")
    assert decoded(message).outputs == ("y",)
    message.outputs.add(name="y")
    with pytest.raises(InvalidInputError, match="asked for twice"):
        decoded(message)
