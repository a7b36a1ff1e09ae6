"""The process: sockets, the application, signals, and an end that loses nobody's request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable

from slipway_serving import __version__
from slipway_serving.allocator import give_back, keep_large_blocks
from slipway_serving.app import App
from slipway_serving.collector import keep_loaded
from slipway_serving.errors import ModelLoadError, RequestError
from slipway_serving.grpc.server import GrpcServer
from slipway_serving.grpc.service import Service
from slipway_serving.http.server import HttpServer
from slipway_serving.metrics import Metrics
from slipway_serving.middleware.stack import Middleware, middleware_of
from slipway_serving.options import OFF, Options
from slipway_serving.repository import Repository
from slipway_serving.sources import Settings

log = logging.getLogger("slipway_serving")
_NOT_STARTED = 1
_FLUSH_SECONDS = 5.0
"""How long logs and traces may take to be handed over at the end."""


class Lifecycle:
    """Loads, serves, drains.

    SIGTERM: readiness fails at once; requests are answered for the drain window; then no new connections, and what is
    in flight has until the drain timeout. SIGINT skips the window. A second signal ends the process.
    """

    def __init__(
        self,
        options: Options,
        repository: Repository,
        app: App,
        listener: socket.socket,
        middleware: Middleware | None = None,
    ) -> None:
        self._options = options
        self._repository = repository
        self._app = app
        self._listener = listener
        self._middleware = middleware
        self._http = HttpServer(
            app if middleware is None else middleware.watch(app),
            max_body=options.max_body,
            keep_alive=options.keep_alive,
            max_connections=options.max_connections,
            guard=None if middleware is None else middleware.guard,
        )
        self._grpc: GrpcServer | None = None
        if options.grpc_port != OFF:
            service = Service(repository, lambda: app.draining)
            self._grpc = GrpcServer(
                service,
                max_body=options.max_body,
                middleware=middleware,
                max_connections=options.max_connections,
            )
        self._grpc_port = 0
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._window: asyncio.Task[None] | None = None
        self._deadline = float("inf")

    async def run(self) -> int:
        """Serves until a signal, or until a model fails to load; returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        await self._http.listen(self._listener)
        if self._grpc is not None:
            listener = listen(self._options.host, self._options.grpc_port, "--grpc-port")
            self._grpc_port = listener.getsockname()[1]
            await self._grpc.listen(listener)
        work = loop.create_task(self._load_and_follow())
        code = await self._end
        work.cancel()
        unanswered = await self._close(max(1.0, self._deadline - time.monotonic()))
        if self._middleware is not None:
            await self._middleware.close(_FLUSH_SECONDS)
        closing = self._repository.close()
        if closing and self._middleware is not None and self._middleware.tracing is not None:
            # Worker processes hand over the spans of their models; without traces nobody waits for anything here.
            await asyncio.wait(map(asyncio.wrap_future, closing), timeout=_FLUSH_SECONDS)
        if unanswered:
            log.error("stopped with %d requests unanswered: the drain timeout is over", unanswered)
            return 1
        return code

    async def _close(self, seconds: float) -> int:
        """How many requests stay unanswered."""
        closing = [self._http.close(seconds)]
        if self._grpc is not None:
            closing.append(self._grpc.close(seconds))
        return sum(await asyncio.gather(*closing))

    @property
    def _in_flight(self) -> int:
        return self._http.in_flight + (self._grpc.in_flight if self._grpc is not None else 0)

    async def _load_and_follow(self) -> None:
        started = time.perf_counter()
        try:
            await self._repository.load_all()
        except ModelLoadError as error:
            log.debug("loading failed", exc_info=error)
            report(error)
            self._stop(_NOT_STARTED)
            return
        except Exception:
            log.exception("a bug of the server, while loading the models")
            self._stop(_NOT_STARTED)
            return
        keep_loaded()
        give_back()
        keep_large_blocks()
        self._announce(time.perf_counter() - started)
        if self._repository.mode == "poll":
            await self._repository.poll(self._options.poll_interval)

    def _announce(self, seconds: float) -> None:
        host, port = self._listener.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        models = list(self._repository)
        if len(models) == 1:
            model = models[0]
            place = f"{address}/v2/models/{model.name}"
            what = f"model '{model.name}' ({model.platform}) loaded in {seconds:.2f} s, served at {place}"
            plain = f"{address}/predict"
        else:
            names = ", ".join(model.name for model in models[:10]) + (" …" if len(models) > 10 else "")  # noqa: PLR2004
            what = f"{len(models)} models loaded in {seconds:.2f} s ({names}), served at {address}/v2/models/NAME"
            plain = f"{address}/predict/NAME"
        grpc = f"; gRPC: {host}:{self._grpc_port}" if self._grpc is not None else ""
        print(  # noqa: T201  # the one line that says what is served where
            f"slipway-serve {__version__}: {what}{grpc}; plain: {plain}; metrics: {address}/metrics", flush=True
        )

    def _on_signal(self, number: signal.Signals) -> None:
        if self._app.draining:
            log.error("stopped by a second signal with %d requests unanswered", self._in_flight)
            logging.shutdown()
            os._exit(1)
        self._app.draining = self._http.draining = True
        if self._grpc is not None:
            self._grpc.drain()
        window = self._options.drain_window if number == signal.SIGTERM and self._is_serving() else 0.0
        self._deadline = time.monotonic() + self._options.drain_timeout
        log.info("draining: %d requests in flight, new ones are answered for %.1f s", self._in_flight, window)
        self._window = asyncio.get_running_loop().create_task(self._close_after(window))

    def _is_serving(self) -> bool:
        with contextlib.suppress(RequestError):
            self._repository.require_ready()
            return True
        return False

    async def _close_after(self, window: float) -> None:
        await asyncio.sleep(window)
        self._stop(0)

    def _stop(self, code: int) -> None:
        if not self._end.done():
            self._end.set_result(code)


def listen(host: str, port: int, option: str = "--http-port") -> socket.socket:
    """A socket bound to an address. Raises ModelLoadError saying which option to change."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ModelLoadError(
            f"cannot listen on {host} port {port}: {error.strerror or error}",
            f"choose others with --host and {option}",
        ) from None
    return listener


def report(error: ModelLoadError) -> None:
    """Tells a person why nothing is served."""
    sys.stderr.write(f"slipway-serve: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
    sys.stderr.flush()


def serve(options: Options) -> int:
    """Runs the server to its end; returns the exit status. Raises ModelLoadError where it cannot start."""
    metrics = Metrics()
    settings = Settings(options.name, options.allow_pickle, options.workers)
    middleware = middleware_of(options, metrics.registry)
    tracing = middleware.tracing.models if middleware is not None and middleware.tracing is not None else None
    repository = Repository(options.path, settings, metrics, options.model_control_mode, tracing)
    with asyncio.Runner(loop_factory=event_loop()) as runner:
        return runner.run(_serve(options, repository, metrics, middleware))


def event_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop: uvloop where it is installed, as with every extra for a format; else asyncio."""
    try:
        import uvloop  # noqa: PLC0415
    except ModuleNotFoundError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _serve(options: Options, repository: Repository, metrics: Metrics, middleware: Middleware | None) -> int:
    repository.discover()
    app = App(repository, metrics, max_body=options.max_body)
    return await Lifecycle(options, repository, app, listen(options.host, options.http_port), middleware).run()
