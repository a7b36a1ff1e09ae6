"""The API server in memory behind HTTP, asked by the client of real ones."""

import asyncio

import pytest

from slipway.kit.access import Access
from slipway.kit.client import Conflict, NotFound
from slipway.kit.objects import CONFIG_MAP, MODEL_SERVICE, NAMESPACE, Key
from slipway.kit.rest import RestClient
from slipway.kit.testing import ApiServer, virtual_time
from slipway.kit.testing.http import serving

MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "ml"}, "data": {"x": "1"}}


@pytest.fixture
def served():
    with serving() as found:
        yield found


async def test_each_call_arrives(served):
    async with RestClient(Access(served.url)) as api:
        made = await api.create(CONFIG_MAP, MAP)
        assert await api.patch(CONFIG_MAP, "a", "ml", {"data": {"x": "2"}}) != made
        await api.apply(CONFIG_MAP, {**MAP, "data": {"y": "3"}}, manager="me", dry_run=True)
        assert (await api.get(CONFIG_MAP, "a", "ml"))["data"] == {"x": "2"}
        applied = await api.apply(CONFIG_MAP, {**MAP, "data": {"y": "3"}}, manager="me")
        assert applied["data"] == {"x": "2", "y": "3"}
        with pytest.raises(Conflict, match="conflict with"):
            await api.apply(CONFIG_MAP, {**MAP, "data": {"y": "4"}}, manager="you")
        await api.replace(CONFIG_MAP, {**MAP, "data": {}})
        assert [item["metadata"]["name"] for item in (await api.list(CONFIG_MAP, "ml")).items] == ["a"]
        assert (await api.list(NAMESPACE)).items == []
        await api.delete(CONFIG_MAP, "a", "ml")
        with pytest.raises(NotFound):
            await api.get(CONFIG_MAP, "a", "ml")
        with pytest.raises(NotFound):
            await api.raw("GET", "/version")
        served.others["GET", "/version"] = (200, b"{}")
        assert await api.raw("GET", "/version") == b"{}"


async def test_who_applied_a_field_is_told_as_the_api_server_does(served):
    service = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "iris", "namespace": "ml"},
        "spec": {"server": {"env": [{"name": "A", "value": "1"}]}},
    }
    async with RestClient(Access(served.url)) as api:
        await api.apply(MODEL_SERVICE, service, manager="me")
        entry = (await api.get(MODEL_SERVICE, "iris", "ml"))["metadata"]["managedFields"][0]
    assert (entry["manager"], entry["operation"]) == ("me", "Apply")
    item = {'k:{"name": "A"}': {"f:name": {}, "f:value": {}}}
    assert entry["fieldsV1"] == {"f:spec": {"f:server": {"f:env": item}}}


async def test_watches_follow(served):
    async with RestClient(Access(served.url)) as api:
        events = api.watch(CONFIG_MAP, "ml", initial_events=True)
        assert (await anext(events)).type == "BOOKMARK"
        await asyncio.to_thread(served.put, CONFIG_MAP, MAP)
        assert (await anext(events)).type == "ADDED"
        await asyncio.to_thread(served.do, served.server.remove, CONFIG_MAP, Key("ml", "a"))
        assert (await anext(events)).type == "DELETED"
        await events.aclose()


@virtual_time
async def test_an_item_goes_when_its_manager_gives_it_up():
    server = ApiServer()
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    service = {"apiVersion": "v", "kind": "k", "metadata": {"name": "iris", "namespace": "ml"}}
    await server.apply(MODEL_SERVICE, {**service, "spec": {"env": env, "x": 1}}, manager="me")
    left = await server.apply(MODEL_SERVICE, {**service, "spec": {"env": env[:1], "x": 1}}, manager="me")
    assert left["spec"] == {"env": env[:1], "x": 1}
