from __future__ import annotations

import asyncio

import pytest
from small_operator import Scripted, Small, assert_settled, running, service, small

from slipway.kit.client import Unreachable
from slipway.kit.controller import Controller, Result
from slipway.kit.lease import LeaseConfig, LeaseLost
from slipway.kit.manager import Manager
from slipway.kit.objects import CONFIG_MAP, DEPLOYMENT, HTTP_ROUTE, LEASE, MODEL_SERVICE, POD, SERVICE, Key, Manifest
from slipway.kit.store import keep
from slipway.kit.testing import ApiServer, Call, VirtualTimeLoop, virtual_time


@virtual_time
async def test_a_missing_optional_kind_holds_nothing_up():
    server = ApiServer()
    server.missing.add(HTTP_ROUTE)
    server.put(MODEL_SERVICE, service())
    manager = Manager(server)
    routes = manager.store(HTTP_ROUTE, optional=True)
    manager.add(Controller(MODEL_SERVICE, Small(manager)).owns(DEPLOYMENT, SERVICE, HTTP_ROUTE))
    async with running(manager):
        assert_settled(server)
        assert not routes.available
        assert manager.ready() == []
        assert manager.healthy() == []


@virtual_time
async def test_a_missing_kind_that_is_needed_is_named_by_readiness():
    server = ApiServer()
    server.missing.add(MODEL_SERVICE)
    manager = small(server)
    async with running(manager):
        assert manager.ready() == ["modelservices are not listed yet"]
    assert manager.ready() == ["not running"]


@virtual_time
async def test_only_the_leader_writes_and_another_takes_over():
    server = ApiServer()
    server.put(MODEL_SERVICE, service())
    managers = [Manager(server, lease=LeaseConfig("op", "slipway-system", name)) for name in ("first", "second")]
    for manager in managers:
        manager.add(Controller(MODEL_SERVICE, Small(manager)).owns(DEPLOYMENT, SERVICE))
    async with running(managers[0]) as first, running(managers[1]):
        value = managers[0].metrics.registry.get_sample_value
        assert value("leader_election_master_status", {"name": "op"}) == 1
        assert_settled(server)
        managers[0].stop()
        await first
        server.put(MODEL_SERVICE, service(replicas=9))
        await asyncio.sleep(5)
        assert_settled(server)
        assert server.objects(LEASE)[Key("slipway-system", "op")]["spec"]["holderIdentity"] == "second"


@virtual_time
async def test_losing_the_lease_ends_the_process():
    server = ApiServer()
    manager = Manager(server, lease=LeaseConfig("op", "slipway-system", "first"))
    manager.add(Controller(MODEL_SERVICE, Small(manager)))

    def cut(call: Call) -> None:
        if call.kind == LEASE:
            raise Unreachable("no route to host")

    async with running(manager) as task:
        server.fault = cut
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(task, 15)


@virtual_time
async def test_a_leader_that_slept_through_its_lease_writes_nothing_more():
    """As a process that was stopped for half a minute, in the middle of a reconcile."""
    server = ApiServer()
    server.put(MODEL_SERVICE, service())
    manager = Manager(server, lease=LeaseConfig("op", "slipway-system", "first"))
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)

    class Sleeper:
        async def reconcile(self, key: Key) -> Result:
            await server.get(MODEL_SERVICE, key.name, key.namespace)
            loop.stall(30)
            await server.create(CONFIG_MAP, {"metadata": {"name": "late", "namespace": "default"}})
            return Result()

    manager.add(Controller(MODEL_SERVICE, Sleeper()))
    with pytest.raises(LeaseLost):
        await manager.run()
    assert server.objects(CONFIG_MAP) == {}
    assert {call.kind for call in server.writes} == {LEASE}


@virtual_time
async def test_the_lease_is_given_back_after_the_last_write():
    """A reconcile that tidies up when it is cut off has the time for it."""
    server = ApiServer()
    server.put(MODEL_SERVICE, service())
    manager = Manager(server, lease=LeaseConfig("op", "slipway-system", "first"))

    class Tidy:
        async def reconcile(self, key: Key) -> Result:
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(0.5)
                await server.create(CONFIG_MAP, {"metadata": {"name": "last", "namespace": key.namespace}})
            return Result()

    manager.add(Controller(MODEL_SERVICE, Tidy()))
    async with running(manager):
        server.calls.clear()
    assert [(call.verb, call.kind) for call in server.writes] == [("create", CONFIG_MAP), ("replace", LEASE)]
    assert server.objects(LEASE)[Key("slipway-system", "op")]["spec"]["holderIdentity"] == ""


@virtual_time
async def test_who_has_not_listed_everything_does_not_stand_for_election():
    server = ApiServer()
    server.missing.add(MODEL_SERVICE)
    manager = Manager(server, lease=LeaseConfig("op", "slipway-system", "first"))
    manager.add(Controller(MODEL_SERVICE, Scripted(lambda _: Result())))
    async with running(manager):
        assert server.objects(LEASE) == {}
        server.missing.clear()
        await asyncio.sleep(60)
        assert len(server.objects(LEASE)) == 1


@virtual_time
async def test_a_part_that_dies_of_a_bug_ends_the_process():
    def broken(_: Manifest) -> Manifest:
        raise ZeroDivisionError

    server = ApiServer()
    server.put(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}})
    manager = Manager(server)
    manager.store(POD, projection=broken)
    with pytest.raises(ZeroDivisionError):
        await manager.run()


@virtual_time
async def test_stores_are_shared_unless_they_differ():
    manager = Manager(ApiServer(), namespace="team")
    narrow = keep("status.phase")
    pods = manager.store(POD, projection=narrow)
    assert manager.store(POD) is pods
    assert manager.store(POD, projection=narrow) is pods
    assert manager.find_store("v1", "Pod") is pods
    assert pods.namespace == "team"
    assert manager.store(POD, labels="a=b") is not pods
    with pytest.raises(ValueError, match="store of pods with another projection"):
        manager.store(POD, projection=keep("spec"))
    with pytest.raises(LookupError, match="no store of Secret"):
        manager.find_store("v1", "Secret")
    async with running(manager):
        with pytest.raises(RuntimeError, match="store of services has to be there before"):
            manager.store(SERVICE)


def test_which_store_is_meant_does_not_depend_on_which_was_first():
    manager = Manager(ApiServer())
    ours = manager.store(POD, labels="a=b")
    with pytest.raises(LookupError, match="no store of Pod"):
        manager.find_store("v1", "Pod")
    every = manager.store(POD)
    assert every is not ours
    assert manager.find_store("v1", "Pod") is every
    assert manager.store(POD, labels="a=b") is ours
