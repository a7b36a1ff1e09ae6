"""Whatever happens on the way, a ModelService ends as an undisturbed operator would have made it."""

from __future__ import annotations

import asyncio
import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.controllers.modelservice.controller import add_controller
from slipway.controllers.modelservice.settings import Settings
from slipway.controllers.modelservice.stores import CHILD_KINDS
from slipway.kit.client import ApiError, Conflict, Forbidden, Invalid, Unreachable
from slipway.kit.compare import identity
from slipway.kit.manager import Manager
from slipway.kit.objects import CONTROLLER_REVISION, DEPLOYMENT, GATEWAY, HPA, MODEL_SERVICE, Key, Kind, Manifest
from slipway.kit.testing import ApiServer, Call, virtual_time
from slipway.kit.testing.fields import Path, remove, tells_items_apart
from slipway.kit.testing.server import READS

KEY = Key("team", "iris")
SETTINGS = Settings("registry.example/slipway/serving:0.1.0", ("slipway-system", "slipway"), "http://gw:30080")
MODEL = {"uri": "oci://registry.example/models/iris:1"}
SPECS: dict[str, dict[str, Any]] = {
    "one": {"model": MODEL, "scaling": {"min": 1}},
    "three": {"model": MODEL, "scaling": {"min": 3}},
    "scaled": {"model": MODEL, "scaling": {"min": 2, "max": 9}},
    "other model": {"model": {"uri": "pvc://models/iris"}, "scaling": {"min": 3}},
    "with env": {"model": MODEL, "server": {"env": [{"name": "A", "value": "1"}]}, "scaling": {"min": 2, "max": 4}},
    "routed": {"model": MODEL, "routing": {"hostnames": ["iris.example.com"]}, "scaling": {"min": 2}},
}
INVALID: dict[str, Any] = {"model": MODEL, "scaling": {"min": 3, "max": 2}}
QUIET = 60.0  # seconds in which everything is done where nothing fails
SETTLED = 700.0  # seconds: the longest back-off, and more
_OF_THE_RUN = {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"}
_TIMES = {"lastTransitionTime", "observedGeneration"}


class Cluster(ApiServer):
    """The API server of a cluster with a Gateway; calls fail as `fates` says, then all goes well."""

    def __init__(self, fates: list[str] | None = None) -> None:
        super().__init__()
        self.default = _defaults
        self._fates = iter(fates or [])
        self.fault = self.fault_after = self.refuse
        gateway = {"apiVersion": GATEWAY.api_version, "kind": "Gateway", "spec": {"listeners": []}}
        self.put(GATEWAY, gateway | {"metadata": {"name": "slipway", "namespace": "slipway-system"}})

    def refuse(self, _: Call) -> None:
        if fate := next(self._fates, ""):
            raise REFUSALS[fate]

    def say(self, spec: dict[str, Any]) -> None:
        """The user applies a spec."""
        known = self.objects(MODEL_SERVICE).get(KEY, {})
        identity = {"apiVersion": MODEL_SERVICE.api_version, "kind": MODEL_SERVICE.kind}
        metadata = known.get("metadata", {"name": KEY.name, "namespace": KEY.namespace})
        self.put(MODEL_SERVICE, {**known, **identity, "metadata": metadata, "spec": copy.deepcopy(spec)})

    def autoscale(self) -> None:
        """What the HPA controller does where there is no load: the minimum."""
        deployment, autoscaler = self.objects(DEPLOYMENT).get(KEY), self.objects(HPA).get(KEY)
        if deployment and autoscaler and deployment["spec"]["replicas"] != autoscaler["spec"]["minReplicas"]:
            deployment["spec"]["replicas"] = autoscaler["spec"]["minReplicas"]
            self.put(DEPLOYMENT, deployment)

    def replicas(self) -> list[int]:
        """Of the Deployment, each number that it ever had."""
        return [
            change.object["spec"]["replicas"]
            for change in self._storage.history
            if change.kind == DEPLOYMENT and change.type != "DELETED"
        ]


REFUSALS: dict[str, Exception] = {
    "failed": ApiError(500, "InternalError", "etcdserver: request timed out"),
    "busy": ApiError(429, "TooManyRequests", "slow down"),
    "cut": Unreachable("the connection broke"),
    "conflict": Conflict(409, "Conflict", "the object has been modified"),
    "forbidden": Forbidden(403, "Forbidden", "exceeded quota"),
}


def _defaults(kind: Kind, manifest: Manifest) -> None:
    """What matters here of the API server's defaults and validation."""
    if kind == DEPLOYMENT:
        manifest["spec"].setdefault("replicas", 1)
        if "template" not in manifest["spec"]:
            raise Invalid(422, "Invalid", "spec.template: Required value")


class Operator:
    """One process of the operator, which can be killed between two steps: from then on nothing of it has any effect."""

    def __init__(self, server: Cluster) -> None:
        self._server = server
        manager = Manager(server)
        add_controller(manager, SETTINGS)
        self._task = asyncio.create_task(manager.run())

    async def stop(self) -> None:
        assert not self._task.done()
        await self.kill()

    async def kill(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def die_at(self, write: int, *, after: bool) -> None:
        """Kills the process right before or right after its write of this number, counted from 1."""
        left, dead = [write], [False]

        def count(call: Call) -> None:
            if call.verb not in READS:
                left[0] -= 1
            if left[0] == 0:
                dead[0] = True
                self._task.cancel()

        def before(call: Call) -> None:
            if not after and not dead[0]:
                count(call)
            if dead[0]:
                raise Unreachable("the process is gone")

        def answered(call: Call) -> None:
            if after and not dead[0]:
                count(call)

        self._server.fault, self._server.fault_after = before, answered


def state(server: ApiServer) -> dict[str, Any]:
    """The ModelService and its children, without what differs between two runs by nature."""
    kinds = (MODEL_SERVICE, *(kind for kind in CHILD_KINDS if kind != CONTROLLER_REVISION))  # those are its past
    found = {f"{kind.kind} {key}": _plain(item) for kind in kinds for key, item in server.objects(kind).items()}
    if KEY in server.objects(HPA):  # whose field it is then
        found[f"Deployment {KEY}"]["spec"].pop("replicas")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _plain(item) for key, item in value.items() if key not in _OF_THE_RUN | _TIMES}
    if isinstance(kept.get("annotations"), dict):
        kept["annotations"].pop("slipway.dev/applied-hash", None)  # of the owner's uid, too
    return kept


@functools.cache
def undisturbed(*specs: str) -> tuple[dict[str, Any], int]:
    """What becomes of the specs, said one after the other, and the number of writes that the last one took."""

    @virtual_time
    async def run() -> tuple[dict[str, Any], int]:
        server = Cluster()
        operator = Operator(server)
        for spec in specs:
            server.say(SPECS[spec])
            server.calls.clear()
            await asyncio.sleep(QUIET)
        writes = len(server.writes)
        server.autoscale()
        await asyncio.sleep(QUIET)
        await operator.stop()
        return state(server), writes

    return run()


CHANGES = [("one",), ("three",), ("scaled",), ("three", "one"), ("three", "scaled"), ("scaled", "three")]
CHANGES += [("with env", "other model"), ("other model", "with env"), ("three", "routed")]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("specs", CHANGES, ids=" to ".join)
def test_an_operator_killed_at_any_write_leaves_nothing_that_the_next_does_not_finish(
    specs: tuple[str, ...], *, after: bool
):
    expected, writes = undisturbed(*specs)
    assert writes >= 2

    @virtual_time
    async def scenario(write: int) -> None:
        server = Cluster()
        for spec in specs[:-1]:
            server.say(SPECS[spec])
            operator = Operator(server)
            await asyncio.sleep(QUIET)
            await operator.stop()
        server.say(SPECS[specs[-1]])
        operator = Operator(server)
        operator.die_at(write, after=after)
        await asyncio.sleep(QUIET)
        await operator.kill()
        server.fault = server.fault_after = lambda _: None
        operator = Operator(server)
        await asyncio.sleep(QUIET)
        server.autoscale()
        await asyncio.sleep(QUIET)
        await operator.stop()
        assert state(server) == expected
        if specs == ("three", "scaled"):  # at no moment a replica less than the autoscaler's minimum
            assert min(server.replicas()) >= 2

    for write in range(1, writes + 1):
        scenario(write)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from([*SPECS, "invalid"]), st.just(0)),
        st.tuples(st.just("lose"), st.sampled_from(CHILD_KINDS), st.just(0)),
        st.tuples(st.sampled_from(["drop", "change"]), st.sampled_from(CHILD_KINDS), st.integers(0, 200)),
        st.tuples(st.sampled_from(["recreate", "restart", "gap", "disconnect"]), st.just(""), st.just(0)),
        st.tuples(st.just("sleep"), st.just(""), st.sampled_from([0, 0, 1, 40])),
    ),
    max_size=25,
)
FATES = st.lists(st.sampled_from(["", "", "", *REFUSALS]), max_size=60)


def drift(server: ApiServer, kind: Kind, number: int, spoil: Callable[[Manifest, Path], None]) -> None:
    """Somebody else changes one of the fields that we applied."""
    live = server.objects(kind).get(KEY)
    if live is None:
        return
    applied = server._storage.owners.get((live["metadata"]["uid"], "slipway/"), {})
    paths = [path for path in applied if "ownerReferences" not in path and not tells_items_apart(path)]
    if paths:
        spoil(live, paths[number % len(paths)])
        server.put(kind, live)


def change(live: Any, path: Path) -> None:
    name = ""
    for step in path[:-1]:
        is_item = isinstance(step, tuple)
        live = next((item for item in live if identity(item, name) == step), {}) if is_item else live.get(step, {})
        name = step
    value = live.get(path[-1])
    if isinstance(value, bool):
        live[path[-1]] = not value
    elif isinstance(value, int):
        live[path[-1]] = value + 1
    elif isinstance(value, str):
        live[path[-1]] = f"{value}x"


def play(server: Cluster, action: str, what: Any, number: int) -> None:
    if action == "say":
        server.say(SPECS.get(what, INVALID))
    elif action == "lose" and KEY in server.objects(what):
        server.remove(what, KEY)
    elif action in {"drop", "change"}:
        drift(server, what, number, remove if action == "drop" else change)
    elif action == "recreate" and KEY in server.objects(MODEL_SERVICE):
        spec = server.objects(MODEL_SERVICE)[KEY]["spec"]
        server.remove(MODEL_SERVICE, KEY)
        server.say(spec)
    elif action in {"gap", "disconnect"}:
        server.disconnect()
        if action == "gap":
            server.compact()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(steps=STEPS, fates=FATES, last=st.sampled_from([*SPECS]))
def test_whatever_happens_the_children_end_as_the_spec_says(
    steps: list[tuple[str, Any, int]], fates: list[str], last: str
):
    expected, _ = undisturbed(last)

    @virtual_time
    async def scenario() -> None:
        server = Cluster(fates)
        operator = Operator(server)
        for action, what, number in steps:
            play(server, action, what, number)
            if action == "restart":
                await operator.kill()
                operator = Operator(server)
            await asyncio.sleep(number if action == "sleep" else 0)
        server.say(SPECS[last])
        await asyncio.sleep(SETTLED)
        server.autoscale()
        await asyncio.sleep(QUIET)
        server.calls.clear()
        await asyncio.sleep(SETTLED)
        assert server.writes == []
        await operator.stop()
        assert state(server) == expected

    scenario()
