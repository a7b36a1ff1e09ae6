"""`/predict`: the plain case, one model without a protocol to learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from slipway_serving.apis.inference import answer, measured
from slipway_serving.apis.routing import Route
from slipway_serving.codec import elements, plain
from slipway_serving.datatypes import Tensors
from slipway_serving.errors import NotFoundError
from slipway_serving.http.messages import Pending, Request, Response
from slipway_serving.models import ServedModel
from slipway_serving.repository import Repository
from slipway_serving.runtimes.base import Inference


class PlainApi:
    """`/predict` where the server has one model, `/predict/NAME` always."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def routes(self) -> dict[str, Route]:
        return {
            "/predict": Route(
                get=lambda request: _example(self._only(), request),
                post=lambda request: _predict(self._only(), request),
            )
        }

    def prefixes(self) -> dict[str, Callable[[str], Route | None]]:
        return {"/predict/": self._named}

    def _named(self, name: str) -> Route:
        model = self._repository.find(name)
        return Route(get=partial(_example, model), post=partial(_predict, model))

    def _only(self) -> ServedModel:
        models = list(self._repository)
        if len(models) != 1:
            names = ", ".join(model.name for model in models[:10])
            raise NotFoundError(f"this server has {len(models)} models; use /predict/NAME, with one of: {names}")
        return models[0]


def _predict(model: ServedModel, request: Request) -> Pending:
    return answer(model, request, len(request.body), partial(_decode, model, request))


def _decode(model: ServedModel, request: Request) -> tuple[Inference, Callable[[Tensors], Response]]:
    inputs = plain.decode_rows(request.body, model.signature)
    return Inference(inputs), lambda outputs: Response(plain.encode_rows(model.name, outputs))


def _example(model: ServedModel, request: Request) -> Pending:
    return measured(model, request, example(model))


async def example(model: ServedModel) -> Response:
    """A request that anybody can send back here with POST, and what it is answered. Raises a RequestError."""
    model.require_ready()
    if not model.signature.inputs:
        raise NotFoundError(
            f"model '{model.name}' declares no inputs to make an example from; declare them in model.yaml"
        )
    inputs = model.signature.example()
    outputs = await model.infer(Inference(inputs))
    document = {
        "say": "POST the request to this address; the answer is the response",
        "request": {name: plain.nested(array, name) for name, array in inputs.items()},
        "response": {
            "model": model.name,
            "outputs": {name: plain.nested(array, name) for name, array in outputs.items()},
        },
    }
    return Response(elements.dumps(document))
