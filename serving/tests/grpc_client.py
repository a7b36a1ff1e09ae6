"""Messages of the gRPC protocol, and a real server of it in this process with grpcio's client."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest

from slipway_serving.app import App
from slipway_serving.grpc import messages
from slipway_serving.grpc.server import GrpcServer
from slipway_serving.grpc.service import Service
from slipway_serving.metrics import Metrics
from slipway_serving.middleware.stack import GRPC_OPEN_PATHS, Middleware
from slipway_serving.repository import Repository
from slipway_serving.sources import Settings

SERVICE = "/inference.GRPCInferenceService/"
FLOWER = np.array([5.1, 3.5, 1.4, 0.2], dtype="<f4").tobytes()


def request(name="x", datatype="FP32", shape=(2,), raw=None, **values):
    message = messages.ModelInferRequest(model_name="m", id="7")
    tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
    for field, items in values.items():
        getattr(tensor.contents, field).extend(items)
    if raw is not None:
        message.raw_input_contents.append(raw)
    return message


def flower(**keys):
    message = request(shape=(1, 4), raw=FLOWER)
    message.model_name = keys.pop("model", "iris")
    for key, value in keys.items():
        setattr(message, key, value)
    return message


class Client:
    """Calls methods of the service by their names."""

    def __init__(self, channel: grpc.aio.Channel, server: GrpcServer, app: App, port: int):
        self.channel = channel
        self.server = server
        self.app = app
        self.port = port

    async def call(self, name, message=None, *, service=SERVICE, **options):
        message = getattr(messages, f"{name}Request")() if message is None else message
        method = self.channel.unary_unary(
            service + name,
            request_serializer=type(message).SerializeToString,
            response_deserializer=getattr(messages, f"{name}Response").FromString,
        )
        return await method(message, timeout=30, **options)

    async def refused(self, name, message=None, **options):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(name, message, **options)
        return caught.value.code().name, caught.value.details()

    def stream(self, sent, **options):
        """The answers of ModelStreamInfer to what `sent` brings."""
        method = self.channel.stream_stream(
            f"{SERVICE}ModelStreamInfer",
            request_serializer=messages.ModelInferRequest.SerializeToString,
            response_deserializer=messages.ModelStreamInferResponse.FromString,
        )
        return method(sent, **{"timeout": 30, **options})


@asynccontextmanager
async def serve(path: Path, mode: str = "explicit", *, max_connections: int = 0, **middleware) -> AsyncIterator[Client]:
    """A client of a server in this process; `middleware` is what Middleware is made of, where anything is given."""
    metrics = Metrics()
    tracing = middleware.get("tracing")
    repository = Repository(path, Settings(), metrics, mode, tracing.models if tracing else None)
    repository.discover()
    await repository.load_all()
    app = App(repository, metrics)
    guard = Middleware(metrics.registry, open_paths=GRPC_OPEN_PATHS, **middleware) if middleware else None
    service = Service(repository, lambda: app.draining)
    server = GrpcServer(service, max_body=8 << 20, middleware=guard, max_connections=max_connections)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.listen(listener)
    port = listener.getsockname()[1]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Client(channel, server, app, port)
    await server.close(5)
    if guard is not None:
        await guard.close(5)
    repository.close()
