from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.kit.access import Access
from slipway.kit.client import (
    AlreadyExists,
    ApiError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    Unreachable,
    WatchEvent,
)
from slipway.kit.fence import fenced
from slipway.kit.lease import LeaseLost
from slipway.kit.metrics import Metrics
from slipway.kit.objects import MODEL_SERVICE, NODE, POD, Manifest
from slipway.kit.rest import RestClient, error_from
from slipway.kit.testing import virtual_time

POD_A: Manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "team"}}


class Recorder:
    """Answers each request with the next of the given responses, the last one for ever."""

    def __init__(self, *responses: httpx2.Response) -> None:
        self.requests: list[httpx2.Request] = []
        self._responses = list(responses or [httpx2.Response(200, json={})])

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]

    @property
    def line(self) -> str:
        request = self.requests[-1]
        return f"{request.method} {request.url.raw_path.decode()}"


def client(recorder: Callable[[httpx2.Request], httpx2.Response], **options: Any) -> RestClient:
    return RestClient(Access("http://api"), transport=httpx2.MockTransport(recorder), **options)


async def test_each_call_is_the_request_that_the_api_server_knows():
    recorder = Recorder()
    async with client(recorder) as api:
        await api.get(POD, "a", "team")
        assert recorder.line == "GET /api/v1/namespaces/team/pods/a"
        await api.get(NODE, "n")
        assert recorder.line == "GET /api/v1/nodes/n"
        await api.create(POD, POD_A)
        assert recorder.line == "POST /api/v1/namespaces/team/pods?fieldValidation=Strict"
        await api.apply(POD, POD_A, manager="m", force=True, subresource="status", dry_run=True)
        assert recorder.line == (
            "PATCH /api/v1/namespaces/team/pods/a/status?fieldManager=m&force=true&fieldValidation=Strict&dryRun=All"
        )
        assert recorder.requests[-1].headers["Content-Type"] == "application/apply-patch+yaml"
        assert json.loads(recorder.requests[-1].content) == POD_A
        await api.patch(MODEL_SERVICE, "a", "team", {"x": None})
        assert recorder.line == (
            "PATCH /apis/slipway.dev/v1alpha1/namespaces/team/modelservices/a?fieldValidation=Strict"
        )
        assert recorder.requests[-1].headers["Content-Type"] == "application/merge-patch+json"
        await api.replace(POD, POD_A)
        assert recorder.line == "PUT /api/v1/namespaces/team/pods/a?fieldValidation=Strict"
        await api.delete(POD, "a", "team", uid="u", propagation="Foreground")
        assert recorder.line == "DELETE /api/v1/namespaces/team/pods/a"
        assert json.loads(recorder.requests[-1].content) == {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": "u"},
        }
        await api.raw("GET", "/api/v1/namespaces/team/pods/a/log?tailLines=5")
        assert recorder.line == "GET /api/v1/namespaces/team/pods/a/log?tailLines=5"


async def test_a_list_is_a_page_whose_items_say_what_they_are():
    recorder = Recorder(
        httpx2.Response(200, json={"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [{"spec": 1}]}),
        httpx2.Response(200, json={"metadata": {"resourceVersion": "7"}, "items": None}),
    )
    async with client(recorder) as api:
        page = await api.list(POD, "team", labels="a=b,c", fields="spec.nodeName=n", limit=5)
        assert recorder.requests[-1].url.params == httpx2.QueryParams(
            {"labelSelector": "a=b,c", "fieldSelector": "spec.nodeName=n", "limit": "5"}
        )
        assert page.items == [{"apiVersion": "v1", "kind": "Pod", "spec": 1}]
        assert (page.resource_version, page.continue_) == ("7", "more")
        last = await api.list(POD, continue_=page.continue_)
        assert (last.items, last.continue_) == ([], None)


@pytest.mark.parametrize("name", ["", "a/b", "..", "."])
async def test_a_name_that_would_mean_something_else_is_never_sent(name: str):
    recorder = Recorder()
    async with client(recorder) as api:
        with pytest.raises(Invalid, match="is not a name of an object"):
            await api.delete(POD, name, "team")
        await api.get(POD, "a?b#c", "x/y")
    assert [request.url.raw_path for request in recorder.requests] == [b"/api/v1/namespaces/x%2Fy/pods/a%3Fb%23c"]


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", Forbidden),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", Expired),
        (422, "Invalid", Invalid),
        (500, "InternalError", ApiError),
    ],
)
async def test_each_refusal_is_an_error_of_the_tree(status: int, reason: str, expected: type[ApiError]):
    details = {"causes": [{"field": "spec.x", "message": "wrong"}]}
    body = {"kind": "Status", "message": "said", "reason": reason, "details": details}
    async with client(Recorder(httpx2.Response(status, json=body))) as api:
        with pytest.raises(ApiError, match="said") as caught:
            await api.get(POD, "a", "team")
    assert type(caught.value) is expected
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert caught.value.causes == (("spec.x", "wrong"),)


@given(
    status=st.integers(400, 599),
    body=st.binary() | st.from_regex(rb'\{"kind": "Status", "(details|message|reason)": .{0,20}\}'),
)
def test_whatever_a_refusal_says_it_is_an_error_with_a_message(status: int, body: bytes):
    error = error_from(status, body)
    assert error.status == status
    assert isinstance(error.message, str)


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind": "Status", "details": []}',
        b'{"kind": "Status", "details": {"causes": [1]}}',
        b'{"kind": "Status", "details": {"causes": 5}}',
        b'{"kind": "Status", "code": 200, "message": [], "reason": {}}',
        b"[]",
        b"",
    ],
)
def test_a_refusal_of_another_form_is_an_error_too(body: bytes):
    assert error_from(422, body).status == 422


async def test_an_answer_that_is_not_json_is_not_an_answer():
    async with client(Recorder(httpx2.Response(200, text="<html>login</html>"))) as api:
        with pytest.raises(Unreachable, match="not JSON"):
            await api.get(POD, "a", "team")


async def test_no_answer_names_the_server():
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("connection refused", request=request)

    async with client(refuse) as api:
        with pytest.raises(Unreachable, match="No answer from the API server http://api: connection refused"):
            await api.get(POD, "a", "team")
        with pytest.raises(Unreachable, match="connection refused"):
            [event async for event in api.watch(POD)]


@virtual_time
async def test_too_many_requests_are_asked_again_when_the_server_says():
    busy = httpx2.Response(429, headers={"Retry-After": "7"}, json={"message": "slow down"})
    recorder = Recorder(busy, httpx2.Response(429), httpx2.Response(200, json={"ok": True}))
    async with client(recorder) as api:
        assert await api.get(POD, "a", "team") == {"ok": True}
    assert asyncio.get_running_loop().time() == pytest.approx(8.0)


@virtual_time
async def test_too_many_requests_are_an_error_in_the_end():
    recorder = Recorder(httpx2.Response(429, headers={"Retry-After": "9999"}, json={"message": "slow down"}))
    async with client(recorder) as api:
        with pytest.raises(ApiError, match="slow down"):
            await api.get(POD, "a", "team")
    assert len(recorder.requests) == 4
    assert asyncio.get_running_loop().time() == pytest.approx(30.0)


@virtual_time
async def test_requests_are_bounded_in_rate():
    async with client(Recorder(), rate=2.0, burst=2) as api:
        await asyncio.gather(*(api.get(POD, "a", "team") for _ in range(6)))
    assert asyncio.get_running_loop().time() == pytest.approx(2.0)


@virtual_time
async def test_a_write_that_has_waited_asks_once_more_whether_it_may():
    leads, recorder = [True], Recorder()
    async with client(recorder, rate=1.0, burst=1) as api:
        await api.get(POD, "a", "team")
        with fenced(lambda: leads[0]):
            waiting = asyncio.create_task(api.create(POD, POD_A))
            reading = asyncio.create_task(api.get(POD, "a", "team"))
        await asyncio.sleep(0)
        leads[0] = False
        with pytest.raises(LeaseLost, match="nothing is written"):
            await waiting
        await reading
        await api.create(POD, POD_A)  # outside of what the Lease guards
    assert [request.method for request in recorder.requests] == ["GET", "GET", "POST"]


async def test_requests_are_counted_under_client_gos_name():
    metrics = Metrics()

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "DELETE":
            raise httpx2.ConnectError("refused")
        return httpx2.Response(200, json={})

    async with client(answer, metrics=metrics) as api:
        await api.get(POD, "a", "team")
        await collect(api)
        with pytest.raises(Unreachable):
            await api.delete(POD, "a", "team")
    for code, method, count in (("200", "GET", 2), ("<error>", "DELETE", 1)):
        labels = {"code": code, "method": method, "host": "api"}
        assert metrics.registry.get_sample_value("rest_client_requests_total", labels) == count


def lines(*events: Any) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


async def collect(api: RestClient, **options: Any) -> list[WatchEvent]:
    return [event async for event in api.watch(POD, **options)]


async def test_a_watch_asks_for_bookmarks_and_for_a_streaming_list():
    body = lines(
        {"type": "ADDED", "object": POD_A}, {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "5"}}}
    )
    recorder = Recorder(httpx2.Response(200, content=body))
    async with client(recorder) as api:
        events = await collect(api, initial_events=True, labels="a=b", timeout=60)
        assert events == [WatchEvent("ADDED", POD_A), WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "5"}})]
        assert dict(recorder.requests[-1].url.params) == {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": "a=b",
            "timeoutSeconds": "60",
            "sendInitialEvents": "true",
            "resourceVersionMatch": "NotOlderThan",
        }
        await collect(api, resource_version="5")
        assert recorder.requests[-1].url.params["resourceVersion"] == "5"
        assert "sendInitialEvents" not in recorder.requests[-1].url.params


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (lines({"type": "ERROR", "object": {"code": "410"}}), ApiError, "answered 500"),
        (lines({"type": "ERROR", "object": {"code": 410, "message": "too old"}}), Expired, "too old"),
        (lines({"type": "ERROR", "object": {"code": 500, "message": "broken"}}), ApiError, "broken"),
        (b"not JSON\n", Unreachable, "not JSON"),
        (b"[1]\n", Unreachable, "not JSON"),
        (lines({"type": "RENAMED", "object": {}}), Unreachable, "unknown type 'RENAMED'"),
    ],
)
async def test_what_a_watch_cannot_read_ends_it(body: bytes, error: type[Exception], message: str):
    async with client(Recorder(httpx2.Response(200, content=lines({"type": "ADDED", "object": POD_A}) + body))) as api:
        with pytest.raises(error, match=message):
            await collect(api)


async def test_a_watch_that_is_refused_says_why():
    async with client(Recorder(httpx2.Response(410, json={"message": "too old", "reason": "Expired"}))) as api:
        with pytest.raises(Expired, match="too old"):
            await collect(api)


@asynccontextmanager
async def listening(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[RestClient]:
    """A client of a loopback server that sends, after the head of an answer, what `serve` writes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
        with suppress(ConnectionError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, RestClient(Access(f"http://127.0.0.1:{port}")) as api:
        yield api


async def test_events_are_delivered_as_they_come_wherever_the_network_cuts_them():
    event, go_on = lines({"type": "ADDED", "object": POD_A}), asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(event + event[:20])
        await writer.drain()
        await go_on.wait()
        writer.write(event[20:] + event[:10])

    async with listening(serve) as api:
        watch = api.watch(POD)
        assert (await anext(watch)).object == POD_A
        go_on.set()
        assert (await anext(watch)).object == POD_A
        with pytest.raises(StopAsyncIteration):  # the unfinished line is dropped: it comes again after the reconnect
            await anext(watch)


async def test_a_watch_that_is_left_closes_its_connection():
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(lines({"type": "ADDED", "object": POD_A}))
        await reader.read()
        closed.set()

    async with listening(serve) as api:
        watch = api.watch(POD)
        await anext(watch)
        await watch.aclose()
        await closed.wait()


async def test_an_event_without_end_is_not_collected():
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 1024 * 1024)
            await writer.drain()

    async with listening(serve) as api:
        with pytest.raises(Unreachable, match="an event of more than 16777216 bytes"):
            await collect(api)


async def test_a_watch_is_not_compressed():
    recorder = Recorder(httpx2.Response(200, content=b""))
    async with client(recorder) as api:
        await collect(api)
    assert recorder.requests[0].headers["Accept-Encoding"] == "identity"


async def test_the_sentence_of_what_stands_behind_the_proxy_is_kept():
    async with client(Recorder(httpx2.Response(400, json={"error": "inputs[0] has no data"}))) as api:
        with pytest.raises(ApiError, match="has no data"):
            await api.raw("GET", "/api/v1/namespaces/a/services/b/proxy/")
