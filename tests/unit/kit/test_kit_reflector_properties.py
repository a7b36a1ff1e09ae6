"""Whatever the API server and the network do to a reflector, its store ends equal to the server."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slipway.kit.client import ApiError, Expired, Forbidden, Unreachable, WatchEvent
from slipway.kit.objects import POD, Key, Manifest, key_of
from slipway.kit.reflector import Reflector
from slipway.kit.store import Store
from slipway.kit.testing import ApiServer, Call, virtual_time

HEALED = 2000.0  # seconds: the longest back-off, silence and look for a missing kind, several times
NODES = ("n0", "n1", "n2")

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcdef"), st.integers(0, 5)),
        st.tuples(st.sampled_from(["remove", "again"]), st.sampled_from("abcdef"), st.just(0)),
        st.tuples(st.sampled_from(["compact", "disconnect", "bookmark", "gap"]), st.just(""), st.just(0)),
        st.tuples(st.sampled_from(["missing", "installed", "streaming", "paged"]), st.just(""), st.just(0)),
        st.tuples(st.just("delay"), st.just(""), st.sampled_from([0, 0, 3, 30])),
        st.tuples(st.just("sleep"), st.just(""), st.integers(0, 150)),
    ),
    max_size=40,
)
REFUSALS: dict[str, Callable[[], Exception]] = {
    "busy": lambda: ApiError(429, "TooManyRequests", "slow down"),
    "failed": lambda: ApiError(500, "InternalError", "etcdserver: leader changed"),
    "expired": lambda: Expired(410, "Expired", "too old resource version"),
    "forbidden": lambda: Forbidden(403, "Forbidden", "pods is forbidden"),
    "refused": lambda: Unreachable("connection refused"),
}
CALLS = st.lists(st.sampled_from(["", "", "", *REFUSALS]), max_size=30)
EVENTS = st.lists(st.sampled_from(["", "", "", "twice", "replay", "replay", "cut", "gone", "silence"]), max_size=40)


class Hostile(ApiServer):
    """Refuses calls, before or after they took effect, and spoils what watches deliver, as the two lists say.

    It never does what TCP excludes: within one connection nothing is left out, and a list has each object once.
    """

    def __init__(self, calls: list[str], events: list[str], *, streaming: bool) -> None:
        super().__init__(streaming=streaming)
        self._calls = iter(calls)
        self._events = iter(events)
        self._past: list[WatchEvent] = []
        self._listing = self._silent = False
        self.fault = self.fault_after = self.refuse
        self.on_event = self.deliver

    def watch(self, *arguments: Any, initial_events: bool = False, **options: Any) -> AsyncGenerator[WatchEvent]:
        self._past, self._listing, self._silent = [], initial_events, False
        return super().watch(*arguments, initial_events=initial_events, **options)

    def refuse(self, _: Call) -> None:
        if fate := next(self._calls, ""):
            refusal = REFUSALS[fate]
            raise refusal()

    def deliver(self, event: WatchEvent) -> list[WatchEvent]:
        fate = next(self._events, "")
        if fate == "cut":
            raise Unreachable("the connection broke")
        if fate == "gone":
            raise Expired(410, "Expired", "too old resource version")
        self._silent = self._silent or fate == "silence"
        if self._silent:  # half open: nothing comes any more, and nothing says so
            return []
        if self._listing:
            self._listing = event.type != "BOOKMARK"
            return [event]
        late = self._past if fate == "replay" else []
        self._past = [*self._past, event]
        return [event, event] if fate == "twice" else [event, *late]


class Mirror:
    """A subscriber: what it was told, and whether each telling fits the one before."""

    def __init__(self, store: Store) -> None:
        self.objects: dict[Key, Manifest] = {}
        store.subscribe(self.follow)

    def follow(self, old: Manifest | None, new: Manifest | None) -> None:
        key = key_of(new or old or {})
        assert self.objects.pop(key, None) == old
        assert (old, new) != (None, None)
        if new is not None:
            self.objects[key] = new


def pod(name: str, value: int) -> Manifest:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": f"rs-{value % 2}", "controller": True}
    metadata = {"name": name, "namespace": "default", "ownerReferences": [owner] * (value < 4)}
    spec = {"value": value, **({"nodeName": NODES[value % 3]} if value % 2 else {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def nodes_of(manifest: Manifest) -> Iterable[str]:
    name = manifest["spec"].get("nodeName")
    return (name,) if name else ()


def play(server: ApiServer, action: str, name: str, value: int) -> None:
    key = Key("default", name)
    present = key in server.objects(POD)
    if action == "put":
        server.put(POD, pod(name, value))
    elif action in {"remove", "again"} and present:
        server.remove(POD, key)
        if action == "again":  # another object of the same name
            server.put(POD, pod(name, 1))
    elif action == "gap":  # whatever happens next cannot be told by a watch
        server.disconnect()
        server.compact()
    elif action in {"compact", "disconnect", "bookmark"}:
        getattr(server, action)()
    else:
        change_server(server, action, value)


def change_server(server: ApiServer, action: str, value: int) -> None:
    if action == "missing":
        server.missing.add(POD)
        server.disconnect()
    elif action == "installed":
        server.missing.clear()
    elif action in {"streaming", "paged"}:
        server.streaming = action == "streaming"
    elif action == "delay":
        server.watch_delay = float(value)


def assert_equal(server: ApiServer, store: Store, mirror: Mirror) -> None:
    expected = server.objects(POD)
    assert {key_of(manifest): manifest for manifest in store.list()} == expected
    assert mirror.objects == expected
    by_node, by_owner = defaultdict(set), defaultdict(set)
    for key, manifest in expected.items():
        for node in nodes_of(manifest):
            by_node[node].add(key)
        for owner in manifest["metadata"]["ownerReferences"]:
            by_owner[owner["uid"]].add(key)
    for name, recomputed in (("node", by_node), ("owner", by_owner)):
        assert {value: set(keys) for value, keys in store._indices[name].items()} == recomputed
        for value, keys in recomputed.items():
            assert {key_of(manifest) for manifest in store.by_index(name, value)} == keys


def follow(steps: list[tuple[str, str, int]], calls: list[str], events: list[str], *, streaming: bool) -> None:
    """Plays the steps to a server that a reflector follows, gives it time, and compares."""

    @virtual_time
    async def scenario() -> None:
        server = Hostile(calls, events, streaming=streaming)
        store = Store(POD, optional=True)
        store.index("node", nodes_of)
        mirror = Mirror(store)
        for number, name in enumerate("abcd"):
            server.put(POD, pod(name, number))
        jitter = random.Random(len(steps))  # noqa: S311  # it spreads load
        reflector = Reflector(server, store, page_size=2, jitter=jitter)
        task = asyncio.create_task(reflector.run())
        for action, name, value in steps:
            play(server, action, name, value)
            await asyncio.sleep(value if action == "sleep" else 0)
        server.missing.clear()
        server.watch_delay = 0.0
        await asyncio.sleep(HEALED)
        assert not task.done()
        assert reflector.alive()
        assert store.synced.is_set()
        assert store.available
        assert not store.behind(
            str(max((int(item["metadata"]["resourceVersion"]) for item in store.list()), default=0))
        )
        assert_equal(server, store, mirror)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    scenario()


@settings(max_examples=250, deadline=None, derandomize=True)
@given(steps=STEPS, calls=CALLS, events=EVENTS, streaming=st.booleans())
@example(steps=[("gap", "", 0), ("remove", "a", 0)], calls=[], events=[], streaming=True)
@example(steps=[("gap", "", 0), ("again", "a", 0)], calls=["", "", "expired"], events=[], streaming=False)
@example(steps=[("put", "a", 5), ("sleep", "", 150)], calls=[], events=["silence"], streaming=True)
def test_whatever_happens_the_store_ends_equal_to_the_server(
    steps: list[tuple[str, str, int]], calls: list[str], events: list[str], *, streaming: bool
):
    follow(steps, calls, events, streaming=streaming)


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("fate", ["cut", "gone", "silence", "twice", "replay"])
def test_each_event_in_turn_is_spoiled(fate: str, *, streaming: bool):
    """Each place once, where the property above draws some."""
    steps = [
        ("put", "a", 5),
        ("remove", "b", 0),
        ("put", "b", 3),
        ("again", "c", 0),
        ("put", "f", 3),
        ("remove", "a", 0),
    ]
    waits = [step for item in steps for step in (item, ("sleep", "", 2))]
    for place in range(15):
        follow(waits, [], [""] * place + [fate], streaming=streaming)


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("error", [*REFUSALS])
def test_each_call_in_turn_fails(error: str, *, streaming: bool):
    steps = [("gap", "", 0), ("remove", "b", 0), ("sleep", "", 60), ("gap", "", 0), ("put", "f", 3)]
    for place in range(10):
        follow(steps, [""] * place + [error], [], streaming=streaming)


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("change", ["put", "remove", "again", "compact", "disconnect", "gap"])
def test_each_moment_of_a_list_is_disturbed(change: str, *, streaming: bool):
    """One turn of the loop after the other, from before the list until after it."""
    for moment in range(12):
        follow([("sleep", "", 0)] * moment + [(change, "d", 5)], [], [], streaming=streaming)
