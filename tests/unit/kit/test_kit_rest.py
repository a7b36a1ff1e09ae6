"""What the client sends to an API server, and what it makes of its answers."""

import httpx2
import pytest

from slipway.kit.access import Access
from slipway.kit.client import ApiError, Invalid
from slipway.kit.objects import CONFIG_MAP
from slipway.kit.rest import RestClient


def client(answer):
    return RestClient(Access("https://api.example"), transport=httpx2.MockTransport(answer))


async def test_a_watch_is_not_compressed():
    seen = []

    def answer(request):
        seen.append(request)
        return httpx2.Response(200, content=b'{"type": "ADDED", "object": {"metadata": {"name": "a"}}}\n')

    async with client(answer) as api:
        events = [event async for event in api.watch(CONFIG_MAP, resource_version="1")]
    assert [event.object["metadata"]["name"] for event in events] == ["a"]
    assert seen[0].headers["Accept-Encoding"] == "identity"


async def test_the_sentence_of_what_stands_behind_the_proxy_is_kept():
    async with client(lambda _: httpx2.Response(400, json={"error": "inputs[0] has no data"})) as api:
        with pytest.raises(ApiError, match="has no data"):
            await api.raw("GET", "/api/v1/namespaces/a/services/b/proxy/")


async def test_causes_of_a_status_are_kept():
    status = {
        "kind": "Status",
        "reason": "Invalid",
        "message": "it is wrong",
        "details": {"causes": [{"field": "spec.x", "message": "unknown field"}]},
    }
    async with client(lambda _: httpx2.Response(422, json=status)) as api:
        with pytest.raises(Invalid, match="it is wrong") as error:
            await api.get(CONFIG_MAP, "a", "default")
    assert error.value.causes == (("spec.x", "unknown field"),)
