"""The V1 protocol of KServe (and of TensorFlow Serving before it): `/v1/models/M:predict` and what belongs to it.

`GET /v1/models` and `GET /v1/models/M` are OpenAI's, too: their answers have the fields of both.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from slipway_serving.apis import operations
from slipway_serving.apis.inference import Call, answer, off_loop
from slipway_serving.apis.routing import Route
from slipway_serving.codec import documents, v1
from slipway_serving.datatypes import Tensors
from slipway_serving.errors import ModelFailedError, NotOfferedError
from slipway_serving.http.messages import Pending, Request, Response, json_response
from slipway_serving.models import ServedModel
from slipway_serving.repository import Repository
from slipway_serving.runtimes.base import Inference, Stream

_MODEL = re.compile(r"([^/:]+)(?:/versions/([^/:]+))?(?::(predict|explain))?")
OWNER = "slipway-serving"
EXPLAIN = "explain"


class V1Api:
    """`/v1/models` and what is below it."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._created = int(time.time())
        self._actions: dict[str | None, Callable[[ServedModel], Route]] = {
            None: lambda model: Route(get=partial(self._status, model)),
            "predict": lambda model: Route(post=partial(_predict, model)),
            EXPLAIN: lambda model: Route(post=partial(_explain, model)),
        }

    def routes(self) -> dict[str, Route]:
        return {"/v1/models": Route(get=self._list)}

    def prefixes(self) -> dict[str, Callable[[str], Route | None]]:
        return {"/v1/models/": self._model}

    def _model(self, rest: str) -> Route | None:
        found = _MODEL.fullmatch(rest)
        if found is None:
            self._repository.find(re.split("[/:]", rest, maxsplit=1)[0])
            return None
        name, version, action = found.groups()
        return self._actions[action](self._repository.find(name, version or ""))

    def _list(self, _request: Request) -> Response:
        models = list(self._repository)
        return json_response(
            {
                "models": [model.name for model in models],
                "object": "list",
                "data": [self._described(model) for model in models],
            }
        )

    def _described(self, model: ServedModel) -> dict[str, Any]:
        return {"id": model.name, "object": "model", "created": self._created, "owned_by": OWNER}

    def _status(self, model: ServedModel, _request: Request) -> Response:
        model.require_ready()
        return json_response({"name": model.name, "ready": True, **self._described(model)})


def _predict(model: ServedModel, request: Request) -> Pending:
    return answer(model, request, len(request.body), partial(_decode, model, request))


def _decode(model: ServedModel, request: Request) -> tuple[Inference, Callable[[Tensors], Response]]:
    inputs = v1.decode_request(request.body, model.signature)
    return Inference(inputs), lambda outputs: Response(v1.encode_response(outputs, model.signature))


def _explain(model: ServedModel, request: Request) -> Pending:
    call = Call(model, request)
    return Pending(asyncio.get_running_loop().create_task(_explained(model, request)), call.finish_task)


async def _explained(model: ServedModel, request: Request) -> Response:
    model.require_ready()
    if not operations.offers(model, EXPLAIN):
        raise NotOfferedError(f"model '{model.name}' has no explainer; it offers: {operations.offered(model)}")
    size = len(request.body)
    inputs = await off_loop(lambda: v1.decode_request(request.body, model.signature), size)
    explanation = await operations.call(model, EXPLAIN, inputs)
    if isinstance(explanation, Stream):
        await explanation.aclose()
        raise ModelFailedError(f"model '{model.name}' yields its explanation; V1 has no answers in pieces")
    if not isinstance(explanation, Mapping) or "explanations" not in explanation:
        explanation = {"explanations": explanation}
    return Response(await off_loop(lambda: documents.dumps(explanation), size))
