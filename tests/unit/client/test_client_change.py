"""What is written when a model service is scaled, rolled back or restarted."""

import asyncio
import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.client.change import Scale, deployed, effect, kept, leftovers, removal, restarted, scaled, undone
from slipway.client.client import AsyncClient
from slipway.client.errors import InvalidInputError, PausedError
from slipway.client.wait import wait_ready
from slipway.kit.objects import MODEL_SERVICE
from slipway.kit.testing import ApiServer, virtual_time
from slipway.kit.testing.fields import merge_patch
from slipway.views.revisions import Revision


def service(spec, fields=None, manager="slipway-cli"):
    entries = [{"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": fields}}] if fields else []
    metadata = {"name": "iris", "namespace": "ml", "uid": "u", "managedFields": entries}
    return {"apiVersion": "slipway.dev/v1alpha1", "kind": "ModelService", "metadata": metadata, "spec": spec}


MINE = service(
    {"model": {"uri": "a"}, "scaling": {"min": 1, "max": 4}, "routing": {"timeout": "9s"}},
    {"f:model": {"f:uri": {}}, "f:scaling": {"f:min": {}, "f:max": {}}},
)


def test_every_write_repeats_what_we_applied_and_names_the_object_by_its_uid():
    assert kept(MINE)["metadata"] == {"name": "iris", "namespace": "ml", "uid": "u"}
    assert kept(MINE)["spec"] == {"model": {"uri": "a"}, "scaling": {"min": 1, "max": 4}}
    assert scaled(MINE, Scale(2, None))["spec"] == {"model": {"uri": "a"}, "scaling": {"min": 2, "max": 4}}
    old = Revision(1, "", "", "", spec={"model": {"uri": "b"}})
    assert undone(MINE, old)["spec"] == {"model": {"uri": "b"}, "scaling": {"min": 1, "max": 4}}
    assert restarted(MINE, "t")["metadata"]["annotations"] == {"slipway.dev/restarted-at": "t"}
    assert "spec" not in restarted(MINE, "t")


def test_of_what_others_made_only_what_is_asked_for_is_written():
    theirs = service({"model": {"uri": "a"}, "scaling": {"min": 1, "max": 4}})
    assert scaled(theirs, Scale(3, 3))["spec"] == {"scaling": {"min": 3, "max": 3}}


@pytest.mark.parametrize("wish", [Scale(5, None), Scale(None, 0), Scale(3, 2)])
def test_a_range_without_numbers_is_refused(wish):
    with pytest.raises(InvalidInputError):
        scaled(MINE, wish)


def test_deploying_over_nothing_is_what_was_said():
    manifest = {"metadata": {"name": "iris"}, "spec": {"model": {"uri": "a"}}}
    assert deployed(None, manifest) is manifest


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("s3://bucket/iris/2", {"secretRef": {"name": "s"}, "fetchTimeout": "1h"}),
        ("s3://another/iris/2", {"fetchTimeout": "1h"}),
        ("https://bucket/iris", {"fetchTimeout": "1h"}),
        ("oci://bucket/iris", {}),
        ("pvc://bucket/iris", {}),
    ],
)
def test_deploying_another_model_keeps_how_long_fetching_may_take_and_the_secret_of_the_same_place(uri, kept):
    model = {"uri": "s3://bucket/iris/1", "secretRef": {"name": "s"}, "fetchTimeout": "1h", "checksum": "sha256:0"}
    manifest = {"metadata": {"name": "iris"}, "spec": {"model": {"uri": uri}}}
    applied = {"f:model": {f"f:{key}": {} for key in model}}
    assert deployed(service({"model": model}, applied), manifest)["spec"]["model"] == {"uri": uri} | kept


def test_effect():
    assert effect(MINE, service({"scaling": {"min": 4, "max": 4}})).endswith("now 4 is fixed, and its HPA goes.")
    memory = {"min": 1, "max": 2, "target": {"metric": "memory", "value": 60}}
    assert "memory at 60 %" in effect(MINE, service({"scaling": memory}))
    assert effect(service({}), service({"scaling": {"min": 2}})) == ""


def test_what_another_manager_would_leave_is_found():
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    fields = {"f:server": {"f:image": {}, "f:env": {'k:{"name":"B"}': {"f:value": {}}}}}
    theirs = service({"model": {"uri": "a"}, "server": {"image": "i", "env": env}}, fields, "kubectl")
    old = Revision(1, "", "", "", spec={"model": {"uri": "a"}, "server": {"env": env[:1]}})
    assert leftovers(theirs, old) == {"spec.server.image": "kubectl", "spec.server.env[B]": "kubectl"}
    new = Revision(1, "", "", "", spec={"server": {"image": "j", "env": env}})
    assert leftovers(theirs, new) == {}


VALUES = st.integers(0, 2) | st.lists(st.integers(0, 2), max_size=2)
TREES = st.recursive(VALUES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6)
PARTS = st.dictionaries(st.sampled_from("abc"), TREES, max_size=3)


@given(PARTS, PARTS)
def test_a_removal_leaves_what_the_revision_has(live, wanted):
    manifest = {"spec": {"model": live, "x": 1}}
    before = copy.deepcopy(manifest)
    after = merge_patch(manifest, removal(manifest, Revision(1, "", "", "", spec={"model": wanted})))
    assert without_empty(after["spec"].get("model", {})) == without_empty(wanted)
    assert after["spec"]["x"] == 1
    assert manifest == before


def without_empty(value):
    """The API server leaves empty objects as they are; nobody can tell them from absent ones."""
    if not isinstance(value, dict):
        return value
    return {key: kept for key, item in value.items() if (kept := without_empty(item)) != {}}


def status(reason, revision="a"):
    since = {"observedGeneration": 1, "message": "0/1 nodes are available"}
    ready = {"type": "Ready", "status": "True", "reason": "Serving", **since}
    conditions = [ready, {"type": "Progressing", "status": str(reason == "RollingOut"), "reason": reason, **since}]
    return {**service({"model": {"uri": "a"}}), "status": {"conditions": conditions, "revision": revision}}


def client_of(server):
    return AsyncClient(server, context="prod", namespace="ml")


@virtual_time
async def test_a_rollout_that_waits_for_room_is_paused_once_it_has_lasted():
    server = ApiServer()
    server.put(MODEL_SERVICE, status("Unschedulable"))
    waiting = asyncio.create_task(wait_ready(client_of(server), "iris", 600, lambda _: None, patience=60))
    await asyncio.sleep(50)
    server.put(MODEL_SERVICE, status("RollingOut"))
    await asyncio.sleep(50)
    server.put(MODEL_SERVICE, status("Unschedulable"))
    before = asyncio.get_running_loop().time()
    with pytest.raises(PausedError, match="iris waits: Unschedulable: 0/1 nodes are available"):
        await waiting
    assert asyncio.get_running_loop().time() - before >= 59


@virtual_time
async def test_nothing_counts_before_the_operator_has_seen_the_restart():
    server = ApiServer()
    server.put(MODEL_SERVICE, status("RolloutComplete", "a"))
    waiting = asyncio.create_task(wait_ready(client_of(server), "iris", 600, lambda _: None, beyond="a"))
    await asyncio.sleep(20)
    assert not waiting.done()
    server.put(MODEL_SERVICE, status("RolloutComplete", "b"))
    assert (await waiting)["status"]["revision"] == "b"
