"""Triton's generate extension: inputs by name in plain JSON, one answer or a stream of server-sent events.

https://github.com/triton-inference-server/server (docs/protocol/extension_generate.md)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from slipway_serving.apis import operations
from slipway_serving.apis.inference import Call, off_loop
from slipway_serving.codec import elements, generate
from slipway_serving.datatypes import Tensors
from slipway_serving.errors import RequestError
from slipway_serving.http.messages import Pending, Request, Response, error_response
from slipway_serving.models import ServedModel
from slipway_serving.runtimes.base import Inference, Stream, StreamingRuntime


def answer(model: ServedModel, request: Request) -> Pending:
    """One answer: of a model that streams, its only item."""
    call = Call(model, request)
    return Pending(asyncio.get_running_loop().create_task(_answer(model, request)), call.finish_task)


async def _answer(model: ServedModel, request: Request) -> Response:
    outputs = await model.infer(await _decoded(model, request))
    return Response(_encode(model, outputs))


def stream(model: ServedModel, request: Request) -> Pending:
    """An event for each item; one where the model answers once."""
    call = Call(model, request)
    return Pending(asyncio.get_running_loop().create_task(_stream(call)), call.finish_task)


async def _stream(call: Call) -> Response:
    model = call.model
    source = items(model, await _decoded(model, call.request))
    first = await operations.next_item(source, model)
    try:
        opening = [] if first is operations.END else [_encode(model, first)]
    except RequestError:
        await source.aclose()
        raise
    pieces = operations.events(
        call, opening, source, lambda outputs: _encode(model, outputs), lambda error: error_response(error).body
    )
    return operations.event_response(call, pieces, source)


def items(model: ServedModel, inference: Inference) -> Stream[Tensors]:
    """What a model yields; one item where it answers once. Read it with `operations.next_item`."""
    runtime = model.runtime
    return runtime.stream(inference) if isinstance(runtime, StreamingRuntime) else _only(model, inference)


async def _only(model: ServedModel, inference: Inference) -> AsyncGenerator[Tensors, None]:
    yield await model.infer(inference)


async def _decoded(model: ServedModel, request: Request) -> Inference:
    model.require_ready()
    return await off_loop(lambda: generate.decode_request(request.body, model.signature), len(request.body))


def _encode(model: ServedModel, outputs: Tensors) -> bytes:
    version: dict[str, Any] = {"model_version": model.version} if model.version else {}
    return elements.dumps({"model_name": model.name, **version, **generate.values(outputs)})
