"""Two replicas of the operator, a Lease, and a network that fails: whoever writes holds the Lease."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from slipway.controllers.modelservice.controller import add_controller
from slipway.controllers.modelservice.settings import Settings
from slipway.kit.client import Unreachable, WatchEvent
from slipway.kit.lease import LeaseConfig, LeaseLost
from slipway.kit.manager import Manager
from slipway.kit.objects import DEPLOYMENT, LEASE, MODEL_SERVICE, Key, Kind
from slipway.kit.testing import ApiServer, virtual_time
from slipway.kit.testing.server import READS

KEY = Key("team", "iris")
LEASE_KEY = Key("slipway-system", "op")
SETTINGS = Settings("registry.example/slipway/serving:0.1.0")
REQUEST_TIMEOUT = 30.0  # seconds: the client's own


class Write(NamedTuple):
    """When somebody wrote, and who led by the Lease then."""

    time: float
    writer: str
    leader: str


@dataclass
class Line:
    """The way of one process to the API server: slow, and sometimes cut. A `Client`.

    While it is cut, requests are refused at once, or hang until their time is out (`hangs`); or only those for the
    Lease fail (`deaf`), which makes two leaders most easily. A request takes `latency` seconds until it takes effect,
    and as many until it is answered: one that was sent before the cut still arrives.
    """

    server: ApiServer
    log: list[Write]
    latency: float = 0.0
    hangs: bool = False
    deaf: bool = False
    cut: bool = False
    dead: bool = False
    identity: str = ""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def switch(self, *, cut: bool) -> None:
        self.cut = cut
        self._changed.set()
        self._changed = asyncio.Event()

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        async def request(kind: Kind, *arguments: Any, **options: Any) -> Any:
            await self._pass(kind)
            await asyncio.sleep(self.latency)
            if self.dead:
                raise Unreachable("the process is gone")
            answer = await getattr(self.server, verb)(kind, *arguments, **options)
            if verb not in READS and kind != LEASE:
                holder = self.server.objects(LEASE)[LEASE_KEY]["spec"]["holderIdentity"]
                self.log.append(Write(asyncio.get_running_loop().time(), self.identity, holder))
            await asyncio.sleep(self.latency)
            await self._pass(kind)
            return answer

        return request

    async def _pass(self, kind: Kind | None = None) -> None:
        if self._stops(kind) and self.hangs:
            with suppress(TimeoutError):
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    while self._stops(kind):
                        await self._changed.wait()
        if self._stops(kind) or self.dead:
            raise Unreachable("no route to host")

    def _stops(self, kind: Kind | None) -> bool:
        return self.cut and (kind == LEASE or not self.deaf)

    async def watch(self, *arguments: Any, **options: Any) -> AsyncGenerator[WatchEvent]:
        await self._pass()
        async with aclosing(self.server.watch(*arguments, **options)) as events:
            async for event in events:
                await self._pass()
                yield event


class Process:
    """A replica of the operator, started again each time that it ends, as the kubelet does."""

    def __init__(self, server: ApiServer, log: list[Write], name: str, **line: Any) -> None:
        self._make = lambda: Line(server, log, **line)
        self._name = name
        self.line = self._make()
        self.task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        for number in itertools.count(1):
            self.line.identity = f"{self._name}-{number}"
            manager = Manager(self.line, lease=LeaseConfig(LEASE_KEY.name, LEASE_KEY.namespace, self.line.identity))  # type: ignore[arg-type]  # a client by what it can do
            add_controller(manager, SETTINGS)
            with suppress(LeaseLost):
                await manager.run()
            await asyncio.sleep(1)

    async def kill(self) -> None:
        """SIGKILL, and the start of another one."""
        self.line.dead = True
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.line = self._make()
        self._name += "x"
        self.task = asyncio.create_task(self._live())


def service(replicas: int) -> dict[str, Any]:
    spec = {"model": {"uri": "pvc://models/iris"}, "scaling": {"min": replicas}}
    metadata = {"name": KEY.name, "namespace": KEY.namespace}
    return {"apiVersion": MODEL_SERVICE.api_version, "kind": "ModelService", "metadata": metadata, "spec": spec}


async def change_all_the_time(server: ApiServer) -> None:
    """So that there is always something to write."""
    for number in itertools.count(1):
        known = server.objects(MODEL_SERVICE).get(KEY, {})
        server.put(MODEL_SERVICE, {**known, "spec": service(number % 7 + 1)["spec"]} if known else service(1))
        await asyncio.sleep(1.7)


async def play(process: Process, action: str) -> None:
    if action == "kill":
        await process.kill()
    elif action in {"refuse", "hang", "deaf"}:
        process.line.hangs, process.line.deaf = action == "hang", action == "deaf"
        process.line.switch(cut=True)
    else:
        process.line.switch(cut=False)


ACTIONS = st.tuples(
    st.integers(0, 1), st.sampled_from(["refuse", "hang", "deaf", "heal", "kill"]), st.integers(0, 25).map(float)
)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(actions=st.lists(ACTIONS, max_size=8), latency=st.sampled_from([0.0, 0.3, 1.0]))
@example(actions=[(0, "hang", 40.0), (0, "heal", 20.0), (1, "hang", 40.0)], latency=1.0)
@example(actions=[(0, "deaf", 30.0), (1, "deaf", 30.0), (0, "heal", 0.0)], latency=0.3)
@example(actions=[(0, "hang", 8.0), (0, "heal", 10.0), (0, "refuse", 8.0), (0, "heal", 5.0)], latency=0.3)
@example(actions=[(0, "refuse", 11.0), (0, "heal", 0.0), (1, "kill", 5.0)], latency=0.3)
def test_nobody_writes_without_the_lease(actions: list[tuple[int, str, float]], latency: float):
    log: list[Write] = []

    @virtual_time
    async def scenario() -> None:
        server = ApiServer()
        processes = [Process(server, log, name, latency=latency) for name in "ab"]
        changes = asyncio.create_task(change_all_the_time(server))
        await asyncio.sleep(5)
        for number, action, pause in actions:
            await play(processes[number], action)
            await asyncio.sleep(pause)
        for process in processes:
            process.line.switch(cut=False)
        await asyncio.sleep(60)
        changes.cancel()
        await asyncio.sleep(60)
        wanted = server.objects(MODEL_SERVICE)[KEY]["spec"]["scaling"]["min"]
        assert server.objects(DEPLOYMENT)[KEY]["spec"]["replicas"] == wanted
        for process in processes:
            assert not process.task.done(), process.task.exception()
            process.task.cancel()
        await asyncio.gather(changes, *(process.task for process in processes), return_exceptions=True)

    scenario()
    assert all(write.writer == write.leader for write in log)
    writers = [writer for writer, _ in itertools.groupby(write.writer for write in log)]
    assert len(writers) == len(set(writers)), "a leader came back without having been elected anew"


@virtual_time
async def test_a_leader_that_is_cut_off_has_stopped_before_the_other_starts():
    server, log = ApiServer(), list[Write]()
    first = Process(server, log, "a", latency=0.5)
    await asyncio.sleep(10)
    second = Process(server, log, "b", latency=0.5)
    changes = asyncio.create_task(change_all_the_time(server))
    await asyncio.sleep(10)
    first.line.hangs = True
    first.line.switch(cut=True)
    cut_at = asyncio.get_running_loop().time()
    await asyncio.sleep(40)
    last = max(write.time for write in log if write.writer == "a-1")
    start = min(write.time for write in log if write.writer == "b-1")
    assert last < start
    assert 10 < start - cut_at < 25  # the Lease's 15 seconds, two attempts, and the first reconcile
    assert first.line.identity == "a-2"  # it has ended, and was started again
    tasks = [changes, first.task, second.task]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
