"""The protocol over gRPC. Imported only where gRPC is tested: it needs grpcio and protobuf."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

import grpc
import numpy as np

from slipway_serving.conformance.checks import CheckFailed, Group, Level, NotSupported, NotTested, expect
from slipway_serving.conformance.target import Target
from slipway_serving.conformance.tensors import BINARY_ONLY, DATATYPES, SAMPLES, to_raw

messages: Any = import_module("slipway_serving.grpc.messages")  # generated, without types
GRPC = Group("grpc", "gRPC, open_inference_grpc.proto")
_SERVICE = "inference.GRPCInferenceService"
_CONTENTS = {
    "BOOL": "bool_contents",
    **{f"INT{bits}": "int_contents" for bits in (8, 16, 32)},
    **{f"UINT{bits}": "uint_contents" for bits in (8, 16, 32)},
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_SHOWN = 10_000
_UNKNOWN = "no-such-model-a7f3"
_CLIENT_CODES = {"INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE", "FAILED_PRECONDITION", "UNIMPLEMENTED"}

Message = TypeVar("Message")


def _call(target: Target, method: str, request: Any, answer: Callable[[], Message]) -> Message:
    """Calls a method. Raises grpc.RpcError."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(target.grpc, options) as channel:
        call = channel.unary_unary(
            f"/{_SERVICE}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,  # type: ignore[attr-defined]  # of every message
        )
        made: Message = call(request, timeout=target.client.timeout)
        return made


def call(target: Target, method: str, request: Any, answer: Callable[[], Message]) -> Message:
    """The answer to a call. Raises CheckFailed with its status."""
    try:
        return _call(target, method, request, answer)
    except grpc.RpcError as error:
        raise CheckFailed(f"{error.code().name}: {error.details():.200}") from None


def refusal(target: Target, method: str, request: Any, answer: Callable[[], Any]) -> tuple[str, str]:
    """Code and text of a call that has to fail. Raises CheckFailed where it does not."""
    try:
        found = _call(target, method, request, answer)
    except grpc.RpcError as error:
        return error.code().name, f"{error.code().name}: {error.details():.200}"
    raise CheckFailed(f"OK: {_seen(found)}")


def _seen(message: Any) -> str:
    size = message.ByteSize()
    if size > _SHOWN:
        return f"OK, {size} bytes"
    text = " ".join(str(message).split())
    return f"OK {text[:150]}".strip()


def infer(target: Target, request: Any) -> Any:
    return call(target, "ModelInfer", request, messages.ModelInferResponse)


def build(target: Target, *tensors: dict[str, Any], raw: bool, **keys: Any) -> Any:
    """A ModelInferRequest of the suite's tensors, with raw or typed contents."""
    request = messages.ModelInferRequest(model_name=target.model, **keys)
    for tensor in tensors:
        entry = request.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        if raw:
            request.raw_input_contents.append(to_raw(tensor["datatype"], tensor["data"]))
        else:
            values = [value.encode() if isinstance(value, str) else value for value in tensor["data"]]
            getattr(entry.contents, _CONTENTS[tensor["datatype"]]).extend(values)
    return request


def outputs(answer: Any) -> dict[str, tuple[str, list[int], bytes]]:
    """Datatype, shape and raw data of the outputs, by name. Raises CheckFailed where raw and typed data mix."""
    raw = list(answer.raw_output_contents)
    typed = [output for output in answer.outputs if output.contents.ByteSize()]
    expect(not (raw and typed), f"raw and typed contents in one answer: {_seen(answer)}")
    expect(not raw or len(raw) == len(answer.outputs), f"{len(raw)} raw contents for {len(answer.outputs)} outputs")
    found = {}
    for index, output in enumerate(answer.outputs):
        data = raw[index] if raw else _typed(output)
        found[output.name] = (output.datatype, list(output.shape), data)
    return found


def _typed(output: Any) -> bytes:
    expect(output.datatype in _CONTENTS, f"{output.datatype} in typed contents, which has no field for it")
    return to_raw(output.datatype, list(getattr(output.contents, _CONTENTS[output.datatype])))


def _echo(target: Target, tensor: dict[str, Any], *, raw: bool, **keys: Any) -> str:
    datatype = tensor["datatype"]
    answer = infer(target, build(target, tensor, raw=raw, **keys))
    name = target.echoes[datatype][1]
    found = outputs(answer)
    expect(name in found, f"no output '{name}': {_seen(answer)}")
    sent = to_raw(datatype, tensor["data"])
    got = found[name]
    expect(
        got == (datatype, tensor["shape"], sent), f"sent {sent.hex()[:60]}, got {got[0]} {got[1]} {got[2].hex()[:60]}"
    )
    return f"OK, {len(sent)} bytes {'raw' if answer.raw_output_contents else 'typed'}"


def _datatype(datatype: str, raw: bool, target: Target) -> str:
    return _echo(target, target.tensor(datatype), raw=raw)


# Health and metadata


@GRPC.required("server-live", "ServerLive is true", "gRPC, Server Live")
def server_live(target: Target) -> str:
    answer = call(target, "ServerLive", messages.ServerLiveRequest(), messages.ServerLiveResponse)
    expect(answer.live, "live: false")
    return _seen(answer)


@GRPC.required("server-ready", "ServerReady is true", "gRPC, Server Ready")
def server_ready(target: Target) -> str:
    answer = call(target, "ServerReady", messages.ServerReadyRequest(), messages.ServerReadyResponse)
    expect(answer.ready, "ready: false")
    return _seen(answer)


@GRPC.required("model-ready", "ModelReady is true for the model", "gRPC, Model Ready")
def model_ready(target: Target) -> str:
    request = messages.ModelReadyRequest(name=target.model)
    answer = call(target, "ModelReady", request, messages.ModelReadyResponse)
    expect(answer.ready, "ready: false")
    return _seen(answer)


@GRPC.required("unknown-model-ready", "for a model that is not there it is false, or fails", "gRPC, Model Ready")
def unknown_model_ready(target: Target) -> str:
    request = messages.ModelReadyRequest(name=_UNKNOWN)
    try:
        answer = _call(target, "ModelReady", request, messages.ModelReadyResponse)
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details():.150}"
    expect(not answer.ready, "ready: true")
    return "ready: false"


@GRPC.required("server-metadata", "ServerMetadata tells name and version", "gRPC, Server Metadata")
def server_metadata(target: Target) -> str:
    answer = call(target, "ServerMetadata", messages.ServerMetadataRequest(), messages.ServerMetadataResponse)
    expect(bool(answer.name and answer.version), _seen(answer))
    return _seen(answer)


@GRPC.required("model-metadata", "ModelMetadata tells name, platform and tensors as REST does", "gRPC, Model Metadata")
def model_metadata(target: Target) -> str:
    request = messages.ModelMetadataRequest(name=target.model)
    answer = call(target, "ModelMetadata", request, messages.ModelMetadataResponse)
    expect(answer.name == target.model, _seen(answer))
    expect([each.name for each in answer.inputs] == [each["name"] for each in target.declared], _seen(answer))
    return _seen(answer)


# Inference

for _name in DATATYPES:
    GRPC.add(
        Level.REQUIRED,
        f"{_name.lower()}-raw",
        f"{_name} in raw_input_contents goes in and comes out",
        partial(_datatype, _name, True),
        "gRPC, Tensor Data",
    )
    if _name not in BINARY_ONLY:
        GRPC.add(
            Level.REQUIRED,
            f"{_name.lower()}-typed",
            f"{_name} in {_CONTENTS[_name]} goes in and comes out",
            partial(_datatype, _name, False),
            "gRPC, InferTensorContents",
        )
GRPC.add(
    Level.EXTENSION,
    "bf16-raw",
    "BF16, which the proto file names and the table does not, goes in and comes out",
    partial(_datatype, "BF16", True),
    "gRPC, raw_input_contents",
)


@GRPC.robust("raw-answers", "raw requests get raw answers: tritonclient reads no others", "gRPC, raw_output_contents")
def raw_answers(target: Target) -> str:
    answer = infer(target, build(target, target.tensor(target.any_tensor()), raw=True))
    expect(len(answer.raw_output_contents) == len(answer.outputs), _seen(answer))
    return "raw_output_contents"


@GRPC.required("bytes-any", "BYTES elements are any bytes", "gRPC, Tensor Data")
def bytes_any(target: Target) -> str:
    return _echo(target, target.tensor("BYTES", data=[b"\xff\x00", b"", b"\x80", b"a"]), raw=True)


@GRPC.required("empty", "a tensor without elements goes in and comes out", "gRPC, Tensor Data")
def empty(target: Target) -> str:
    return _echo(target, target.tensor("INT32", shape=[0, 2], data=[]), raw=True)


@GRPC.robust("scalar", "a tensor of no dimensions has one element", "gRPC, Tensor Data")
def scalar(target: Target) -> str:
    return _echo(target, target.tensor("INT32", data=[7]) | {"shape": []}, raw=True)


@GRPC.robust("large", "a message of 16 MiB goes in and out, beyond grpc's own limit of 4", "gRPC, Inference")
def large(target: Target) -> str:
    return _echo(target, target.tensor("INT32", shape=[4 << 20], data=np.ones(4 << 20, dtype="<i4")), raw=True)


@GRPC.required("id", "an id that is given comes back", "gRPC, Inference")
def identifier(target: Target) -> str:
    answer = infer(target, build(target, target.tensor(target.any_tensor()), raw=True, id="42"))
    expect(answer.id == "42", f"id: {answer.id!r}")
    return "id: 42"


@GRPC.required("model-name", "the answer names the model", "gRPC, Inference")
def model_name(target: Target) -> str:
    answer = infer(target, build(target, target.tensor(target.any_tensor()), raw=True))
    expect(answer.model_name == target.model, f"model_name: {answer.model_name!r}")
    return f"model_name: {answer.model_name}"


@GRPC.required("parameters", "parameters may be booleans, whole numbers and strings", "gRPC, Parameters")
def parameters(target: Target) -> str:
    request = build(target, target.tensor(target.any_tensor()), raw=True)
    request.parameters["flag"].bool_param = True
    request.parameters["whole"].int64_param = 3
    request.parameters["text"].string_param = "a"
    return _seen(infer(target, request))


@GRPC.extension(
    "more-parameters", "or fractions and large whole numbers, as the newer proto file has", "gRPC, Parameters"
)
def more_parameters(target: Target) -> str:
    request = build(target, target.tensor(target.any_tensor()), raw=True)
    if not hasattr(request.parameters["number"], "double_param"):
        raise NotTested("the suite's messages are of the older proto file")
    request.parameters["number"].double_param = 1.5
    request.parameters["large"].uint64_param = 2**64 - 1
    return _seen(infer(target, request))


@GRPC.required("requested-outputs", "only the outputs that are asked for come back", "gRPC, Inference")
def requested_outputs(target: Target) -> str:
    first, second = _two(target)
    request = build(target, first, second, raw=True)
    request.outputs.add(name="b")
    found = outputs(infer(target, request))
    expect(list(found) == ["b"], f"outputs: {list(found)}")
    expect(found["b"][2] == to_raw("BYTES", ["x", "y"]), f"{found['b']}")
    return "outputs: b"


def _two(target: Target) -> list[dict[str, Any]]:
    if not target.several:
        raise NotTested("the model does not echo several tensors; serve the model `identity`")
    return [
        {"name": "a", "shape": [3], "datatype": "INT64", "data": [1, 2, 3]},
        {"name": "b", "shape": [2, 1], "datatype": "BYTES", "data": ["x", "y"]},
    ]


# Mistakes: the protocol demands a status other than OK, what clients rely on is its code


def _mistake(change: Callable[[Any], None], raw: bool, target: Target) -> Any:
    request = build(target, target.tensor("INT32"), raw=raw)
    change(request)
    return request


def _both(request: Any) -> None:
    request.inputs[0].contents.int_contents.extend(SAMPLES["INT32"])


def _ask_unknown(request: Any) -> None:
    request.outputs.add(name="no-such-output")


def _set(field: str, value: Any) -> Callable[[Any], None]:
    return lambda request: setattr(request.inputs[0], field, value)


def _cut(request: Any) -> None:
    request.raw_input_contents[0] = request.raw_input_contents[0][:-1]


def _shape(*lengths: int) -> Callable[[Any], None]:
    def change(request: Any) -> None:
        del request.inputs[0].shape[:]
        request.inputs[0].shape.extend(lengths)

    return change


def _prefix(request: Any) -> None:
    request.inputs[0].datatype = "BYTES"
    request.raw_input_contents[0] = b"\xff\xff\xff\x7fabc"


def _overflow(request: Any) -> None:
    request.inputs[0].datatype = "INT8"


_MISTAKES: tuple[tuple[str, str, Callable[[Any], None], bool, bool], ...] = (
    # name, what, change, raw contents, demanded by the protocol's text
    ("raw-and-typed", "raw and typed contents together", _both, True, True),
    (
        "raw-count",
        "raw contents for more inputs than there are",
        lambda r: r.raw_input_contents.append(b""),
        True,
        True,
    ),
    ("raw-size", "raw contents of fewer bytes than the shape has", _cut, True, True),
    ("typed-count", "typed contents of fewer elements", lambda r: r.inputs[0].contents.int_contents.pop(), False, True),
    ("wrong-field", "typed contents in another datatype's field", _set("datatype", "FP32"), False, True),
    ("unknown-datatype", "a datatype that is not in the table", _set("datatype", "FLOAT"), True, True),
    ("negative-shape", "a negative length", _shape(-1, 2), True, True),
    ("too-large-shape", "a shape of 2^62 elements", _shape(2**31, 2**31), True, True),
    ("bytes-prefix", "a BYTES element longer than the data", _prefix, True, True),
    ("unknown-output", "a requested output that the model does not have", _ask_unknown, True, True),
    ("typed-overflow", "a typed element that its datatype cannot hold", _overflow, False, False),
)


def _not_ok(change: Callable[[Any], None], raw: bool, target: Target) -> str:
    return refusal(target, "ModelInfer", _mistake(change, raw, target), messages.ModelInferResponse)[1]


def _client_code(change: Callable[[Any], None], raw: bool, target: Target) -> str:
    code, seen = refusal(target, "ModelInfer", _mistake(change, raw, target), messages.ModelInferResponse)
    expect(code in _CLIENT_CODES, seen)
    return seen


for _name, _what, _change, _raw, _demanded in _MISTAKES:
    _level = Level.REQUIRED if _demanded else Level.ROBUST
    GRPC.add(_level, _name, f"{_what}: not OK", partial(_not_ok, _change, _raw), "gRPC, Inference")
    GRPC.add(
        Level.ROBUST,
        f"{_name}-code",
        f"{_what}: a code that blames the client, as INVALID_ARGUMENT",
        partial(_client_code, _change, _raw),
        "gRPC status codes",
    )


@GRPC.required("unknown-model", "inference and metadata of a model that is not there are not OK", "gRPC, Inference")
def unknown_model(target: Target) -> str:
    request = messages.ModelMetadataRequest(name=_UNKNOWN)
    refusal(target, "ModelMetadata", request, messages.ModelMetadataResponse)
    inference = messages.ModelInferRequest(model_name=_UNKNOWN)
    return refusal(target, "ModelInfer", inference, messages.ModelInferResponse)[1]


@GRPC.robust("not-found", "their code is NOT_FOUND", "gRPC status codes")
def not_found(target: Target) -> str:
    request = messages.ModelMetadataRequest(name=_UNKNOWN)
    inference = messages.ModelInferRequest(model_name=_UNKNOWN)
    for method, sent, answer in (
        ("ModelMetadata", request, messages.ModelMetadataResponse),
        ("ModelInfer", inference, messages.ModelInferResponse),
    ):
        code, seen = refusal(target, method, sent, answer)
        expect(code == "NOT_FOUND", f"{method}: {seen}")
    return "NOT_FOUND"


@GRPC.extension("repository-index", "RepositoryIndex lists the model as READY", "Triton, Model Repository Extension")
def repository_index(target: Target) -> str:
    if not hasattr(messages, "RepositoryIndexRequest"):
        raise NotTested("the suite's messages have no repository")
    try:
        answer = _call(target, "RepositoryIndex", messages.RepositoryIndexRequest(), messages.RepositoryIndexResponse)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise NotSupported("UNIMPLEMENTED") from None
        raise CheckFailed(f"{error.code().name}: {error.details():.200}") from None
    states = [entry.state for entry in answer.models if entry.name == target.model]
    expect("READY" in states, _seen(answer))
    return _seen(answer)
