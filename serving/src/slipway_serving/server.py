"""The process: a socket, uvicorn around the application, signals, and an end that loses nobody's request."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator

import httptools
import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from slipway_serving import __version__
from slipway_serving.app import App
from slipway_serving.errors import ModelLoadError
from slipway_serving.metrics import Metrics
from slipway_serving.models import ModelSource, Repository, ServedModel
from slipway_serving.options import Options

log = logging.getLogger("slipway_serving")
_BACKLOG = 2048


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP, but every offer to upgrade is declined without losing the body, and errors are JSON."""

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _decline_upgrade(self, rest: bytes) -> None:
        """Reads the request again as if it had offered nothing: the parser takes its body for the other protocol.

        Clients that offer HTTP/2 with their first request, as Java's does, send that request's body all the same.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("CONNECT is not supported.")
            return
        kept = [
            (name, value) for name, value in self.headers if name not in (b"upgrade", b"connection", b"http2-settings")
        ]
        lines = [method + b" " + self.url + b" HTTP/1.1", *(name + b": " + value for name, value in kept)]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    def send_400_response(self, msg: str) -> None:
        body = b'{"error":"%s"}' % msg.encode("ascii", "replace").replace(b'"', b"'")
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[400] + head + body)
        self.transport.close()


class HttpServer(uvicorn.Server):
    """uvicorn without its own signals: they would end the process with the signal's status instead of 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Lifecycle:
    """Loads, serves, drains.

    SIGTERM: readiness fails at once; requests are answered for the drain window; then no new connections, and what is
    in flight has until the drain timeout. SIGINT skips the window. A second signal ends the process.
    """

    def __init__(self, options: Options, app: App, model: ServedModel, listener: socket.socket) -> None:
        self._options = options
        self._app = app
        self._model = model
        self._listener = listener
        self._exit_code = 0
        self._closing: asyncio.Task[None] | None = None
        drain = max(1, round(options.drain_timeout - options.drain_window))
        self._http = HttpServer(
            uvicorn.Config(
                app,
                http=Protocol,
                interface="asgi3",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=round(options.keep_alive),
                timeout_graceful_shutdown=drain,
            )
        )

    async def run(self) -> int:
        """Serves until a signal, or until the model fails to load; returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        loading = loop.create_task(self._load())
        await self._http.serve([self._listener])
        loading.cancel()
        if self._app.in_flight:
            log.error("stopped with %d requests unanswered: the drain timeout is over", self._app.in_flight)
            return 1
        return self._exit_code

    async def _load(self) -> None:
        try:
            seconds = await self._model.load()
        except ModelLoadError as error:
            log.debug("loading failed", exc_info=error)
            report(error)
            self._stop(1)
            return
        except Exception:
            log.exception("a bug of the server, while loading the model")
            self._stop(1)
            return
        gc.collect()
        gc.freeze()  # what is loaded lives as long as the process: never look at it again
        self._announce(seconds)

    def _announce(self, seconds: float) -> None:
        host, port = self._listener.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        model = self._model
        print(  # noqa: T201  # the one line that says what is served where
            f"slipway-serve {__version__}: model '{model.name}' ({model.platform}) loaded in {seconds:.2f} s, served "
            f"at {address}/v2/models/{model.name}; plain: {address}/predict; metrics: {address}/metrics",
            flush=True,
        )

    def _on_signal(self, number: signal.Signals) -> None:
        if self._app.draining:
            log.error("stopped by a second signal with %d requests unanswered", self._app.in_flight)
            logging.shutdown()
            os._exit(1)
        self._app.draining = True
        window = self._options.drain_window if number == signal.SIGTERM and self._is_serving() else 0.0
        log.info("draining: %d requests in flight, new ones are answered for %.1f s", self._app.in_flight, window)
        self._closing = asyncio.get_running_loop().create_task(self._close_after(window))

    def _is_serving(self) -> bool:
        with contextlib.suppress(Exception):
            self._model.require_ready()
            return True
        return False

    async def _close_after(self, window: float) -> None:
        await asyncio.sleep(window)
        self._stop(0)

    def _stop(self, code: int) -> None:
        self._exit_code = code
        self._http.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A listening socket's address, bound. Raises ModelLoadError saying which option to change."""
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
            "choose others with --host and --http-port",
        ) from None
    return listener


def report(error: ModelLoadError) -> None:
    """Tells a person why nothing is served."""
    sys.stderr.write(f"slipway-serve: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
    sys.stderr.flush()


def serve(options: Options, source: ModelSource) -> int:
    """Runs the server to its end; returns the exit status. Raises ModelLoadError where it cannot listen."""
    metrics = Metrics()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        model = ServedModel(source, metrics)
        app = App(Repository([model]), metrics, max_body=options.max_body)
        lifecycle = Lifecycle(options, app, model, listen(options.host, options.http_port))
        return runner.run(lifecycle.run())
