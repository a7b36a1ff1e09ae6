"""OpenAI's API for Python models that implement it: chat and text completions, embeddings, streams.

Errors have OpenAI's shape here, `{"error": {"message", "type", "param", "code"}}`: its clients read the message out of
that object; of a string they would show no more than the status.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import partial
from typing import Any

import orjson

from slipway_serving.apis import operations
from slipway_serving.apis.inference import Call, off_loop
from slipway_serving.apis.routing import Route
from slipway_serving.codec import documents, openai_answers, openai_requests
from slipway_serving.codec.openai_requests import CHAT, COMPLETIONS, EMBEDDINGS, FieldError
from slipway_serving.errors import NotFoundError, RequestError
from slipway_serving.http.messages import Request, Response, error_response
from slipway_serving.models import ServedModel
from slipway_serving.repository import Repository
from slipway_serving.runtimes.base import Stream

PATHS = {"/v1/chat/completions": CHAT, "/v1/completions": COMPLETIONS, "/v1/embeddings": EMBEDDINGS}
_DONE = b"[DONE]"
_BYTES_A_VALUE = 4
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}


class OpenAiApi:
    """The paths of PATHS; `/v1/models` is with V1."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def routes(self) -> dict[str, Route]:
        return {path: Route(post=partial(self._answer, operation)) for path, operation in PATHS.items()}

    def prefixes(self) -> dict[str, Callable[[str], Route | None]]:
        return {}

    def _answer(self, operation: str, request: Request) -> Coroutine[Any, Any, Response]:
        return self._answered(operation, request)

    async def _answered(self, operation: str, request: Request) -> Response:
        try:
            fields = await off_loop(lambda: openai_requests.decode(request.body, operation), len(request.body))
            model = self._repository.find(fields["model"])
            call = Call(model, request)
            return await call.counted(_run(call, operation, fields))
        except RequestError as error:
            if request.model is None:
                self._repository.metrics.refused(error.cause)
            response = error_response(error)
            response.body = error_body(error)
            return response


async def _run(call: Call, operation: str, fields: dict[str, Any]) -> Response:
    model = call.model
    model.require_ready()
    if not operations.offers(model, operation):
        raise FieldError("model", f"model '{model.name}' has no {operation}; it offers: {operations.offered(model)}")
    value = await operations.call(model, operation, fields)
    if operation == EMBEDDINGS:
        return await _embeddings(model, fields, value)
    answer = openai_answers.Answer(openai_answers.KINDS[operation], model.name, openai_requests.include_usage(fields))
    if fields.get("stream"):
        return await _streamed(call, answer, value)
    if not isinstance(value, Stream):
        return Response(documents.dumps(answer.whole(value)))
    chunks = [answer.chunk(item) for item in await _items(model, value)]
    return Response(documents.dumps(openai_answers.join(answer, chunks)))


async def _items(model: ServedModel, stream: Stream[Any]) -> list[Any]:
    items = []
    while (item := await operations.next_item(stream, model)) is not operations.END:
        items.append(item)
    return items


async def _streamed(call: Call, answer: openai_answers.Answer, value: Any) -> Response:
    """The first item is waited for: until then a failure can still be told by the status."""
    if isinstance(value, Stream):
        source: Stream[Any] = value
        first = await operations.next_item(source, call.model)
        write: Callable[[Any], Any] = answer.chunk
    else:
        source, first, write = _nothing(), value, answer.only_chunk
    try:
        opening = [] if first is operations.END else [documents.dumps(write(first))]
    except RequestError:
        await source.aclose()
        raise

    def encode(item: Any) -> bytes:
        return documents.dumps(write(item))

    def end() -> list[bytes]:
        return [*map(documents.dumps, answer.last()), _DONE]

    return operations.event_response(call, operations.events(call, opening, source, encode, error_body, end), source)


async def _nothing() -> AsyncGenerator[Any, None]:
    for _ in ():
        yield None


async def _embeddings(model: ServedModel, fields: dict[str, Any], value: Any) -> Response:
    if isinstance(value, Stream):
        value = await _items(model, value)
    count = openai_requests.count_inputs(fields["input"])
    encoding = fields.get("encoding_format", "float")

    def encode() -> Response:
        return Response(documents.dumps(openai_answers.embeddings(value, model.name, count, encoding)))

    return await off_loop(encode, _BYTES_A_VALUE * sum(map(_size, value)) if isinstance(value, list) else _size(value))


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list) else int(getattr(value, "nbytes", 0))


def error_body(error: RequestError) -> bytes:
    """OpenAI's error object."""
    code = "model_not_found" if isinstance(error, NotFoundError) else None
    param = error.param if isinstance(error, FieldError) else "model" if code else None
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")  # noqa: PLR2004
    message = str(error).encode("utf-8", "replace").decode()
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})
