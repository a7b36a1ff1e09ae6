"""Whatever bytes come over a plain socket: an answer that blames the client, or none; and the server lives on."""

from __future__ import annotations

import json
import re
import socket
import urllib.request

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TENSOR = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
BODY = json.dumps({"inputs": [TENSOR]}).encode()
LINES = (
    "Host: a",
    "Content-Type: application/json",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "Connection: close",
    "Connection: Upgrade\r\nUpgrade: h2c",
    "Content-Encoding: gzip",
    "Inference-Header-Content-Length: 5",
    "Inference-Header-Content-Length: -1",
    "Content-Length: 99999999999999999999",
    "Content-Length: -1",
    f"Content-Length: {len(BODY)}",
)
REQUESTS = st.builds(
    lambda method, path, lines, body: "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + body,
    st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "PRI", "get", ""]),
    st.sampled_from(
        ["/v2/models/sums/infer", "/v1/models/sums:predict", "/predict/sums", "/v2", "*", "//", "/%00", "x"]
    ),
    st.lists(st.sampled_from(LINES), max_size=5),
    st.just(BODY) | st.binary(max_size=60),
)


@st.composite
def damaged(draw):
    """A request with some of its bytes replaced."""
    request = bytearray(draw(REQUESTS))
    for place in draw(st.lists(st.integers(0, len(request) - 1), max_size=4)):
        request[place] = draw(st.integers(0, 255))
    return bytes(request)


def answers(server, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=20) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read()
        except ConnectionError:
            return b""  # refused before everything was read


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200) | damaged() | st.lists(damaged(), min_size=2, max_size=3).map(b"".join))
def test_no_bytes_make_the_server_fail(server, data):
    reply = answers(server, data)
    assert not reply or reply.startswith(b"HTTP/1.1 ")
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", reply)]
    assert all(status < 500 or status in (501, 505) for status in statuses), reply[:500]
    with urllib.request.urlopen(f"{server.url}/v2/health/live", timeout=20) as live:
        assert live.status == 200


def test_500_connections_that_say_nothing_keep_nobody_waiting(server):
    idle = [socket.create_connection(("127.0.0.1", server.http_port)) for _ in range(500)]
    try:
        request = urllib.request.Request(f"{server.url}/v2/models/sums/infer", BODY)
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert json.load(answer)["outputs"][0]["data"] == [10.0]
    finally:
        for connection in idle:
            connection.close()
