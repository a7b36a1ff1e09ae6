from __future__ import annotations

from typing import Any

import pytest

from slipway.kit.apply import REMEMBERED, Applied, Applier, OwnedByAnother, owner_reference
from slipway.kit.client import Conflict, Unreachable
from slipway.kit.consistency import track
from slipway.kit.objects import DEPLOYMENT, MODEL_SERVICE, SERVICE, Key, Kind, Manifest
from slipway.kit.store import Store
from slipway.kit.testing import ApiServer, Call, virtual_time

KEY = Key("default", "iris")
STORES = {kind.kind: kind for kind in (DEPLOYMENT, SERVICE)}


class World:
    """A server, stores filled from it by hand, and an owner."""

    def __init__(self) -> None:
        self.server = ApiServer()
        self.stores = {name: Store(kind) for name, kind in STORES.items()}
        self.applier = Applier(self.server, lambda _, kind: self.stores[kind])
        self.owner = self.server.put(MODEL_SERVICE, thing(MODEL_SERVICE))

    def sync(self) -> None:
        for store in self.stores.values():
            store.replace(self.server.objects(store.kind).values(), "1")

    async def apply(self, *children: Manifest) -> Applied:
        self.sync()
        applied = await self.applier.apply_children(self.owner, children, prune_kinds=[DEPLOYMENT, SERVICE])
        self.sync()
        return applied

    def live(self, kind: Kind) -> Manifest:
        return self.server.objects(kind)[KEY]

    def change(self, kind: Kind, **spec: Any) -> None:
        live = self.live(kind)
        self.server.put(kind, {**live, "spec": {**live["spec"], **spec}})


def thing(kind: Kind, name: str = "iris", **fields: Any) -> Manifest:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": "default"},
        **fields,
    }


def deployment(**spec: Any) -> Manifest:
    return thing(DEPLOYMENT, spec=spec or {"replicas": 1})


@virtual_time
async def test_a_child_is_made_ours():
    world = World()
    applied = await world.apply(deployment(replicas=2))
    live = world.live(DEPLOYMENT)
    assert applied.created == ["Deployment default/iris"]
    assert live["spec"] == {"replicas": 2}
    assert live["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "slipway"}
    assert live["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "ModelService",
            "name": "iris",
            "uid": world.owner["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


@virtual_time
async def test_the_second_pass_writes_nothing():
    world = World()
    world.server.default = lambda _, manifest: manifest["spec"].setdefault("revisionHistoryLimit", 10)
    child = deployment(replicas=2, absent=None, empty={})
    assert await world.apply(child)
    world.server.calls.clear()
    assert not await world.apply(child)
    assert world.server.calls == []


@virtual_time
async def test_what_the_server_rewrites_is_applied_once():
    world = World()

    def canonical(_: Kind, manifest: Manifest) -> None:
        manifest["spec"]["when"] = "rewritten"

    world.server.default = canonical
    await world.apply(deployment(when="original"))
    world.server.calls.clear()
    assert not await world.apply(deployment(when="original"))
    assert world.server.calls == []


@virtual_time
async def test_drift_is_repaired_and_fields_of_others_stay():
    world = World()
    await world.apply(deployment(replicas=2))
    world.change(DEPLOYMENT, replicas=7, paused=True)
    applied = await world.apply(deployment(replicas=2))
    assert applied.updated == ["Deployment default/iris"]
    assert world.live(DEPLOYMENT)["spec"] == {"replicas": 2, "paused": True}


@virtual_time
async def test_a_field_that_we_set_no_more_is_given_up():
    world = World()
    await world.apply(deployment(replicas=2, minReadySeconds=5))
    world.change(DEPLOYMENT, replicas=7)
    await world.apply(deployment(minReadySeconds=5))
    assert world.live(DEPLOYMENT)["spec"] == {"minReadySeconds": 5}


@virtual_time
async def test_an_item_that_we_set_no_more_is_given_up_but_for_what_others_set_of_it():
    world = World()
    ports = [{"port": number, "name": f"p{number}", "protocol": "TCP"} for number in (80, 81)]
    await world.apply(thing(SERVICE, spec={"ports": ports}))
    theirs = thing(SERVICE, spec={"ports": [{"port": 81, "protocol": "TCP", "nodePort": 31000}]})
    await world.server.apply(SERVICE, theirs, manager="other", force=True)
    await world.apply(thing(SERVICE, spec={"type": "NodePort"}))
    assert world.live(SERVICE)["spec"] == {"type": "NodePort", "ports": theirs["spec"]["ports"]}


@virtual_time
async def test_a_child_that_is_gone_comes_back():
    world = World()
    await world.apply(deployment())
    world.server.remove(DEPLOYMENT, KEY)
    assert (await world.apply(deployment())).created == ["Deployment default/iris"]


@virtual_time
async def test_children_no_longer_wanted_are_pruned_and_nothing_else():
    world = World()
    await world.apply(deployment(), thing(SERVICE, spec={"a": 1}))
    reference = [{"uid": world.owner["metadata"]["uid"], "kind": "ModelService", "name": "iris", "apiVersion": "x"}]
    theirs = thing(SERVICE, "theirs", spec={})
    theirs["metadata"] |= {"ownerReferences": reference}
    world.server.put(SERVICE, theirs)
    applied = await world.apply(deployment())
    assert applied.deleted == ["Service default/iris"]
    assert set(world.server.objects(SERVICE)) == {Key("default", "theirs")}


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(
    ("owners", "whose"),
    [
        ([], "not managed by slipway"),
        ([{"uid": "u", "kind": "Rollout", "name": "other", "controller": True}], "owned by Rollout other"),
    ],
)
@virtual_time
async def test_what_is_somebody_elses_is_refused_before_anything_is_written(
    owners: list[Manifest], whose: str, *, cached: bool
):
    world = World()
    theirs = thing(SERVICE, spec={"theirs": True})
    theirs["metadata"]["ownerReferences"] = owners
    world.server.put(SERVICE, theirs)
    if cached:
        world.sync()
    with pytest.raises(OwnedByAnother, match=f"Service default/iris is {whose}. Delete or rename it") as caught:
        await world.applier.apply_children(world.owner, [deployment(), thing(SERVICE, spec={"a": 1})])
    assert caught.value.objects == (("Service default/iris", whose),)
    assert world.server.writes == []


@virtual_time
async def test_a_name_that_is_taken_at_the_last_moment_is_not_taken_over():
    world = World()

    def fault(call: Call) -> None:
        if call.verb == "apply" and not world.server.objects(SERVICE):
            world.server.put(SERVICE, thing(SERVICE))  # no field of it conflicts with ours

    world.server.fault = fault
    with pytest.raises(Conflict, match="the object has been modified"):
        await world.apply(thing(SERVICE, spec={"a": 1}))
    assert "labels" not in world.live(SERVICE)["metadata"]
    assert "spec" not in world.live(SERVICE)
    with pytest.raises(OwnedByAnother):
        await world.apply(thing(SERVICE, spec={"a": 1}))


@virtual_time
async def test_what_we_made_and_nobody_owns_is_taken_back():
    world = World()
    await world.apply(deployment())
    await world.server.delete(MODEL_SERVICE, "iris", "default", propagation="Orphan")
    world.owner = world.server.put(MODEL_SERVICE, thing(MODEL_SERVICE))
    assert (await world.apply(deployment())).updated == ["Deployment default/iris"]
    owners = world.live(DEPLOYMENT)["metadata"]["ownerReferences"]
    assert [owner["uid"] for owner in owners] == [world.owner["metadata"]["uid"]]


@virtual_time
async def test_an_owner_that_is_being_deleted_gets_no_children():
    world = World()
    world.owner["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not await world.apply(deployment())
    assert world.server.writes == []


@virtual_time
async def test_a_failure_half_way_is_made_good_by_the_next_pass():
    world = World()
    children = [deployment(), thing(SERVICE, spec={"a": 1})]

    def fault(call: Call) -> None:
        if call.kind == SERVICE and call.verb == "apply":
            raise Unreachable("connection refused")

    world.server.fault_after = fault
    with pytest.raises(Unreachable):
        await world.apply(*children)
    world.server.fault_after = lambda _: None
    assert not (await world.apply(*children)).updated
    assert set(world.server.objects(SERVICE)) == {KEY}


@virtual_time
async def test_writes_are_noted_for_the_stale_cache_guard():
    world = World()
    with track() as writes:
        await world.apply(deployment())
    assert writes == {DEPLOYMENT: world.live(DEPLOYMENT)["metadata"]["resourceVersion"]}


@virtual_time
async def test_an_object_that_took_the_place_of_ours_is_not_overwritten():
    """Ours was deleted and somebody made another of its name, and our store does not know yet."""
    world = World()
    await world.apply(deployment(replicas=2))
    world.server.remove(DEPLOYMENT, KEY)
    world.server.put(DEPLOYMENT, deployment(replicas=7))
    with pytest.raises(Conflict, match="Deployment default/iris is not the object that it was"):
        await world.applier.apply_children(world.owner, [deployment(replicas=3)])
    assert world.live(DEPLOYMENT)["spec"] == {"replicas": 7}
    with pytest.raises(OwnedByAnother):
        await world.apply(deployment(replicas=3))


@virtual_time
async def test_a_child_deleted_behind_the_store_is_a_conflict_and_then_made_again():
    world = World()
    await world.apply(deployment(replicas=2))
    world.server.remove(DEPLOYMENT, KEY)
    with pytest.raises(Conflict, match="uid mismatch"):
        await world.applier.apply_children(world.owner, [deployment(replicas=3)])
    assert (await world.apply(deployment(replicas=3))).created == ["Deployment default/iris"]


@virtual_time
async def test_pruning_spares_a_namesake_and_the_children_of_others():
    world = World()
    await world.apply(thing(SERVICE, spec={"a": 1}))
    world.server.remove(SERVICE, KEY)
    world.server.put(SERVICE, thing(SERVICE, spec={"theirs": 1}))
    assert not await world.applier.apply_children(world.owner, [], prune_kinds=[SERVICE])
    assert world.live(SERVICE)["spec"] == {"theirs": 1}
    shared = thing(SERVICE, "shared", spec={})
    ours, theirs = owner_reference(world.owner), {"uid": "u", "kind": "ModelService", "name": "other"}
    shared["metadata"] |= {
        "ownerReferences": [{**ours, "controller": False}, {**theirs, "apiVersion": "x", "controller": True}],
        "labels": {"app.kubernetes.io/managed-by": "slipway"},
    }
    world.server.put(SERVICE, shared)
    assert not await world.apply()


@virtual_time
async def test_what_is_remembered_of_children_is_bounded():
    world = World()
    world.server.default = lambda _, manifest: manifest["spec"].update(when="rewritten")
    for number in range(REMEMBERED + 10):
        child = thing(DEPLOYMENT, f"d{number}", spec={"when": "original"})
        await world.applier.apply_children(world.owner, [child])
    assert len(world.applier._settled) == REMEMBERED
