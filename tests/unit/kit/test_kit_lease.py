from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.kit.client import Unreachable
from slipway.kit.lease import LeaderElector, LeaseConfig, LeaseLost
from slipway.kit.objects import LEASE, Key
from slipway.kit.testing import ApiServer, Call, virtual_time

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def config(identity: str) -> LeaseConfig:
    return LeaseConfig("slipway-operator", "slipway-system", identity)


def elector(server: ApiServer, identity: str) -> LeaderElector:
    return LeaderElector(server, config(identity), now=lambda: NOON)


def spec(server: ApiServer) -> dict[str, object]:
    return server.objects(LEASE)[Key("slipway-system", "slipway-operator")]["spec"]


@virtual_time
async def test_the_first_leads_and_the_second_waits_until_it_is_given_back():
    server = ApiServer()
    first, second = elector(server, "first"), elector(server, "second")
    await first.acquire()
    assert spec(server) == {
        "acquireTime": "2026-01-01T12:00:00.000000Z",
        "holderIdentity": "first",
        "leaseDurationSeconds": 15,
        "leaseTransitions": 0,
        "renewTime": "2026-01-01T12:00:00.000000Z",
    }
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(5)
    assert first.leading()
    assert not waiting.done()
    await first.release()
    assert not first.leading()
    await asyncio.wait_for(waiting, 4)
    assert spec(server)["holderIdentity"] == "second"
    assert spec(server)["leaseTransitions"] == 1


@virtual_time
async def test_a_dead_leader_is_followed_within_the_lease_time():
    server = ApiServer()
    first, second = elector(server, "first"), elector(server, "second")
    await first.acquire()
    started = asyncio.get_running_loop().time()
    await second.acquire()
    assert 15 <= asyncio.get_running_loop().time() - started <= 15 + 2 * 2.4
    assert not first.leading()


@virtual_time
async def test_a_leader_that_cannot_renew_stops_before_another_may_start():
    server = ApiServer()
    first = elector(server, "first")
    await first.acquire()

    def cut(_: Call) -> None:
        raise Unreachable("no route to host")

    server.fault = cut
    started = asyncio.get_running_loop().time()
    with pytest.raises(LeaseLost, match="slipway-system/slipway-operator is lost"):
        await first.hold()
    assert asyncio.get_running_loop().time() - started <= 12
    assert not first.leading()


@virtual_time
async def test_a_leader_that_finds_another_in_its_place_stops():
    server = ApiServer()
    first = elector(server, "first")
    await first.acquire()
    lease = server.objects(LEASE)[Key("slipway-system", "slipway-operator")]
    lease["spec"]["holderIdentity"] = "usurper"
    server.put(LEASE, lease)
    started = asyncio.get_running_loop().time()
    with pytest.raises(LeaseLost):
        await first.hold()
    assert asyncio.get_running_loop().time() - started <= 2
    await first.release()
    assert spec(server)["holderIdentity"] == "usurper"


def test_times_that_could_make_two_leaders_are_refused():
    with pytest.raises(ValueError, match="retry_period < renew_deadline < duration"):
        LeaseConfig("a", "b", renew_deadline=20.0)


@virtual_time
async def test_renewing_takes_one_request_until_somebody_else_writes_the_lease():
    server = ApiServer()
    first = elector(server, "first")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    server.calls.clear()
    await asyncio.sleep(9)
    assert [call.verb for call in server.calls] == ["replace"] * 4
    lease = server.objects(LEASE)[Key("slipway-system", "slipway-operator")]
    server.put(LEASE, {**lease, "metadata": {**lease["metadata"], "labels": {"theirs": "x"}}})
    server.calls.clear()
    await asyncio.sleep(4)
    assert [call.verb for call in server.calls] == ["replace", "get", "replace", "replace"]
    server.remove(LEASE, Key("slipway-system", "slipway-operator"))
    await asyncio.sleep(4)
    assert first.leading()
    assert spec(server)["leaseTransitions"] == 0
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


@virtual_time
async def test_others_never_wait_for_less_than_the_lease_says():
    """The field is a whole number of seconds."""
    server = ApiServer()
    times = LeaseConfig("slipway-operator", "slipway-system", "first", 1.4, renew_deadline=1.3, retry_period=0.2)
    await LeaderElector(server, times).acquire()
    assert spec(server)["leaseDurationSeconds"] == 2


def test_two_processes_of_one_host_are_told_apart():
    assert LeaseConfig("a", "b").identity != LeaseConfig("a", "b").identity


class Cut:
    """The same server, out of reach of some."""

    def __init__(self, server: ApiServer, identity: str, cut: set[str]) -> None:
        self._server = server
        self._identity = identity
        self._cut = cut

    def __getattr__(self, name: str):
        if self._identity in self._cut:
            raise Unreachable("no route to host")
        return getattr(self._server, name)


async def live(one: LeaderElector) -> None:
    """As a process that is started again each time that it ends."""
    while True:
        await one.acquire()
        with suppress(LeaseLost):
            await one.hold()


async def at_most_one(electors: list[LeaderElector]) -> None:
    while True:
        assert sum(one.leading() for one in electors) <= 1
        await asyncio.sleep(0.25)


@settings(max_examples=60, deadline=None)
@given(outages=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30), st.integers(1, 30)), max_size=8))
def test_there_are_never_two_leaders(outages: list[tuple[str, int, int]]):
    @virtual_time
    async def scenario() -> None:
        server, cut = ApiServer(), set[str]()
        electors = [LeaderElector(Cut(server, name, cut), config(name)) for name in "abc"]  # type: ignore[arg-type]
        tasks = [asyncio.create_task(live(one)) for one in electors] + [asyncio.create_task(at_most_one(electors))]
        for name, pause, duration in outages:
            await asyncio.sleep(pause)
            cut.add(name)
            await asyncio.sleep(duration)
            cut.discard(name)
        await asyncio.sleep(60)
        assert sum(one.leading() for one in electors) == 1
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    scenario()
