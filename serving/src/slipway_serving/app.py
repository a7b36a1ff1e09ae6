"""The ASGI application: one look-up from path to handler, then the handler. Errors always leave as `{"error": …}`."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from slipway_serving import __version__
from slipway_serving.codec import elements, plain, v2
from slipway_serving.datatypes import Tensors
from slipway_serving.errors import (
    MethodNotAllowedError,
    ModelFailedError,
    NotFoundError,
    RequestError,
    UnavailableError,
)
from slipway_serving.http import (
    Body,
    ClientGoneError,
    Receive,
    Response,
    Scope,
    Send,
    error_response,
    json_response,
    read_body,
    respond,
)
from slipway_serving.metrics import CONTENT_TYPE, Metrics
from slipway_serving.models import Repository, ServedModel
from slipway_serving.runtimes.base import Inference

log = logging.getLogger("slipway_serving")

T = TypeVar("T")
Handler = Callable[[Scope, Receive], Awaitable[Response]]
_MODEL_PATH = re.compile(r"/v2/models/(?P<name>[^/]+)(/versions/(?P<version>[^/]+))?")
DEFAULT_MAX_BODY = 64 << 20
_OFF_LOOP = 256 << 10
"""What is larger is decoded and encoded in a thread, so that health checks do not wait for it."""


@dataclass(frozen=True, slots=True)
class Route:
    """The methods of one path."""

    get: Handler | None = None
    post: Handler | None = None

    def handler(self, method: str) -> Handler:
        """Raises MethodNotAllowedError with the methods that there are."""
        found = self.post if method == "POST" else self.get if method in ("GET", "HEAD") else None
        if found is None:
            allowed = (["GET", "HEAD"] if self.get else []) + (["POST"] if self.post else [])
            raise MethodNotAllowedError(f"{method} is not possible here; allowed: {', '.join(allowed)}", allowed)
        return found


class App:
    """Serves a repository of models.

    `draining` makes readiness fail and asks clients for new connections; requests are still answered.
    """

    def __init__(self, repository: Repository, metrics: Metrics, *, max_body: int = DEFAULT_MAX_BODY) -> None:
        self.repository = repository
        self.draining = False
        self.in_flight = 0
        self._metrics = metrics
        self._max_body = max_body
        self._routes = self._server_routes()
        for model in repository:
            self._routes |= self._model_routes(model)
        # Both slash forms are one path: clients and the two texts of the specification differ.
        self._routes |= {f"{path}/": route for path, route in self._routes.items() if path != "/"}

    def _server_routes(self) -> dict[str, Route]:
        return {
            "/": Route(get=self._index),
            "/v2": Route(get=self._server_metadata),
            "/v2/health/live": Route(get=self._live),
            "/v2/health/ready": Route(get=self._ready),
            "/metrics": Route(get=self._scrape),
            "/predict": Route(get=self._example, post=self._predict),
        }

    def _model_routes(self, model: ServedModel) -> dict[str, Route]:
        async def metadata(_scope: Scope, _receive: Receive) -> Response:
            model.require_ready()
            return json_response(model.metadata())

        async def ready(_scope: Scope, _receive: Receive) -> Response:
            self._require_not_draining()
            model.require_ready()
            return json_response({"name": model.name, "ready": True})

        async def infer(scope: Scope, receive: Receive) -> Response:
            return await self._measured(model, self._infer, scope, receive)

        names = [f"/v2/models/{model.name}"]
        if model.version:
            names.append(f"{names[0]}/versions/{model.version}")
        routes: dict[str, Route] = {}
        for path in names:
            routes |= {path: Route(get=metadata), f"{path}/ready": Route(get=ready), f"{path}/infer": Route(post=infer)}
        return routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.in_flight += 1
        try:
            response = await self._answer(scope, receive)
            await respond(send, response, close=self.draining)
        except ClientGoneError:
            return
        finally:
            self.in_flight -= 1

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        try:
            route = self._routes.get(scope["path"]) or self._unknown(scope["path"])
            return await route.handler(scope["method"])(scope, receive)
        except RequestError as error:
            return error_response(error)
        except ClientGoneError:
            raise
        except Exception:
            log.exception("a bug of the server, on %s %s", scope["method"], scope["path"])
            return error_response(ModelFailedError("the server failed on this request; its log has the details"))

    def _unknown(self, path: str) -> Route:
        """Raises the most helpful NotFoundError for a path that has no route."""
        named = _MODEL_PATH.match(path)
        if named:
            self.repository.find(named["name"], named["version"] or "")
        raise NotFoundError(
            f"there is nothing at {path:.200}; the models are under /v2/models, the plain form is /predict"
        )

    async def _measured(
        self,
        model: ServedModel,
        handle: Callable[[ServedModel, Body], Awaitable[Response]],
        scope: Scope,
        receive: Receive,
    ) -> Response:
        started = time.perf_counter()
        model.in_flight += 1
        code = 500
        try:
            body = await read_body(scope, receive, self._max_body)
            response = await handle(model, body)
            code = response.status
        except RequestError as error:
            code = error.status
            raise
        except ClientGoneError:
            code = 499
            raise
        else:
            return response
        finally:
            model.in_flight -= 1
            model.metrics.answered(code, time.perf_counter() - started)

    async def _infer(self, model: ServedModel, body: Body) -> Response:
        model.require_ready()
        decode = partial(v2.decode_request, body.data, model.signature, body.header_length)
        request = await _off_loop(decode, body.json_length)
        outputs = await model.infer(Inference(request.inputs, request.outputs, request.parameters))
        encode = partial(v2.encode_response, request, outputs, model.name, model.version)
        encoded = await _off_loop(encode, _size(outputs))
        if encoded.header_length is None:
            return Response(encoded.body)
        length = [(b"inference-header-content-length", b"%d" % encoded.header_length)]
        return Response(encoded.body, content_type=b"application/octet-stream", headers=length)

    async def _predict(self, scope: Scope, receive: Receive) -> Response:
        return await self._measured(self._only_model(), self._predict_rows, scope, receive)

    async def _predict_rows(self, model: ServedModel, body: Body) -> Response:
        model.require_ready()
        inputs = await _off_loop(partial(plain.decode_rows, body.data, model.signature), len(body.data))
        outputs = await model.infer(Inference(inputs))
        return Response(await _off_loop(partial(plain.encode_rows, model.name, outputs), _size(outputs)))

    async def _example(self, _scope: Scope, _receive: Receive) -> Response:
        """A request that anybody can send back here with POST, and what it is answered."""
        model = self._only_model()
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

    def _only_model(self) -> ServedModel:
        models = list(self.repository)
        if len(models) != 1:
            raise NotFoundError(
                f"/predict needs exactly one model, this server has {len(models)}; use /v2/models/NAME/infer"
            )
        model: ServedModel = models[0]
        return model

    async def _index(self, _scope: Scope, _receive: Receive) -> Response:
        paths = [f"/v2/models/{model.name}" for model in self.repository]
        return json_response(
            {"name": "slipway-serving", "version": __version__, "paths": ["/predict", *paths, "/metrics"]}
        )

    async def _server_metadata(self, _scope: Scope, _receive: Receive) -> Response:
        document: dict[str, Any] = {
            "name": "slipway-serving",
            "version": __version__,
            "extensions": ["binary_tensor_data"],
        }
        return json_response(document)

    async def _live(self, _scope: Scope, _receive: Receive) -> Response:
        return json_response({"live": True})

    async def _ready(self, _scope: Scope, _receive: Receive) -> Response:
        self._require_not_draining()
        self.repository.require_ready()
        return json_response({"ready": True})

    def _require_not_draining(self) -> None:
        if self.draining:
            raise UnavailableError("the server is stopping")

    async def _scrape(self, _scope: Scope, _receive: Receive) -> Response:
        return Response(self._metrics.render(), content_type=CONTENT_TYPE)


async def _off_loop(function: Callable[[], T], size: int) -> T:
    """Calls a codec: at once where there is little to do, else in a thread."""
    return function() if size < _OFF_LOOP else await asyncio.to_thread(function)


def _size(tensors: Tensors) -> int:
    return sum(array.nbytes for array in tensors.values())
