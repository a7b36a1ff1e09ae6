"""Port forwarding against an API server on loopback that speaks the kubelet's protocol on real websockets."""

import asyncio
import base64
import hashlib
from contextlib import asynccontextmanager

import httpx2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection

from slipway.client.client import AsyncClient
from slipway.client.errors import FailedError, InvalidInputError, NotFoundError
from slipway.client.forward import Ports, parse_ports
from slipway.kit.access import Access
from slipway.kit.objects import MODEL_SERVICE, POD, Key
from slipway.kit.rest import RestClient
from slipway.kit.testing.http import serving

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
SERVICE = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "ModelService",
    "metadata": {"name": "iris", "namespace": "ml"},
    "spec": {},
}


def pod(name, *, ready=True):
    labels = {"slipway.dev/modelservice": "iris"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "ml", "labels": labels},
        "spec": {"containers": [{"name": "model", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


class Kubelet:
    """Upgrades to `v4.channel.k8s.io` as cri-streaming does, and answers what comes on channel 0."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    async def __call__(self, request, reader, writer):
        self.asked.append(request.target)
        if request.headers.get("accept") != "*/*":  # the kubelet's routes name no type that they answer with
            writer.write(b"HTTP/1.1 406 Not Acceptable\r\nContent-Length: 0\r\n\r\n")
            return
        accept = base64.b64encode(hashlib.sha1(request.headers["sec-websocket-key"].encode() + GUID).digest()).decode()  # noqa: S324
        protocol = request.headers["sec-websocket-protocol"]
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n".encode()
        )
        socket = Connection(ConnectionType.SERVER)

        def send(channel, data):
            writer.write(socket.send(BytesMessage(bytes([channel]) + data)))

        for channel in (0, 1):
            send(channel, (8080).to_bytes(2, "little"))
        await self._serve(socket, send, reader, writer)

    async def _serve(self, socket, send, reader, writer):
        message = b""
        while data := await reader.read(65536):
            socket.receive_data(data)
            for event in socket.events():
                if isinstance(event, CloseConnection):
                    return
                if isinstance(event, BytesMessage):
                    message += event.data
                    if not event.message_finished:
                        continue
                    answers, message = self.answer(message[1:]), b""
                    for channel, part in answers:
                        if channel is None:
                            writer.write(socket.send(CloseConnection(1000)))
                            return
                        send(channel, part)
            await writer.drain()


def echo(data):
    return [(0, data)]


def http(data):
    """A model server that answers one request and closes."""
    return [(0, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"), (None, b"")] if data.endswith(b"\r\n\r\n") else []


@pytest.fixture
def cluster():
    with serving() as served:
        served.put(MODEL_SERVICE, SERVICE)
        served.put(POD, pod("iris-1"))
        yield served


class Told(list):
    """What was reported."""

    def __init__(self):
        self.more = asyncio.Event()

    def __call__(self, text, *, trouble):  # noqa: ARG002  # as `slipway.client.forward.Report`
        self.append(text)
        self.more.set()

    async def until(self, text):
        while not any(text in line for line in self):
            self.more.clear()
            await self.more.wait()


@asynccontextmanager
async def forwarding(cluster, answer=echo, **ports):
    cluster.upgrade = Kubelet(answer)
    told = Told()
    async with RestClient(Access(cluster.url)) as api:
        client = AsyncClient(api, context="prod", namespace="ml", sockets=api)
        async with client.port_forward("iris", **ports, report=told) as forward:
            forward.told = told
            yield forward


async def ask(port):
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as http_client:
        return await http_client.get(f"http://127.0.0.1:{port}/predict")


async def test_a_request_reaches_the_pod(cluster):
    async with forwarding(cluster, http) as forward:
        answer = await ask(forward.port)
        assert (answer.status_code, answer.text) == (200, "[]")
        assert forward.told == [f"Forwarding http://127.0.0.1:{forward.port} -> iris (pod iris-1)"]
        assert cluster.upgrade.asked == ["/api/v1/namespaces/ml/pods/iris-1/portforward?ports=8080"]


async def test_the_port_of_the_pod_may_be_another(cluster):
    async with forwarding(cluster, http, remote=9000) as forward:
        await ask(forward.port)
        assert cluster.upgrade.asked[0].endswith("ports=9000")
        assert forward.told == [f"Forwarding 127.0.0.1:{forward.port} -> iris (pod iris-1)"]


async def test_large_streams_arrive_whole_and_in_order(cluster):
    content = bytes(range(256)) * 8192  # 2 MiB
    async with forwarding(cluster) as forward:
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)

        async def send():
            for start in range(0, len(content), 100_000):
                writer.write(content[start : start + 100_000])
                await writer.drain()

        sending = asyncio.create_task(send())
        assert await reader.readexactly(len(content)) == content
        await sending
        writer.close()
        await writer.wait_closed()


async def test_many_connections_at_once(cluster):
    async with forwarding(cluster, http) as forward:
        answers = await asyncio.gather(*(ask(forward.port) for _ in range(20)))
        assert [answer.text for answer in answers] == ["[]"] * 20


async def test_the_next_connection_goes_to_another_pod_when_one_goes(cluster):
    async with forwarding(cluster, http) as forward:
        await ask(forward.port)
        await asyncio.to_thread(cluster.put, POD, pod("iris-2"))
        await ask(forward.port)
        assert "iris-1" in cluster.upgrade.asked[-1]  # as long as it is ready
        await asyncio.to_thread(cluster.do, cluster.server.remove, POD, Key("ml", "iris-1"))
        assert (await ask(forward.port)).text == "[]"
        assert forward.told[-1].endswith("-> iris (pod iris-2)")


async def test_a_pod_that_refuses_is_left_for_another_one(cluster):
    await asyncio.to_thread(cluster.put, POD, pod("iris-2"))
    async with forwarding(cluster, http) as forward:
        good, cluster.upgrade = cluster.upgrade, None  # 404, as for a pod that is gone
        cluster.others["GET", "/api/v1/namespaces/ml/pods/iris-1/portforward"] = lambda _: gone(cluster, good)
        assert (await ask(forward.port)).text == "[]"
        assert "iris-2" in good.asked[-1]


def gone(cluster, good):
    cluster.upgrade = good
    return 404, b'{"kind": "Status", "reason": "NotFound", "message": "pods \\"iris-1\\" not found"}'


async def test_a_connection_waits_for_a_pod(cluster):
    async with forwarding(cluster, http) as forward:
        await asyncio.to_thread(cluster.put, POD, pod("iris-1", ready=False))
        asking = asyncio.create_task(ask(forward.port))
        await forward.told.until("Waiting for one")
        await asyncio.to_thread(cluster.put, POD, pod("iris-1"))
        assert (await asking).text == "[]"


async def test_what_goes_wrong_at_the_pod_is_said(cluster):
    def refuse(_):
        return [(1, b"error forwarding port 8080 to pod: connection refused"), (None, b"")]

    async with forwarding(cluster, refuse) as forward:
        with pytest.raises(httpx2.RemoteProtocolError):
            await ask(forward.port)
        await forward.told.until("iris-1: error forwarding port 8080 to pod: connection refused")


async def test_open_connections_end_with_the_forward(cluster):
    async with forwarding(cluster) as forward:
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_what_cannot_be_forwarded(cluster):
    async with RestClient(Access(cluster.url)) as api:
        client = AsyncClient(api, context="prod", namespace="ml", sockets=api)
        with pytest.raises(NotFoundError, match="did you mean iris"):
            await client.port_forward("irs").__aenter__()
        async with client.port_forward("iris") as first:
            with pytest.raises(InvalidInputError, match="cannot be listened on"):
                await client.port_forward("iris", first.port).__aenter__()
        await asyncio.to_thread(cluster.put, POD, pod("iris-1", ready=False))
        with pytest.raises(FailedError, match="No pod of iris is ready"):
            await client.port_forward("iris").__aenter__()


@pytest.mark.parametrize(
    ("text", "ports"),
    [(None, Ports(8080)), ("0", Ports(0)), ("8000", Ports(8000)), ("8000:80", Ports(8000, 80)), (":80", Ports(0, 80))],
)
def test_ports(text, ports):
    assert parse_ports(text) == ports


@settings(deadline=None)  # how fast the machine is, is not what is tested
@given(st.text(alphabet="0123456789:x-", max_size=8))
@example(":00")
def test_no_text_makes_a_port_that_is_none(text):
    try:
        ports = parse_ports(text)
    except InvalidInputError:
        return
    assert 0 <= ports.local < 65536
    assert ports.remote is None or 0 < ports.remote < 65536
