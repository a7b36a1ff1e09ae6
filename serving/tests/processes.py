"""Server processes on the loopback interface, and how tests wait for what they do."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

TENSOR = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [7]}]}
INFER = "/v2/models/echo/infer"


class Process:
    """A server process and how to reach it."""

    def __init__(self, path: Path, *arguments: str, environment: Mapping[str, str] | None = None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "slipway_serving", str(path), "--host", "127.0.0.1", "--grpc-port", "0"]
        self.popen = subprocess.Popen(
            [*command, "--http-port", str(self.port), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def end(self) -> tuple[int, str, str]:
        out, err = self.popen.communicate(timeout=30)
        return self.popen.returncode, out, err


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


async def status(client: httpx2.AsyncClient, path: str) -> int:
    try:
        return (await client.get(path)).status_code
    except httpx2.TransportError:
        return 0


@asynccontextmanager
async def ready(process: Process) -> AsyncIterator[httpx2.AsyncClient]:
    async with process.client() as client:
        await until(lambda: is_status(client, "/v2/health/ready", 200))
        yield client


async def is_status(client: httpx2.AsyncClient, path: str, expected: int) -> bool:
    return await status(client, path) == expected


async def in_flight(client: httpx2.AsyncClient) -> int:
    lines = (await client.get("/metrics")).text.splitlines()
    return next(
        int(float(line.split()[-1])) for line in lines if line.startswith("slipway_serving_requests_in_flight{")
    )
