from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from slipway.kit.client import ApiError, Unreachable
from slipway.kit.metrics import Metrics
from slipway.kit.objects import HTTP_ROUTE, POD, Key, Manifest, key_of
from slipway.kit.reflector import PAGE_SIZE, Reflector
from slipway.kit.store import Store
from slipway.kit.testing import ApiServer, Call, virtual_time


def pod(name: str, value: int = 0, **labels: str) -> Manifest:
    metadata = {"name": name, "namespace": "default", "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"value": value}}


@asynccontextmanager
async def reflecting(server: ApiServer, store: Store, **options: Any) -> AsyncIterator[Reflector]:
    reflector = Reflector(server, store, jitter=random.Random(1), **options)  # noqa: S311  # it spreads load
    task = asyncio.create_task(reflector.run())
    try:
        yield reflector
        assert not task.done() or task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def values(objects: dict[Key, Manifest] | Store) -> dict[str, int]:
    manifests = objects.list() if isinstance(objects, Store) else objects.values()
    return {manifest["metadata"]["name"]: manifest["spec"]["value"] for manifest in manifests}


@pytest.mark.parametrize("streaming", [True, False])
@virtual_time
async def test_lists_and_follows(*, streaming: bool):
    server, store = ApiServer(streaming=streaming), Store(POD)
    for number in range(PAGE_SIZE + 7):
        server.put(POD, pod(f"p{number}"))
    async with reflecting(server, store):
        await store.synced.wait()
        assert len(store) == PAGE_SIZE + 7
        server.put(POD, pod("p0", 5))
        server.remove(POD, Key("default", "p1"))
        await asyncio.sleep(1)
        assert values(store) == values(server.objects(POD))
    lists = [call for call in server.calls if call.verb == "list"]
    assert len(lists) == (0 if streaming else 2)


@virtual_time
async def test_what_was_deleted_in_a_gap_is_deleted_here():
    server, store, told = ApiServer(), Store(POD), []
    server.put(POD, pod("goes"))
    server.put(POD, pod("stays"))
    async with reflecting(server, store):
        await store.synced.wait()
        store.subscribe(lambda old, new: told.append((old and key_of(old).name, new and key_of(new).name)))
        server.disconnect()
        server.remove(POD, Key("default", "goes"))
        server.compact()
        await asyncio.sleep(60)
        assert values(store) == {"stays": 0}
    assert told == [("goes", None)]


@virtual_time
async def test_a_bookmark_saves_the_list_after_a_gap():
    server, store = ApiServer(), Store(POD)
    async with reflecting(server, store):
        await store.synced.wait()
        server.put(HTTP_ROUTE, {"apiVersion": "x", "kind": "HTTPRoute", "metadata": {"name": "other"}})
        server.bookmark()
        await asyncio.sleep(1)
        server.compact()
        server.disconnect()
        server.put(POD, pod("new"))
        await asyncio.sleep(60)
        assert values(store) == {"new": 0}
    assert all(call.verb == "watch" for call in server.calls)
    assert len(server.calls) == 2


@virtual_time
async def test_a_silent_watch_is_opened_again():
    server, store = ApiServer(), Store(POD)
    async with reflecting(server, store, inactivity=100.0) as reflector:
        await asyncio.sleep(350)
        assert reflector.alive()
    assert len(server.calls) == 4


@virtual_time
async def test_a_reflector_that_hangs_is_not_alive():
    server, store = ApiServer(), Store(POD)

    reflector = Reflector(server, store, inactivity=10.0)
    assert reflector.alive()
    await asyncio.sleep(100)
    assert not reflector.alive()


@virtual_time
async def test_a_streaming_list_that_never_ends_is_made_good_by_pages():
    """As of a server or proxy that does not know how to send initial events."""
    server, store = ApiServer(), Store(POD)
    server.put(POD, pod("a"))
    server.on_event = lambda event: [event] if event.type != "BOOKMARK" else []
    async with reflecting(server, store):
        await asyncio.sleep(150)
        assert values(store) == {"a": 0}
        assert store.synced.is_set()
        server.put(POD, pod("b"))
        await asyncio.sleep(1)
        assert len(store) == 2
    assert [call.verb for call in server.calls] == ["watch", "list", "watch"]


@virtual_time
async def test_a_list_whose_pages_always_expire_is_asked_for_in_one():
    server, store = ApiServer(streaming=False), Store(POD)
    for number in range(PAGE_SIZE + 1):
        server.put(POD, pod(f"p{number}"))
    server.fault_after = lambda call: server.compact() if call.verb == "list" else None
    async with reflecting(server, store):
        await asyncio.sleep(10)
        assert len(store) == PAGE_SIZE + 1
    assert [call.verb for call in server.calls] == ["watch", "list", "list", "list", "watch"]


@virtual_time
async def test_failures_that_are_far_apart_are_not_added_up():
    server, store, metrics = ApiServer(), Store(POD), Metrics()
    async with reflecting(server, store, inactivity=1000.0, metrics=metrics):
        await store.synced.wait()
        for _ in range(5):
            await asyncio.sleep(700)  # a watch ends by itself within ten minutes
            hits = iter([ApiError(500, "InternalError", "etcdserver: leader changed")])

            def fail_once(call: Call, hits: Any = hits) -> None:
                if error := next(hits, None):
                    raise error

            server.fault = fail_once
            server.disconnect()
        await asyncio.sleep(700)
        server.put(POD, pod("a"))
        await asyncio.sleep(1)
        assert len(store) == 1
    assert metrics.registry.get_sample_value("slipway_kit_relists_total", {"kind": "pods"}) == 0


@virtual_time
async def test_failures_back_off_with_jitter_and_then_end():
    server, store, times = ApiServer(), Store(POD), list[float]()

    def fault(_: Call) -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) < 10:
            raise Unreachable("connection refused")

    server.fault = fault
    async with reflecting(server, store):
        await asyncio.wait_for(store.synced.wait(), 300)
    pauses = [after - before for before, after in pairwise(times)]
    assert all(0.4 <= pause <= 30.0 for pause in pauses)
    assert pauses[-1] > 10


@virtual_time
async def test_an_optional_kind_may_come_and_go():
    server, store = ApiServer(), Store(HTTP_ROUTE, optional=True)
    server.missing.add(HTTP_ROUTE)
    route = {"apiVersion": "x", "kind": "HTTPRoute", "metadata": {"name": "r", "namespace": "default"}}
    async with reflecting(server, store):
        await store.synced.wait()
        assert not store.available
        server.missing.clear()
        server.put(HTTP_ROUTE, route)
        await asyncio.sleep(60)
        assert store.available
        assert len(store) == 1
        server.missing.add(HTTP_ROUTE)
        server.disconnect()
        await asyncio.sleep(60)
        assert not store.available
        assert len(store) == 0


@virtual_time
async def test_a_version_that_the_server_refuses_forever_is_given_up():
    server, store = ApiServer(), Store(POD)
    async with reflecting(server, store):
        await store.synced.wait()

        def restored(call: Call) -> None:
            if server.calls.count(call) < 6:
                raise ApiError(504, "Timeout", "Too large resource version: 9, current: 3")

        server.fault = restored
        server.put(POD, pod("new"))
        server.disconnect()
        await asyncio.sleep(100)
        assert values(store) == {"new": 0}


@virtual_time
async def test_a_selector_sees_objects_leave():
    server, store = ApiServer(), Store(POD, labels="app=x", namespace="default")
    server.put(POD, pod("a", app="x"))
    server.put(POD, pod("b", app="y"))
    async with reflecting(server, store):
        await store.synced.wait()
        assert values(store) == {"a": 0}
        server.put(POD, pod("a", app="y"))
        await asyncio.sleep(1)
        assert values(store) == {}


@virtual_time
async def test_relists_and_failures_are_counted():
    server, store, metrics = ApiServer(), Store(POD), Metrics()
    async with reflecting(server, store, metrics=metrics):
        await store.synced.wait()
        server.put(POD, pod("a"))
        await asyncio.sleep(1)
        server.put(POD, pod("b"))
        server.compact()
        server.disconnect()
        await asyncio.sleep(60)
    value = metrics.registry.get_sample_value
    assert value("slipway_kit_relists_total", {"kind": "pods"}) == 1
    assert value("slipway_kit_watch_failures_total", {"kind": "pods"}) == 1
    assert value("slipway_kit_cached_objects", {"kind": "pods"}) == 2
