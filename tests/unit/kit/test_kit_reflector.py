from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.kit.client import ApiError, Expired, Unreachable, WatchEvent
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


NAMES = st.sampled_from("abcde")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, st.integers(0, 3)),
        st.tuples(st.just("remove"), NAMES, st.just(0)),
        st.tuples(st.sampled_from(["compact", "disconnect", "bookmark"]), st.just(""), st.just(0)),
        st.tuples(st.just("sleep"), st.just(""), st.integers(0, 50)),
    ),
    max_size=40,
)
FATES = st.lists(st.sampled_from(["deliver", "twice", "replay", "break", "gone", "refuse"]), max_size=30)


class Hostile:
    """Delivers events twice, late, again, or breaks off, as the list of fates says; afterwards all goes well."""

    def __init__(self, server: ApiServer, fates: list[str]) -> None:
        self._fates = iter(fates)
        self._past: list[WatchEvent] = []
        server.on_event = self.deliver
        server.fault = self.refuse

    def refuse(self, call: Call) -> None:
        if call.verb == "watch":
            self._past.clear()  # a new connection repeats nothing of the last one: a list in it would be wrong
        if next(self._fates, "deliver") == "refuse":
            raise ApiError(429, "TooManyRequests", "slow down")

    def deliver(self, event: WatchEvent) -> list[WatchEvent]:
        fate = next(self._fates, "deliver")
        late = [past for past in self._past if past.type != "BOOKMARK"] if fate == "replay" else []
        if fate == "break":
            raise Unreachable("the connection broke")
        if fate == "gone":
            raise Expired(410, "Expired", "too old resource version")
        self._past.append(event)
        initial = event.type == "ADDED"  # a list has each object once
        return [event] if initial else [event, event, *late] if fate == "twice" else [*late, event]


def play(server: ApiServer, action: str, name: str, value: int) -> None:
    if action == "put":
        server.put(POD, pod(name, value))
    elif action == "remove" and Key("default", name) in server.objects(POD):
        server.remove(POD, Key("default", name))
    elif action in {"compact", "disconnect", "bookmark"}:
        getattr(server, action)()


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, fates=FATES, streaming=st.booleans())
def test_whatever_happens_the_store_ends_equal_to_the_server(
    steps: list[tuple[str, str, int]], fates: list[str], *, streaming: bool
):
    @virtual_time
    async def scenario() -> None:
        server, store, mirror = ApiServer(streaming=streaming), Store(POD), dict[str, int]()

        def follow(old: Manifest | None, new: Manifest | None) -> None:
            if old is not None:
                assert mirror.pop(key_of(old).name) == old["spec"]["value"]
            if new is not None:
                mirror[key_of(new).name] = new["spec"]["value"]

        store.subscribe(follow)
        Hostile(server, fates)
        async with reflecting(server, store):
            for action, name, value in steps:
                play(server, action, name, value)
                await asyncio.sleep(value if action == "sleep" else 0)
            await asyncio.sleep(2000)
            assert store.synced.is_set()
            assert values(store) == values(server.objects(POD))
            assert mirror == values(store)

    scenario()
