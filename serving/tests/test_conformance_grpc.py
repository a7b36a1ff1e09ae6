"""The conformance suite over gRPC: it passes what is right, and finds what is wrong."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from slipway_serving.conformance import checks, tensors
from slipway_serving.conformance.checks import Level, Outcome
from slipway_serving.conformance.client import Client
from slipway_serving.conformance.suite.grpc_api import _CONTENTS, GRPC
from slipway_serving.conformance.target import Target
from slipway_serving.grpc import messages

Change = Callable[[Any], None]
WIDTHS = {"BF16": 2} | {name: int(code[-1]) for name, code in tensors.NUMPY.items() if code != "?"} | {"BOOL": 1}


class RefusalError(Exception):
    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def wrong(text: str) -> RefusalError:
    return RefusalError(grpc.StatusCode.INVALID_ARGUMENT, text)


def raw_of(request: Any, index: int) -> bytes:
    """The raw data of an input, whichever way it was sent."""
    tensor = request.inputs[index]
    if tensor.datatype not in {*WIDTHS, "BYTES"} or any(length < 0 for length in tensor.shape):
        raise wrong("datatype or shape")
    raw = request.raw_input_contents[index] if request.raw_input_contents else typed(tensor)
    count = math.prod(tensor.shape)
    if tensor.datatype == "BYTES":
        elements = place = 0
        while place < len(raw):
            place += 4 + int.from_bytes(raw[place : place + 4], "little")
            elements += 1
        if (place, elements) != (len(raw), count):
            raise wrong("elements")
    elif len(raw) != count * WIDTHS[tensor.datatype]:
        raise wrong("size")
    return raw


def typed(tensor: Any) -> bytes:
    fields = [descriptor.name for descriptor, _ in tensor.contents.ListFields()]
    if fields not in ([], [_CONTENTS.get(tensor.datatype)]):
        raise wrong("field")
    try:
        return tensors.to_raw(tensor.datatype, list(getattr(tensor.contents, _CONTENTS[tensor.datatype])))
    except OverflowError:
        raise wrong("range") from None


def infer(request: Any) -> Any:
    """What a right server answers."""
    named(request.model_name)
    if request.raw_input_contents and (
        len(request.raw_input_contents) != len(request.inputs)
        or any(tensor.contents.ByteSize() for tensor in request.inputs)
    ):
        raise wrong("raw contents")
    found = {tensor.name: (tensor, raw_of(request, index)) for index, tensor in enumerate(request.inputs)}
    answer = messages.ModelInferResponse(model_name="identity", id=request.id)
    for name in [output.name for output in request.outputs] or list(found):
        if name not in found:
            raise wrong("output")
        tensor, raw = found[name]
        answer.outputs.add(name=name, datatype=tensor.datatype, shape=tensor.shape)
        answer.raw_output_contents.append(raw)
    return answer


def named(name: str) -> None:
    if name != "identity":
        raise RefusalError(grpc.StatusCode.NOT_FOUND, f"no model '{name}'")


def ready(request: Any) -> Any:
    named(request.name)
    return messages.ModelReadyResponse(ready=True)


def metadata(request: Any) -> Any:
    named(request.name)
    return messages.ModelMetadataResponse(name="identity", platform="python")


METHODS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "ServerLive": (messages.ServerLiveRequest, lambda _: messages.ServerLiveResponse(live=True)),
    "ServerReady": (messages.ServerReadyRequest, lambda _: messages.ServerReadyResponse(ready=True)),
    "ModelReady": (messages.ModelReadyRequest, ready),
    "ServerMetadata": (
        messages.ServerMetadataRequest,
        lambda _: messages.ServerMetadataResponse(name="right", version="1"),
    ),
    "ModelMetadata": (messages.ModelMetadataRequest, metadata),
    "ModelInfer": (messages.ModelInferRequest, infer),
}


@contextlib.contextmanager
def served(method: str = "", change: Change | None = None, code: grpc.StatusCode | None = None) -> Iterator[str]:
    """A right server, but for the answers of one method, or the code of its refusals; yields HOST:PORT."""

    def handler(name: str, request: Any, answer: Callable[[Any], Any]) -> Any:
        def handle(message: Any, context: Any) -> Any:
            try:
                made = answer(message)
            except RefusalError as refusal:
                context.abort(code or refusal.code, str(refusal))
            if name == method and change is not None:
                change(made)
            return made

        return grpc.unary_unary_rpc_method_handler(handle, request.FromString, lambda made: made.SerializeToString())

    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, options=options)
        handlers = {name: handler(name, *parts) for name, parts in METHODS.items()}
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers)]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


def failed(address: str) -> set[str]:
    echoes = dict.fromkeys(tensors.SAMPLES, ("x", "x"))
    target = Target(Client("http://localhost"), "identity", echoes=echoes, several=True, grpc=address)
    results = list(checks.run(GRPC.checks, target))
    return {result.check.id.partition(".")[2] for result in results if result.outcome is Outcome.FAIL}


def names(level: Level | None = None, *endings: str) -> set[str]:
    found = {check.id.partition(".")[2] for check in GRPC.checks if level in (None, check.level)}
    return {name for name in found if name.endswith(endings or ("",))}


def no_id(answer: Any) -> None:
    answer.id = ""


def other_name(answer: Any) -> None:
    answer.model_name = "model"


def both_forms(answer: Any) -> None:
    for output in answer.outputs:
        output.contents.int_contents.append(1)


def not_live(answer: Any) -> None:
    answer.live = False


def test_a_server_that_is_right_passes():
    with served() as address:
        assert failed(address) == set()


ECHOES = names(None, "-raw", "-typed") - {"raw-and-typed"} | {"bytes-any", "empty", "scalar", "large"}


@pytest.mark.parametrize(
    ("method", "change", "expected"),
    [
        ("ServerLive", not_live, {"server-live"}),
        ("ModelInfer", no_id, {"id"}),
        ("ModelInfer", other_name, {"model-name"}),
        ("ModelInfer", both_forms, ECHOES | {"requested-outputs"}),
        ("ModelMetadata", lambda answer: setattr(answer, "name", ""), {"model-metadata"}),
    ],
)
def test_a_fault_fails_the_checks_that_are_about_it_and_no_others(method, change, expected):
    with served(method, change) as address:
        assert failed(address) == expected


def test_a_code_that_blames_the_server_fails_the_checks_of_codes():
    with served(code=grpc.StatusCode.INTERNAL) as address:
        assert failed(address) == names(Level.ROBUST, "-code") | {"not-found"}
