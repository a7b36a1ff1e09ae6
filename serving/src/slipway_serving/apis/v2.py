"""The Open Inference Protocol V2 over REST, with Triton's extensions: binary tensors, config, statistics, repository.

Specification: open-inference/open-inference-protocol (specification/protocol); the extensions: triton-inference-server
(docs/protocol).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote

from slipway_serving import __version__
from slipway_serving.apis import generate
from slipway_serving.apis.inference import answer
from slipway_serving.apis.routing import Route
from slipway_serving.codec import elements, v2
from slipway_serving.datatypes import Tensors
from slipway_serving.description import config, statistics
from slipway_serving.errors import InvalidInputError, UnavailableError
from slipway_serving.http.messages import Pending, Request, Response, json_response
from slipway_serving.models import ServedModel
from slipway_serving.repository import Repository
from slipway_serving.runtimes.base import Inference

SERVER_NAME = "slipway-serving"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "model_repository(unload_dependents)",
              "statistics", "schedule_policy", "generate", "classification")  # fmt: skip
_OCTETS = b"application/octet-stream"
_MODEL = re.compile(r"([^/]+)(?:/versions/([^/]+))?(?:/(infer|generate|generate_stream|ready|config|stats))?")
_REPOSITORY = re.compile(r"([^/]+)/(load|unload)")


class V2Api:
    """`/v2` and what is below it."""

    def __init__(self, repository: Repository, is_draining: Callable[[], bool]) -> None:
        self._repository = repository
        self._is_draining = is_draining
        self._actions: dict[str | None, Callable[[ServedModel], Route]] = {
            None: lambda model: Route(get=partial(self._metadata, model)),
            "infer": lambda model: Route(post=partial(self._infer, model)),
            "generate": lambda model: Route(post=partial(generate.answer, model)),
            "generate_stream": lambda model: Route(post=partial(generate.stream, model)),
            "ready": lambda model: Route(get=partial(self._model_ready, model)),
            "config": lambda model: Route(get=partial(self._config, model)),
            "stats": lambda model: Route(get=partial(self._model_statistics, model)),
        }

    def routes(self) -> dict[str, Route]:
        return {
            "/v2": Route(get=self._server_metadata),
            "/v2/health/live": Route(get=self._live),
            "/v2/health/ready": Route(get=self._ready),
            "/v2/models/stats": Route(get=self._all_statistics),
            "/v2/repository/index": Route(post=self._index),
        }

    def prefixes(self) -> dict[str, Callable[[str], Route | None]]:
        return {"/v2/models/": self._model, "/v2/repository/models/": self._repository_model}

    def _model(self, rest: str) -> Route | None:
        found = _MODEL.fullmatch(rest)
        if found is None:
            self._repository.find(rest.partition("/")[0])
            return None
        name, version, action = found.groups()
        if name == "stats" and version is action is None:
            return None
        return self._actions[action](self._repository.find(name, version or ""))

    def _infer(self, model: ServedModel, request: Request) -> Pending:
        length = request.header_length
        return answer(
            model, request, len(request.body) if length is None else length, partial(_decode, model, request, length)
        )

    def _metadata(self, model: ServedModel, _request: Request) -> Response:
        model.require_ready()
        return json_response(model.metadata(self._repository.versions(model.name)))

    def _model_ready(self, model: ServedModel, _request: Request) -> Response:
        self._require_not_draining()
        model.require_ready()
        return json_response({"name": model.name, "ready": True})

    def _config(self, model: ServedModel, _request: Request) -> Response:
        model.require_ready()
        return json_response(config(model))

    def _model_statistics(self, model: ServedModel, _request: Request) -> Response:
        return json_response({"model_stats": [statistics(model)]})

    def _all_statistics(self, _request: Request) -> Response:
        return json_response({"model_stats": [statistics(model) for model in self._repository.all()]})

    def _server_metadata(self, _request: Request) -> Response:
        return json_response({"name": SERVER_NAME, "version": __version__, "extensions": EXTENSIONS})

    def _live(self, _request: Request) -> Response:
        return json_response({"live": True})

    def _ready(self, _request: Request) -> Response:
        self._require_not_draining()
        self._repository.require_ready()
        return json_response({"ready": True})

    def _require_not_draining(self) -> None:
        if self._is_draining():
            raise UnavailableError("the server is stopping")

    # Triton's model repository extension

    def _index(self, request: Request) -> Response:
        document = _optional_object(request)
        ready = document.get("ready", False)
        if type(ready) is not bool:
            raise InvalidInputError("'ready' must be true or false")
        return json_response(self._repository.index(ready=ready))

    def _repository_model(self, rest: str) -> Route | None:
        found = _REPOSITORY.fullmatch(rest)
        if found is None:
            return None
        name, action = found.groups()
        return Route(post=partial(self._change, unquote(name), action))

    async def _change(self, name: str, action: str, request: Request) -> Response:
        parameters = _optional_object(request).get("parameters")
        if parameters is None:
            parameters = {}
        if type(parameters) is not dict:
            raise InvalidInputError("'parameters' must be an object")
        unknown = sorted(parameters.keys() - {"unload_dependents"})
        if unknown:
            raise InvalidInputError(
                f"parameters.{unknown[0]:.80} is not possible: models are loaded as their files and model.yaml say"
            )
        await (self._repository.load(name) if action == "load" else self._repository.unload(name))
        return Response(b"{}")


def _decode(
    model: ServedModel, request: Request, header_length: int | None
) -> tuple[Inference, Callable[[Tensors], Response]]:
    decoded = v2.decode_request(request.body, model.signature, header_length)
    return Inference(decoded.inputs, decoded.outputs, decoded.parameters), partial(_encode, model, decoded)


def _encode(model: ServedModel, request: v2.InferRequest, outputs: Tensors) -> Response:
    encoded = v2.encode_response(request, outputs, model.name, model.version)
    if encoded.header_length is None:
        return Response(encoded.body)
    length = [(b"inference-header-content-length", b"%d" % encoded.header_length)]
    return Response(encoded.body, content_type=_OCTETS, headers=length)


def _optional_object(request: Request) -> dict[str, object]:
    """The JSON object in a body that may be empty."""
    document = elements.loads(request.body) if request.body else {}
    if type(document) is not dict:
        raise InvalidInputError("the request must be a JSON object")
    return document
