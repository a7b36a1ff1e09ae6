"""What is switched on, put around the application: who may ask, what is written down, what is traced."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter

from slipway_serving.apis import page
from slipway_serving.errors import ModelLoadError, RequestError, UnauthorizedError
from slipway_serving.http.messages import REQUEST_ID, Pending, Request, Response, request_id
from slipway_serving.http.server import Application
from slipway_serving.middleware.access_log import AccessLog
from slipway_serving.middleware.authentication import Authenticator, Identity, parse_keys
from slipway_serving.middleware.exchange import CLIENT_GONE, GRPC_OPEN_PATHS, OPEN_PATHS, Exchange, Observer
from slipway_serving.middleware.files import FollowedFile
from slipway_serving.models import in_thread
from slipway_serving.options import Options

if TYPE_CHECKING:
    from slipway_serving.middleware.tracing import Tracing

log = logging.getLogger("slipway_serving")

METRICS_PATH = "/metrics"
_ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Middleware:
    """Everything that watches requests, or decides who may send them. For the event loop's thread.

    A protocol calls, in this order, `arrived`, `admit`, `running` around its own work, and `ended`.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        authenticator: Authenticator | None = None,
        open_paths: frozenset[str] = OPEN_PATHS,
        tracing: Tracing | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.authenticator = authenticator
        self.tracing = tracing
        self._open_paths = open_paths
        self._observers = tuple(observers)
        self.watches = bool(observers) or tracing is not None
        """Whether requests are more than let in or not."""
        self._unauthorized = Counter(
            "slipway_serving_requests_unauthorized", "Requests without a valid key or token.", registry=registry
        )

    def watch(self, app: Application) -> Application:
        """The application with all of this around it."""
        return WatchedApp(app, self) if self.watches else GuardedApp(app, self)

    @property
    def guard(self) -> Callable[[Request], None] | None:
        """Raises UnauthorizedError for a request whose body need not be read; None where anybody may ask."""
        if self.authenticator is None:
            return None
        return self._guard

    def arrived(self, exchange: Exchange) -> Exchange:
        """Gives the request its id and its span."""
        if self.watches:
            exchange.id = request_id(exchange.headers.get(REQUEST_ID)).decode()
        if self.tracing is not None:
            self._safely(self.tracing.begin, exchange)
        return exchange

    def admit(self, exchange: Exchange, path: str) -> None:
        """Raises UnauthorizedError; `path` is what decides whether anybody may ask."""
        exchange.identity = self.authenticate(exchange.headers, path)
        for observer in self._observers:
            self._safely(observer.begin, exchange)

    def authenticate(self, headers: Mapping[bytes, bytes], path: str) -> Identity | None:
        """Who asks, None where anybody may. Raises UnauthorizedError."""
        if self.authenticator is None or path in self._open_paths or (path == page.PATH and page.wants_page(headers)):
            return None
        try:
            return self.authenticator.authenticate(headers)
        except UnauthorizedError:
            self._unauthorized.inc()
            raise

    def _guard(self, request: Request) -> None:
        self.authenticate(request.headers, "")  # whatever its path is: nothing that is open takes a body

    def running(self, exchange: Exchange) -> AbstractContextManager[None]:
        """Around the work on a request: what is started inside belongs to its trace."""
        if self.tracing is None or exchange.span is None:
            return contextlib.nullcontext()
        return self.tracing.active(exchange)

    def ended(self, exchange: Exchange) -> None:
        """The answer is known: `status` at least is set."""
        exchange.seconds = time.perf_counter() - exchange.started
        if self.tracing is not None and exchange.span is not None:
            self._safely(self.tracing.end, exchange)
        for observer in self._observers:
            self._safely(observer.end, exchange)

    @staticmethod
    def _safely(function: Callable[[Exchange], None], exchange: Exchange) -> None:
        try:
            function(exchange)
        except Exception:
            log.exception("a bug of the server, while watching %s %s", exchange.method, exchange.path)

    async def close(self, seconds: float) -> None:
        """Hands over what is still held back, in at most so many seconds."""
        each = [*self._observers, *([self.tracing] if self.tracing is not None else [])]
        closing = [asyncio.wrap_future(in_thread(partial(one.close, seconds))) for one in each]
        if closing:
            done, _ = await asyncio.wait(closing, timeout=seconds)
            for error in filter(None, (future.exception() for future in done)):
                log.error("a bug of the server, while closing logs and traces", exc_info=error)


class GuardedApp:
    """An application for those with a key, where nobody watches."""

    def __init__(self, app: Application, middleware: Middleware) -> None:
        self._app = app
        self._middleware = middleware
        self.finish = app.finish
        self.refuse = app.refuse

    def handle(self, request: Request) -> Response | Pending:
        try:
            self._middleware.authenticate(request.headers, request.path)
        except UnauthorizedError as error:
            return self.refuse(request, error)
        return self._app.handle(request)


@dataclass(slots=True)
class _WatchedPending(Pending):
    exchange: Exchange


class WatchedApp:
    """An application whose requests are admitted and watched."""

    def __init__(self, app: Application, middleware: Middleware) -> None:
        self._app = app
        self._middleware = middleware

    def handle(self, request: Request) -> Response | Pending:
        exchange = self._arrived(request)
        try:
            self._middleware.admit(exchange, request.path)
        except RequestError as error:
            return self._ended(request, exchange, self._app.refuse(request, error))
        with self._middleware.running(exchange):
            answer = self._app.handle(request)
        if isinstance(answer, Pending):
            return _WatchedPending(answer.future, answer.finish, exchange)
        return self._ended(request, exchange, answer)

    def finish(self, request: Request, pending: Pending) -> Response:
        response = self._app.finish(request, pending)
        if not isinstance(pending, _WatchedPending):
            return response
        gone = pending.future.cancelled()
        return self._ended(request, pending.exchange, response, CLIENT_GONE if gone else response.status)

    def refuse(self, request: Request, error: RequestError) -> Response:
        return self._ended(request, self._arrived(request), self._app.refuse(request, error))

    def _arrived(self, request: Request) -> Exchange:
        path = request.target.partition(b"?")[0].decode("latin-1")
        exchange = self._middleware.arrived(
            Exchange(request.method, path, request.headers, request.peer, request.started, body=request.body)
        )
        if exchange.id:
            request.headers[REQUEST_ID] = exchange.id.encode()
        return exchange

    def _ended(self, request: Request, exchange: Exchange, response: Response, status: int = 0) -> Response:
        exchange.model = request.model
        exchange.status = status or response.status
        exchange.answer, exchange.answer_type = response.body, response.content_type
        exchange.answer_size = len(response.body)
        exchange.answer_headers = dict(response.headers or ())
        changes: dict[str, Any] = {}
        if exchange.traceparent:
            changes["headers"] = [*(response.headers or ()), (b"traceresponse", exchange.traceparent.encode())]
        if response.stream is None:
            self._middleware.ended(exchange)
        else:
            changes["stream"] = _WatchedStream(response.stream, exchange, self._middleware.ended)
        return replace(response, **changes) if changes else response


class _WatchedStream(AsyncIterator[bytes]):
    """A streamed answer ends with its last piece, or when its client has gone, be it before the first one."""

    def __init__(self, stream: AsyncIterator[bytes], exchange: Exchange, ended: Callable[[Exchange], None]) -> None:
        self._stream = stream
        self._exchange = exchange
        self._ended: Callable[[Exchange], None] | None = ended
        exchange.answer = b""

    async def __anext__(self) -> bytes:
        try:
            piece = await anext(self._stream)
        except StopAsyncIteration:
            self._end()
            raise
        self._exchange.answer_size += len(piece)
        return piece

    async def aclose(self) -> None:
        if self._ended is not None:
            self._exchange.status = CLIENT_GONE
        try:
            close = getattr(self._stream, "aclose", None)
            if close is not None:
                await close()
        finally:
            self._end()

    def _end(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self._exchange)


def middleware_of(options: Options, registry: CollectorRegistry) -> Middleware | None:
    """What the options switch on; None where that is nothing. Raises ModelLoadError where it cannot be had."""
    authenticator = _authenticator(options)
    tracing = _tracing(options, registry)
    observers: list[Observer] = []
    if options.payload_log_url:
        observers.append(_payload_log(options, registry))
    if options.access_log or options.access_log_file is not None:
        observers.append(AccessLog(options.access_log_file, registry))
    if authenticator is None and tracing is None and not observers:
        return None
    open_paths = OPEN_PATHS | GRPC_OPEN_PATHS | ({METRICS_PATH} if options.metrics_without_auth else frozenset())
    return Middleware(
        registry, authenticator=authenticator, open_paths=open_paths, tracing=tracing, observers=observers
    )


def _authenticator(options: Options) -> Authenticator | None:
    keys = FollowedFile(options.api_key_file, parse_keys) if options.api_key_file is not None else None
    tokens = None
    if options.jwt_jwks_file is not None:
        module = _needs("tokens", "--jwt-jwks-file", "jwt")
        jwks = FollowedFile(options.jwt_jwks_file, module.parse_jwks)
        tokens = module.Tokens(jwks, issuer=options.jwt_issuer, audience=options.jwt_audience)
        if not options.jwt_audience:
            log.warning("tokens for any audience are accepted; say which is meant with --jwt-audience")
    return Authenticator(keys, tokens) if keys or tokens else None


def _tracing(options: Options, registry: CollectorRegistry) -> Tracing | None:
    if not options.otlp_endpoint and not any(os.environ.get(name) for name in _ENDPOINT_VARIABLES):
        return None
    module = _needs("tracing", "--otlp-endpoint (or OTEL_EXPORTER_OTLP_ENDPOINT)", "otel")
    provider = module.provider(options.otlp_endpoint, registry)
    module.trace.set_tracer_provider(provider)  # so that what a Python model traces goes the same way
    tracing: Tracing = module.Tracing(provider, options.otlp_endpoint)
    return tracing


def _payload_log(options: Options, registry: CollectorRegistry) -> Observer:
    from slipway_serving.middleware.payload_log import PayloadLog  # noqa: PLC0415  # an HTTP client that few need

    return PayloadLog(
        options.payload_log_url,
        registry,
        sample=options.payload_log_sample,
        mode=options.payload_log_mode,
        max_size=options.payload_log_max_size,
    )


def _needs(module: str, option: str, extra: str) -> Any:
    try:
        return importlib.import_module(f"slipway_serving.middleware.{module}")
    except ModuleNotFoundError as error:
        raise ModelLoadError(
            f"{option} needs the package '{error.name}', which is not installed",
            f"install it with: pip install 'slipway-serving[{extra}]'",
        ) from None
