from __future__ import annotations

import asyncio
from contextlib import suppress

import httpx2
import pytest

from slipway.kit.health import MOST_CONNECTIONS
from slipway.kit.manager import Manager
from slipway.kit.objects import MODEL_SERVICE
from slipway.kit.testing import ApiServer


@pytest.fixture
async def manager():
    manager = Manager(ApiServer(), port=0)
    manager.store(MODEL_SERVICE)
    task = asyncio.create_task(manager.run())
    while manager.port == 0 or manager.ready():  # noqa: ASYNC110  # it takes a few turns of the loop, and no time
        await asyncio.sleep(0)
    yield manager
    manager.stop()
    await task


async def ask(manager: Manager, path: str, method: str = "GET") -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False) as http:
        return await http.request(method, f"http://127.0.0.1:{manager.port}{path}")


async def test_probes_and_metrics_share_a_port(manager: Manager):
    for path in ("/healthz", "/livez", "/readyz?verbose"):
        answer = await ask(manager, path)
        assert (answer.status_code, answer.text) == (200, "ok\n")
    metrics = await ask(manager, "/metrics")
    assert metrics.headers["Content-Type"].startswith("text/plain; version=")
    assert 'slipway_kit_cached_objects{kind="modelservices"} 0.0' in metrics.text
    assert "\nprocess_resident_memory_bytes " in metrics.text


async def test_what_is_wrong_is_said(manager: Manager):
    manager._reflectors[0]._active_at -= 10_000
    answer = await ask(manager, "/healthz")
    assert (answer.status_code, answer.text) == (503, "the watch of modelservices has stopped\n")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/other", 404), ("POST", "/healthz", 405)])
async def test_everything_else_is_refused(manager: Manager, method: str, path: str, status: int):
    assert (await ask(manager, path, method)).status_code == status


async def test_head_has_no_body(manager: Manager):
    answer = await ask(manager, "/readyz", "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("garbage", [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"G" * 100_000, b"GET /healthz"])
async def test_garbage_harms_nobody(manager: Manager, garbage: bytes):
    reader, writer = await asyncio.open_connection("127.0.0.1", manager.port)
    writer.write(garbage)
    writer.write_eof()
    with suppress(ConnectionError):
        await reader.read()
    writer.close()
    assert (await ask(manager, "/healthz")).status_code == 200


async def test_connections_are_bounded(manager: Manager):
    idle = [await asyncio.open_connection("127.0.0.1", manager.port) for _ in range(MOST_CONNECTIONS)]
    with pytest.raises(httpx2.HTTPError):
        await ask(manager, "/healthz")
    for reader, writer in idle:
        writer.write_eof()
        await reader.read()
        writer.close()


async def test_a_port_that_is_taken_is_an_error(manager: Manager):
    with pytest.raises(OSError, match="address already in use"):
        await Manager(ApiServer(), port=manager.port).run()
