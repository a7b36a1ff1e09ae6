"""tritonclient over HTTP or gRPC, with its defaults. Arguments: http or grpc, and HOST:PORT."""

from __future__ import annotations

import importlib
import sys
from functools import partial

import ml_dtypes
import numpy as np
from cases import ARRAYS, TEXTS, Cases, refused, same
from tritonclient.utils import InferenceServerException

protocol, address = sys.argv[1:]
triton = importlib.import_module(f"tritonclient.{protocol}")
client = triton.InferenceServerClient(address)
case = Cases()


def tensor(name, datatype, array, **options):
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, **options)
    return made


def echo(datatype, array):
    """The client's defaults: binary both ways over HTTP, raw contents over gRPC."""
    result = client.infer("identity", [tensor("x", datatype, array)])
    assert result.get_output("x") is not None
    same(array, result.as_numpy("x"))


for datatype, array in ARRAYS.items():
    case.add(f"default {datatype}", partial(echo, datatype, array))
case.add("default BF16", partial(echo, "BF16", np.array([[0.5, -2.0], [1.0, 0.0]], dtype=ml_dtypes.bfloat16)))
case.add("default empty", partial(echo, "INT32", np.zeros((0, 2), dtype=np.int32)))
case.add("default large", partial(echo, "FP32", np.ones((1024, 2048), dtype=np.float32)))


def json_echo(datatype, array):
    wanted = [triton.InferRequestedOutput("x", binary_data=False)]
    result = client.infer("identity", [tensor("x", datatype, array, binary_data=False)], outputs=wanted)
    expected = array if datatype != "BYTES" else np.vectorize(lambda text: text, otypes=[object])(array)
    same(expected, result.as_numpy("x"))


if protocol == "http":
    for datatype, array in (ARRAYS | {"BYTES": TEXTS}).items():
        if datatype != "FP16":
            case.add(f"json {datatype}", partial(json_echo, datatype, array))


def compressed(algorithm):
    array = ARRAYS["FP32"]
    if protocol == "http":
        options = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
    else:
        options = {"compression_algorithm": algorithm}
    same(array, client.infer("identity", [tensor("x", "FP32", array)], **options).as_numpy("x"))


case.add("gzip", partial(compressed, "gzip"))
case.add("deflate", partial(compressed, "deflate"))


@case("health")
def health():
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("identity")
    assert client.is_model_ready("identity", "1")


@case("unknown model is not ready")
def not_ready():
    try:
        assert not client.is_model_ready("no-such-model")
    except InferenceServerException as error:
        assert "NOT_FOUND" in str(error), error  # noqa: PT017  # gRPC may say so


@case("metadata")
def metadata():
    server, model = client.get_server_metadata(), client.get_model_metadata("sums")
    if protocol == "grpc":
        names, shapes = [each.name for each in model.inputs], [list(each.shape) for each in model.inputs]
        assert "model_repository" in server.extensions
        assert model.name == "sums"
    else:
        names, shapes = [each["name"] for each in model["inputs"]], [each["shape"] for each in model["inputs"]]
        assert "binary_tensor_data" in server["extensions"]
        assert model["name"] == "sums"
    assert (names, shapes) == (["x"], [[-1, 4]])


@case("several inputs, one output asked for")
def several():
    inputs = [tensor("a", "INT64", np.array([1, 2, 3])), tensor("b", "BYTES", ARRAYS["BYTES"])]
    result = client.infer("identity", inputs, outputs=[triton.InferRequestedOutput("b")])
    same(ARRAYS["BYTES"], result.as_numpy("b"))
    assert result.as_numpy("a") is None


@case("id and parameters")
def identifier():
    inputs = [tensor("x", "FP32", ARRAYS["FP32"])]
    parameters = {"text": "a", "whole": 3, "flag": True}
    response = client.infer("identity", inputs, request_id="größe", parameters=parameters).get_response()
    assert (response["id"] if protocol == "http" else response.id) == "größe"


@case("a version")
def version():
    response = client.infer("identity", [tensor("x", "FP32", ARRAYS["FP32"])], model_version="1").get_response()
    assert (response["model_version"] if protocol == "http" else response.model_version) == "1"


@case("priority and timeout")
def scheduled():
    client.infer("identity", [tensor("x", "FP32", ARRAYS["FP32"])], priority=1, timeout=10_000_000)


@case("asynchronous calls")
def asynchronous():
    inputs = [tensor("x", "FP32", ARRAYS["FP32"])]
    if protocol == "http":
        results = [call.get_result() for call in [client.async_infer("identity", inputs) for _ in range(3)]]
    else:
        import queue  # noqa: PLC0415

        answers = queue.Queue()
        for _ in range(3):
            client.async_infer("identity", inputs, callback=lambda result, error: answers.put(error or result))
        results = [answers.get(timeout=10) for _ in range(3)]
    for result in results:
        same(ARRAYS["FP32"], result.as_numpy("x"))


@case("what is wrong is refused with a sentence")
def mistakes():
    def call(model="sums", name="x", datatype="FP32", array=ARRAYS["FP32"], **options):
        return lambda: client.infer(model, [tensor(name, datatype, array)], **options)

    wide = np.ones((1, 5), dtype=np.float32)
    refused(InferenceServerException, "no-such-model", call(model="no-such-model"))
    refused(InferenceServerException, "shape", call(array=wide))
    refused(InferenceServerException, "no input 'y'", call(name="y", array=wide[:, :4]))
    refused(InferenceServerException, "datatype", call(datatype="BYTES", array=ARRAYS["BYTES"]))
    refused(InferenceServerException, "version", call(array=wide[:, :4], model_version="7"))
    unknown = [triton.InferRequestedOutput("z")]
    refused(InferenceServerException, "no output 'z'", call(array=wide[:, :4], outputs=unknown))


@case("repository")
def repository():
    def states():
        index = client.get_model_repository_index()
        if protocol == "grpc":
            return {each.name: each.state for each in index.models}
        return {each["name"]: each["state"] for each in index}

    assert states()["other"] == "READY", states()
    client.unload_model("other")
    try:
        assert states()["other"] == "UNAVAILABLE", states()
        assert not _is_ready("other")
    finally:
        client.load_model("other")
    assert client.is_model_ready("other")
    refused(InferenceServerException, "no-such-model", lambda: client.load_model("no-such-model"))


def _is_ready(name):
    try:
        return client.is_model_ready(name)
    except InferenceServerException:
        return False


@case("configuration and statistics, as perf_analyzer asks")
def introspection():
    before = _count()
    client.infer("identity", [tensor("x", "FP32", ARRAYS["FP32"])])
    assert _count() > before
    config = client.get_model_config("sums", **({"as_json": True} if protocol == "grpc" else {}))
    config = config.get("config", config)
    assert config["name"] == "sums"
    assert config["input"][0]["data_type"] == "TYPE_FP32"


def _count():
    options = {"as_json": True} if protocol == "grpc" else {}
    (found,) = client.get_inference_statistics("identity", **options)["model_stats"]
    return int(found.get("inference_count", 0))


if protocol == "grpc":

    @case("a stream of requests")
    def stream():
        import queue  # noqa: PLC0415

        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put(error or result))
        sent = [str(number) for number in range(100)]
        for name in sent:
            client.async_stream_infer("identity", [tensor("x", "FP32", ARRAYS["FP32"])], request_id=name)
        results = [answers.get(timeout=10) for _ in sent]
        client.stop_stream()
        assert sorted(result.get_response().id for result in results) == sorted(sent)
        for result in results:
            same(ARRAYS["FP32"], result.as_numpy("x"))

    @case("the last answer in a stream says that it is")
    def final_response():
        import queue  # noqa: PLC0415

        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put(error or result))
        sent = [tensor("x", "FP32", ARRAYS["FP32"])]
        client.async_stream_infer("identity", sent, request_id="7", enable_empty_final_response=True)
        answer = answers.get(timeout=10).get_response()
        client.stop_stream()
        assert answer.id == "7"
        assert answer.parameters["triton_final_response"].bool_param

    @case("a model that is not there is not ready")
    def not_ready():
        assert not client.is_model_ready("no-such-model")


case.run()
