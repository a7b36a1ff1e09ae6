from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from slipway.kit.client import Conflict, Invalid
from slipway.kit.consistency import track
from slipway.kit.finalizers import add_finalizer, has_finalizer, remove_finalizer
from slipway.kit.objects import MODEL_SERVICE, Key, Manifest
from slipway.kit.status import set_condition, timestamp, write_status
from slipway.kit.testing import ApiServer, virtual_time

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)
KEY = Key("default", "iris")


def service() -> Manifest:
    return {
        "apiVersion": MODEL_SERVICE.api_version,
        "kind": "ModelService",
        "metadata": {"name": "iris", "namespace": "default"},
        "spec": {"a": 1},
    }


def test_the_time_of_a_condition_moves_only_with_its_status():
    first = set_condition([], "Ready", "False", "Starting", "no pod", 1, NOON)
    second = set_condition(first, "Ready", "False", "Pulling", "image", 2, LATER)
    third = set_condition(second, "Ready", "True", "Serving", "", 2, LATER)
    assert [conditions[0]["lastTransitionTime"] for conditions in (first, second, third)] == [
        "2026-01-01T12:00:00Z",
        "2026-01-01T12:00:00Z",
        "2026-01-01T12:05:00Z",
    ]
    assert first[0]["reason"] == "Starting"
    assert third == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Serving",
            "message": "",
            "observedGeneration": 2,
            "lastTransitionTime": "2026-01-01T12:05:00Z",
        }
    ]


def test_other_conditions_keep_their_place():
    conditions = set_condition([], "Ready", "True", "A", "", 1, NOON)
    conditions = set_condition(conditions, "Scaled", "True", "B", "", 1, NOON)
    conditions = set_condition(conditions, "Ready", "False", "C", "x" * 5000, 1, NOON)
    assert [condition["type"] for condition in conditions] == ["Ready", "Scaled"]
    assert len(conditions[0]["message"]) == 4096
    assert (conditions[1]["status"], conditions[1]["reason"]) == ("True", "B")


def test_times_are_utc():
    assert timestamp(datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-01T12:00:00Z"


@virtual_time
async def test_a_status_is_written_once_and_whole():
    server = ApiServer()
    live = server.put(MODEL_SERVICE, service())
    with track() as writes:
        assert await write_status(server, MODEL_SERVICE, live, {"url": "http://x", "gone": 1, "none": None})
    live = server.objects(MODEL_SERVICE)[KEY]
    assert writes == {MODEL_SERVICE: live["metadata"]["resourceVersion"]}
    assert not await write_status(server, MODEL_SERVICE, live, {"url": "http://x", "gone": 1})
    assert await write_status(server, MODEL_SERVICE, live, {"url": "http://x"})
    live = server.objects(MODEL_SERVICE)[KEY]
    assert live["status"] == {"url": "http://x"}
    assert live["spec"] == {"a": 1}
    assert live["metadata"]["generation"] == 1
    assert [call.subresource for call in server.writes] == ["status", "status"]


@virtual_time
async def test_the_status_of_an_older_object_is_not_written_to_its_namesake():
    server = ApiServer()
    old = server.put(MODEL_SERVICE, service())
    server.remove(MODEL_SERVICE, KEY)
    server.put(MODEL_SERVICE, service())
    with pytest.raises(Invalid):
        await write_status(server, MODEL_SERVICE, old, {"url": "http://x"})


@virtual_time
async def test_finalizers_hold_an_object_back():
    server = ApiServer()
    live = server.put(MODEL_SERVICE, service())
    assert await add_finalizer(server, MODEL_SERVICE, live, "slipway.dev/clean")
    with pytest.raises(Conflict):
        await add_finalizer(server, MODEL_SERVICE, live, "slipway.dev/other")
    server.remove(MODEL_SERVICE, KEY)
    live = server.objects(MODEL_SERVICE)[KEY]
    assert has_finalizer(live, "slipway.dev/clean")
    assert not await add_finalizer(server, MODEL_SERVICE, live, "slipway.dev/clean")
    assert not await remove_finalizer(server, MODEL_SERVICE, live, "slipway.dev/other")
    assert await remove_finalizer(server, MODEL_SERVICE, live, "slipway.dev/clean")
    assert server.objects(MODEL_SERVICE) == {}
