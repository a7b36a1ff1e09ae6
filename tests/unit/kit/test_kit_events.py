from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

import pytest

from slipway.kit.client import Forbidden
from slipway.kit.events import REMEMBERED, EventRecorder
from slipway.kit.objects import EVENT, Manifest
from slipway.kit.testing import ApiServer, Call, virtual_time

SERVICE = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "ModelService",
    "metadata": {"name": "iris", "namespace": "team", "uid": "u1", "resourceVersion": "3"},
}


def recorder(server: ApiServer) -> EventRecorder:
    return EventRecorder(server, "slipway-operator", now=lambda: datetime(2026, 1, 1, tzinfo=UTC))


def events(server: ApiServer) -> list[Manifest]:
    return [*server.objects(EVENT).values()]


@virtual_time
async def test_an_event_says_what_it_is_about():
    server = ApiServer()
    await recorder(server).emit(SERVICE, "Warning", "ImagePullFailed", "m" * 2000)
    event = events(server)[0]
    assert event["involvedObject"] == {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelService",
        "name": "iris",
        "namespace": "team",
        "uid": "u1",
        "resourceVersion": "3",
    }
    assert event["metadata"]["namespace"] == "team"
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "ImagePullFailed", 1)
    assert event["lastTimestamp"] == "2026-01-01T00:00:00Z"
    assert len(event["message"]) == 1024


@virtual_time
async def test_the_same_event_is_counted_until_it_is_old():
    server = ApiServer()
    events_of = recorder(server)
    for _ in range(3):
        await events_of.emit(SERVICE, "Normal", "Scaled", "to 3")
    await events_of.emit(SERVICE, "Normal", "Scaled", "to 4")
    assert sorted(event["count"] for event in events(server)) == [1, 3]
    await asyncio.sleep(700)
    await events_of.emit(SERVICE, "Normal", "Scaled", "to 3")
    assert sorted(event["count"] for event in events(server)) == [1, 1, 3]


@virtual_time
async def test_an_event_that_the_server_has_forgotten_is_written_again():
    server = ApiServer()
    events_of = recorder(server)
    await events_of.emit(SERVICE, "Normal", "Scaled", "to 3")
    for key in server.objects(EVENT):
        server.remove(EVENT, key)
    await events_of.emit(SERVICE, "Normal", "Scaled", "to 3")
    assert [event["count"] for event in events(server)] == [1]


@virtual_time
async def test_a_flood_is_cut_by_object():
    server = ApiServer()
    events_of = recorder(server)
    for number in range(100):
        await events_of.emit(SERVICE, "Normal", "Noise", str(number))
    other = {**SERVICE, "metadata": {"name": "node", "uid": "u2"}}
    await events_of.emit(other, "Normal", "Noise", "of a cluster-scoped object")
    assert len(events(server)) == 26
    assert events(server)[-1]["metadata"]["namespace"] == "default"


@virtual_time
async def test_what_cannot_be_recorded_fails_nobody(caplog: pytest.LogCaptureFixture):
    server = ApiServer()

    def refuse(_: Call) -> None:
        raise Forbidden(403, "Forbidden", "events is forbidden")

    server.fault = refuse
    with caplog.at_level(logging.WARNING):
        await recorder(server).emit(SERVICE, "Normal", "Scaled", "to 3")
    assert "Scaled of iris is not recorded: events is forbidden" in caplog.text


@virtual_time
async def test_what_goes_on_is_remembered_longer_than_what_was_once():
    server = ApiServer()
    events_of = recorder(server)
    await events_of.emit(SERVICE, "Normal", "Steady", "again")
    for number in range(REMEMBERED + 800):
        if number % 400 == 0:
            await events_of.emit(SERVICE, "Normal", "Steady", "again")
        other = {**SERVICE, "metadata": {"name": f"o{number}", "namespace": "team", "uid": f"o{number}"}}
        await events_of.emit(other, "Normal", "Once", "here")
    steady = [event["count"] for event in events(server) if event["reason"] == "Steady"]
    assert steady == [14]
    assert len(events_of._series) == len(events_of._buckets) == REMEMBERED
