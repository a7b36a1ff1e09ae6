from __future__ import annotations

import asyncio
import logging
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_operator import KEY, Scripted, assert_settled, running, service, small

from slipway.kit.client import ApiError, Conflict, Unreachable
from slipway.kit.controller import Controller, Result, TerminalError
from slipway.kit.manager import Manager
from slipway.kit.objects import CONFIG_MAP, DEPLOYMENT, MODEL_SERVICE, POD, Key, Manifest
from slipway.kit.status import write_status
from slipway.kit.store import Store
from slipway.kit.testing import ApiServer, Call, virtual_time


@virtual_time
async def test_children_follow_their_owner_and_come_back():
    server = ApiServer()
    server.put(MODEL_SERVICE, service("there-before"))
    async with running(small(server)):
        server.put(MODEL_SERVICE, service("iris", 3))
        await asyncio.sleep(1)
        assert_settled(server)
        server.remove(DEPLOYMENT, KEY)
        server.put(MODEL_SERVICE, service("there-before", 2, exposed=False))
        await asyncio.sleep(1)
        assert_settled(server)
        server.remove(MODEL_SERVICE, KEY)
        await asyncio.sleep(1)
        assert_settled(server)
        server.calls.clear()
        await asyncio.sleep(50)
        assert server.writes == []


@virtual_time
async def test_a_second_process_writes_nothing():
    server = ApiServer()
    for number in range(5):
        server.put(MODEL_SERVICE, service(f"s{number}"))
    async with running(small(server)):
        pass
    assert_settled(server)
    server.calls.clear()
    async with running(small(server)):
        pass
    assert server.writes == []


@virtual_time
async def test_no_reconcile_decides_on_a_cache_older_than_its_own_writes():
    server = ApiServer()
    manager = Manager(server)
    services = manager.store(MODEL_SERVICE)
    seen: list[int] = []

    class Counting:
        async def reconcile(self, key: Key) -> Result:
            owner = services.get(key)
            assert owner is not None
            count = owner.get("status", {}).get("count", 0)
            seen.append(count)
            if count < 5:
                await write_status(server, MODEL_SERVICE, owner, {"count": count + 1})
            return Result(requeue_after=0.01)

    manager.add(Controller(MODEL_SERVICE, Counting()))
    server.put(MODEL_SERVICE, service())
    server.watch_delay = 3.0
    async with running(manager):
        await asyncio.sleep(60)
    assert seen[:6] == [0, 1, 2, 3, 4, 5]
    assert len([call for call in server.writes if call.subresource == "status"]) == 5


@virtual_time
async def test_the_cache_is_not_waited_for_forever():
    server = ApiServer()
    manager = Manager(server)
    services = manager.store(MODEL_SERVICE)
    times: list[float] = []

    class Writing:
        async def reconcile(self, key: Key) -> Result:
            times.append(asyncio.get_running_loop().time())
            owner = services.get(key)
            assert owner is not None
            await write_status(server, MODEL_SERVICE, owner, {"at": times[-1]})
            return Result(requeue_after=1)

    server.put(MODEL_SERVICE, service())
    server.watch_delay = 1000.0
    manager.add(Controller(MODEL_SERVICE, Writing()))
    async with running(manager):
        await asyncio.sleep(30)
    assert [round(after - before) for before, after in pairwise(times)] == [10, 10, 10]


@virtual_time
async def test_each_outcome_of_a_reconcile(caplog: pytest.LogCaptureFixture):
    server = ApiServer()
    outcomes: dict[str, Result | Exception] = {
        "fine": Result(),
        "again": Result(requeue_after=20),
        "terminal": TerminalError("the format is unknown"),
        "conflict": Conflict(409, "Conflict", "modified"),
        "down": Unreachable("connection refused"),
        "bug": KeyError("spec"),
    }
    for name in outcomes:
        server.put(MODEL_SERVICE, service(name))
    manager = Manager(server)
    scripted = Scripted(lambda key: outcomes[key.name])
    manager.add(Controller(MODEL_SERVICE, scripted))
    with caplog.at_level(logging.WARNING):
        async with running(manager):
            await asyncio.sleep(28)
    count = {name: sum(name == seen for _, seen in scripted.keys) for name in outcomes}
    assert count["fine"] == count["terminal"] == 1
    assert count["again"] == 2
    assert count["bug"] == count["down"] == count["conflict"] == 12
    assert "modelservice default/terminal: the format is unknown" in caplog.text
    assert "modelservice default/bug failed" in caplog.text
    assert "KeyError" in caplog.text
    assert "default/conflict" not in caplog.text
    value = manager.metrics.registry.get_sample_value
    labels = {"controller": "modelservice"}
    assert value("controller_runtime_reconcile_total", {**labels, "result": "success"}) == 1
    assert value("controller_runtime_reconcile_total", {**labels, "result": "requeue_after"}) == 2
    assert value("controller_runtime_reconcile_total", {**labels, "result": "error"}) == 37
    assert value("controller_runtime_reconcile_errors_total", labels) == 37
    assert value("controller_runtime_terminal_reconcile_errors_total", labels) == 1
    assert value("controller_runtime_reconcile_panics_total", labels) == 12
    assert value("controller_runtime_reconcile_timeouts_total", labels) == 0
    assert value("controller_runtime_reconcile_time_seconds_count", labels) == 40
    assert value("controller_runtime_active_workers", labels) == 0
    assert value("controller_runtime_max_concurrent_reconciles", labels) == 4


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (asyncio.CancelledError(), "CancelledError"),
        (None, "reconcile returned None, not a Result"),
        (7, "not a Result"),
    ],
)
@virtual_time
async def test_whatever_a_reconcile_does_its_worker_lives_on(
    returned: object, said: str, caplog: pytest.LogCaptureFixture
):
    server = ApiServer()
    server.put(MODEL_SERVICE, service("odd"))
    manager, calls = Manager(server), list[str]()

    class Odd:
        async def reconcile(self, key: Key) -> Result:
            calls.append(key.name)
            if key.name == "odd" and isinstance(returned, BaseException):
                raise returned
            return returned if key.name == "odd" else Result()  # type: ignore[return-value]  # as of one who forgot it

    manager.add(Controller(MODEL_SERVICE, Odd(), workers=1))
    async with running(manager) as task:
        server.put(MODEL_SERVICE, service("fine"))
        await asyncio.sleep(1)
        assert not task.done()
    assert calls.count("fine") == 1
    assert calls.count("odd") > 2
    assert said in caplog.text


@pytest.mark.parametrize("after", [-1.0, float("nan"), float("inf")])
def test_a_time_that_never_comes_is_refused(after: float):
    with pytest.raises(ValueError, match="requeue_after"):
        Result(requeue_after=after)


@virtual_time
async def test_a_reconcile_that_hangs_is_cut_off():
    server = ApiServer()
    server.put(MODEL_SERVICE, service())
    manager, calls = Manager(server), list[float]()

    class Hanging:
        async def reconcile(self, _key: Key) -> Result:
            calls.append(asyncio.get_running_loop().time())
            await asyncio.sleep(10_000)
            return Result()

    manager.add(Controller(MODEL_SERVICE, Hanging(), workers=1))
    async with running(manager):
        await asyncio.sleep(310)
    assert len(calls) == 2
    value = manager.metrics.registry.get_sample_value
    assert value("controller_runtime_reconcile_timeouts_total", {"controller": "modelservice"}) == 1
    assert value("controller_runtime_reconcile_panics_total", {"controller": "modelservice"}) == 0


@virtual_time
async def test_watched_objects_are_mapped_to_keys_before_and_after():
    server = ApiServer()
    server.put(MODEL_SERVICE, service("one"))
    server.put(MODEL_SERVICE, service("two"))
    manager = Manager(server)
    scripted = Scripted(lambda _: Result())
    manager.add(
        Controller(MODEL_SERVICE, scripted).watches(
            CONFIG_MAP, lambda manifest: [Key("default", manifest["data"]["for"])]
        )
    )
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}}
    async with running(manager):
        scripted.keys.clear()
        server.put(CONFIG_MAP, {**config, "data": {"for": "one"}})
        await asyncio.sleep(1)
        assert [name for _, name in scripted.keys] == ["one"]
        server.put(CONFIG_MAP, {**config, "data": {"for": "two"}})
        await asyncio.sleep(1)
        assert [name for _, name in scripted.keys] == ["one", "one", "two"]
        server.put(CONFIG_MAP, {**config, "data": {}})
        await asyncio.sleep(1)
        server.put(CONFIG_MAP, {**config, "data": {"for": "two"}})
        await asyncio.sleep(1)
        assert [name for _, name in scripted.keys][3:] == ["two", "two"]


@virtual_time
async def test_of_a_watched_object_only_the_aspect_matters():
    server = ApiServer()
    manager = Manager(server)
    scripted = Scripted(lambda _: Result())
    controller = Controller(MODEL_SERVICE, scripted)
    manager.add(
        controller.watches(CONFIG_MAP, lambda _: [Key("default", "one")], aspect=lambda found: found["data"]["matters"])
    )
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}}
    async with running(manager):
        for data, reconciles in (("a", "1"), 1), (("a", "2"), 1), (("b", "2"), 2):
            server.put(CONFIG_MAP, {**config, "data": dict(zip(("matters", "noise"), data, strict=True))})
            await asyncio.sleep(1)
            assert len(scripted.keys) == reconciles


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"apiVersion": "slipway.dev/v1alpha1", "kind": "ModelService", "controller": True}, ["iris"]),
        ({"apiVersion": "slipway.dev/v1beta1", "kind": "ModelService", "controller": True}, ["iris"]),
        ({"apiVersion": "slipway.dev/v1alpha1", "kind": "ModelService"}, []),
        ({"apiVersion": "serving.kserve.io/v1", "kind": "ModelService", "controller": True}, []),
        ({"apiVersion": "slipway.dev/v1alpha1", "kind": "Queue", "controller": True}, []),
    ],
)
@virtual_time
async def test_owned_objects_lead_to_the_controller_that_owns_them(reference: Manifest, expected: list[str]):
    server = ApiServer()
    manager = Manager(server)
    scripted = Scripted(lambda _: Result())
    manager.add(Controller(MODEL_SERVICE, scripted).owns(POD))
    metadata = {"name": "p", "namespace": "default", "ownerReferences": [{**reference, "name": "iris", "uid": "u"}]}
    async with running(manager):
        server.put(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
        await asyncio.sleep(1)
    assert [name for _, name in scripted.keys] == expected


NAMES = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, st.integers(1, 3), st.booleans()),
        st.tuples(st.sampled_from(["remove", "lose child", "drift"]), NAMES, st.just(7), st.just(True)),
        st.tuples(st.sampled_from(["disconnect", "compact", "restart"]), st.just(""), st.just(0), st.just(True)),
        st.tuples(st.just("sleep"), st.just(""), st.integers(0, 3), st.just(True)),
    ),
    max_size=25,
)
FAULTS = st.lists(st.sampled_from(["", "", "", "before", "after", "conflict"]), max_size=60)


class Faulty:
    """Fails calls, before or after they took effect, as the list of faults says; afterwards all goes well."""

    def __init__(self, server: ApiServer, faults: list[str]) -> None:
        self._faults = iter(faults)
        self._now = ""
        server.fault = self.before
        server.fault_after = self.after

    def before(self, _: Call) -> None:
        self._now = next(self._faults, "")
        if self._now == "before":
            raise ApiError(500, "InternalError", "etcdserver: request timed out")
        if self._now == "conflict":
            raise Conflict(409, "Conflict", "the object has been modified")

    def after(self, _: Call) -> None:
        if self._now == "after":
            self._now = ""
            raise Unreachable("the connection broke")


def play(server: ApiServer, action: str, name: str, number: int, *, exposed: bool) -> None:
    key = Key("default", name)
    if action == "put":
        old = server.objects(MODEL_SERVICE).get(key, {})
        server.put(MODEL_SERVICE, {**old, **service(name, number, exposed=exposed)})
    elif action == "remove" and key in server.objects(MODEL_SERVICE):
        server.remove(MODEL_SERVICE, key)
    elif action == "lose child" and key in server.objects(DEPLOYMENT):
        server.remove(DEPLOYMENT, key)
    elif action == "drift" and key in server.objects(DEPLOYMENT):
        server.put(DEPLOYMENT, {**server.objects(DEPLOYMENT)[key], "spec": {"replicas": number}})
    elif action in {"disconnect", "compact"}:
        getattr(server, action)()


@settings(max_examples=100, deadline=None)
@given(steps=STEPS, faults=FAULTS)
def test_whatever_fails_the_children_end_as_the_objects_say(steps: list[tuple[str, str, int, bool]], faults: list[str]):
    @virtual_time
    async def scenario() -> None:
        server = ApiServer()
        Faulty(server, faults)
        manager = small(server)
        task = asyncio.create_task(manager.run())
        for action, name, number, exposed in steps:
            play(server, action, name, number, exposed=exposed)
            if action == "restart":  # killed wherever it is, and started anew
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                manager = small(server)
                task = asyncio.create_task(manager.run())
            await asyncio.sleep(number if action == "sleep" else 0)
        await asyncio.sleep(4000)  # the longest back-off, and more
        assert_settled(server)
        manager.stop()
        await task

    scenario()


@virtual_time
async def test_a_process_killed_at_any_call_ends_in_the_same_state():
    for fatal in range(1, 12):
        server = ApiServer()
        server.put(MODEL_SERVICE, service("iris", 2))
        manager = small(server)
        task = asyncio.create_task(manager.run())
        left = [fatal]

        def kill(_: Call, left: list[int] = left, task: asyncio.Task[None] = task) -> None:
            left[0] -= 1
            if left[0] == 0:
                task.cancel()

        server.fault_after = kill
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.fault_after = lambda _: None
        async with running(small(server)):
            assert_settled(server)


def test_a_controller_of_a_store_has_its_kind():
    assert Controller(Store(POD), Scripted(lambda _: Result())).name == "pod"
