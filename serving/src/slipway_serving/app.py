"""The application: a request finds its handler, and whatever happens is an answer. Errors are `{"error": …}`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from slipway_serving.apis.inference import cause_of
from slipway_serving.apis.openai import OpenAiApi
from slipway_serving.apis.openapi import OpenApiApi
from slipway_serving.apis.page import PageApi
from slipway_serving.apis.plain import PlainApi
from slipway_serving.apis.routing import Api, Route, Router
from slipway_serving.apis.v1 import V1Api
from slipway_serving.apis.v2 import V2Api
from slipway_serving.errors import ModelFailedError, RequestError, UnavailableError
from slipway_serving.http.encoding import CONTENT_ENCODING, decoded
from slipway_serving.http.messages import Pending, Request, Response, discard, error_response
from slipway_serving.metrics import CONTENT_TYPE, Metrics
from slipway_serving.repository import Repository

log = logging.getLogger("slipway_serving")
_PROBES = ("GET", "HEAD")


class App:
    """Serves a repository of models.

    `draining` makes readiness fail; requests are still answered. `max_body` is how many bytes a body may have
    once it is decompressed.
    """

    def __init__(self, repository: Repository, metrics: Metrics, *, max_body: int = 64 << 20) -> None:
        self.repository = repository
        self.draining = False
        self._max_body = max_body
        self._metrics = metrics
        self._router = Router(lambda: repository.generation)
        apis: tuple[Api, ...] = (
            self,
            V2Api(repository, lambda: self.draining),
            PlainApi(repository),
            V1Api(repository),
            OpenAiApi(repository),
            OpenApiApi(repository),
            PageApi(repository),
        )
        for api in apis:
            self._router.add(api)

    def routes(self) -> dict[str, Route]:
        return {"/metrics": Route(get=self._scrape)}

    def prefixes(self) -> dict[str, Callable[[str], Route | None]]:
        return {}

    def handle(self, request: Request) -> Response | Pending:
        """Answers at once, or says what the answer waits for. Never raises."""
        if CONTENT_ENCODING in request.headers:
            return Pending(asyncio.get_running_loop().create_task(self._decoded(request)), asyncio.Future.result)
        return self._answer(request)

    def finish(self, request: Request, pending: Pending) -> Response:
        """The answer, now that what it waited for is done. Never raises."""
        try:
            return pending.finish(pending.future)
        except asyncio.CancelledError as error:
            self._count(request, error)
            return error_response(UnavailableError("the request was cancelled"))
        except Exception as error:  # noqa: BLE001  # every one becomes an answer
            return self._failure(request, error)

    async def _decoded(self, request: Request) -> Response:
        """Answers a request whose body is compressed."""
        await decoded(request, self._max_body)
        answer = self._answer(request)
        if isinstance(answer, Response):
            return answer
        try:
            await asyncio.wait((answer.future,))
        except asyncio.CancelledError:
            # It is counted all the same.
            answer.future.add_done_callback(lambda _: discard(self.finish(request, answer)))
            answer.future.cancel()
            raise
        return self.finish(request, answer)

    def _answer(self, request: Request) -> Response | Pending:
        try:
            answer = self._router.route(request).answer(request)
        except Exception as error:  # noqa: BLE001  # every one becomes an answer
            return self._failure(request, error)
        if isinstance(answer, Response | Pending):
            return answer
        return Pending(asyncio.get_running_loop().create_task(answer), asyncio.Future.result)

    def refuse(self, request: Request, error: RequestError) -> Response:
        """The answer to what could not be read."""
        return self._failure(request, error)

    def _scrape(self, _request: Request) -> Response:
        return Response(self._metrics.render(), content_type=CONTENT_TYPE)

    def _failure(self, request: Request, error: Exception) -> Response:
        self._count(request, error)
        if isinstance(error, RequestError):
            return error_response(error)
        log.error("a bug of the server, on %s %s", request.method, request.path, exc_info=error)
        return error_response(ModelFailedError("the server failed on this request; its log has the details"))

    def _count(self, request: Request, error: BaseException) -> None:
        """Counts the error of a request that got to no model; what a probe hears of readiness is none."""
        cause = cause_of(error)
        if request.model is None and not (cause == UnavailableError.cause and request.method in _PROBES):
            self._metrics.refused(cause)
