"""HTTP/1.1 as RFC 9112 has it, over plain sockets: what is odd but right is answered, what is wrong is refused."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from functools import partial
from http.client import BadStatusLine, HTTPResponse

from slipway_serving.conformance.checks import Group, Level, expect
from slipway_serving.conformance.client import Answer
from slipway_serving.conformance.suite.inference import expect_outputs
from slipway_serving.conformance.target import Target

HTTP = Group("http", "RFC 9112")
_LIVE = "/v2/health/live"
_LONG = 300_000


def _head(target: Target, method: str, path: str, *lines: str) -> bytes:
    known = [f"{method} {target.client.prefix}{path} HTTP/1.1", f"Host: {target.client.host}", *lines]
    return ("\r\n".join(known) + "\r\n\r\n").encode("latin-1")


def _read(connection: socket.socket, method: str = "GET") -> Answer:
    """One answer. Raises BadStatusLine where the connection is closed without one."""
    response = HTTPResponse(connection, method=method)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def _exchange(target: Target, *pieces: bytes, method: str = "GET") -> Answer:
    with target.client.connect() as connection:
        for piece in pieces:
            connection.sendall(piece)
        return _read(connection, method)


def _expect_alive(target: Target) -> None:
    answer = target.client.get(_LIVE)
    expect(answer.status == 200, f"the server is not alive afterwards: {answer.seen}")


def _refused(lines: bytes, target: Target) -> str:
    """A 4xx, 501 or 505, or a closed connection; and the server lives on."""
    try:
        with target.client.connect() as connection:
            with contextlib.suppress(ConnectionError):  # a server may refuse before it has read everything
                connection.sendall(lines.replace(b"@PREFIX", target.client.prefix.encode()))
            answer = _read(connection)
    except (BadStatusLine, ConnectionError):
        seen = "the connection is closed"
    else:
        expect(400 <= answer.status < 500 or answer.status in (501, 505), answer.seen)
        seen = answer.seen
    _expect_alive(target)
    return seen


_GET = b"GET @PREFIX/v2/health/live HTTP/1.1\r\n"
_POST = b"POST @PREFIX/v2/models/m/infer HTTP/1.1\r\nHost: a\r\n"
_WRONG = (
    ("garbage", "what is no request", b"GARBAGE\r\n\r\n", "3"),
    ("tls", "a TLS handshake on a plain port", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", "3"),
    ("version", "a version of HTTP that is not there", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", "2.3"),
    ("no-host", "a request without Host", _GET + b"\r\n", "3.2"),
    ("two-hosts", "a request with two Hosts", _GET + b"Host: a\r\nHost: b\r\n\r\n", "3.2"),
    ("no-colon", "a header without a colon", _GET + b"Host: a\r\nbroken\r\n\r\n", "5"),
    ("space-before-colon", "white space before a header's colon", _GET + b"Host: a\r\nX-A : b\r\n\r\n", "5.1"),
    ("nul-in-header", "a NUL in a header", _GET + b"Host: a\r\nX-A: b\0c\r\n\r\n", "5.5"),
    ("negative-length", "a negative Content-Length", _POST + b"Content-Length: -1\r\n\r\n", "6.3"),
    ("length-no-number", "a Content-Length that is no number", _POST + b"Content-Length: two\r\n\r\n{}", "6.3"),
    ("two-lengths", "two Content-Lengths", _POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", "6.3"),
    ("chunk-size", "a chunk size that is no number", _POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n", "7.1"),
    ("coding", "a transfer coding that nobody knows", _POST + b"Transfer-Encoding: rot13\r\n\r\n{}", "6.1"),
    ("long-header", "a header of 300 kB", _GET + b"Host: a\r\nX-A: " + b"a" * _LONG + b"\r\n\r\n", "5"),
    ("long-target", "a path of 300 kB", b"GET /" + b"a" * _LONG + b" HTTP/1.1\r\nHost: a\r\n\r\n", "3"),
)
for _name, _what, _lines, _section in _WRONG:
    HTTP.add(
        Level.ROBUST,
        _name,
        f"{_what} is refused (4xx, 501, 505 or closed), and the server lives on",
        partial(_refused, _lines),
        f"RFC 9112, {_section}",
    )


@HTTP.robust("smuggling", "Content-Length and chunked together: refused, or one answer and closed", "RFC 9112, 6.1")
def smuggling(target: Target) -> str:
    hidden = _head(target, "GET", "/v2")
    lines = ("Content-Type: application/json", f"Content-Length: {5 + len(hidden)}", "Transfer-Encoding: chunked")
    text = _all(target, _head(target, "POST", target.path("/infer"), *lines) + b"0\r\n\r\n" + hidden)
    statuses = re.findall(rb"HTTP/1\.[01] (\d{3})", text)
    expect(len(statuses) <= 1, f"{len(statuses)} answers: {b', '.join(statuses).decode()}")
    _expect_alive(target)
    return f"answered {statuses[0].decode()} and closed" if statuses else "the connection is closed"


def _all(target: Target, data: bytes) -> bytes:
    """Everything that a server sends until it closes, to a client that sends nothing more."""
    with target.client.connect() as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read()
        except ConnectionError:
            return b""


def _infer_body(target: Target) -> bytes:
    return json.dumps({"inputs": target.example()}).encode()


@HTTP.robust("chunked", "a request in chunks is read", "RFC 9112, 7.1")
def chunked(target: Target) -> str:
    body = _infer_body(target)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:7], body[7:])) + b"0\r\n\r\n"
    lines = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    answer = _exchange(target, _head(target, "POST", target.path("/infer"), *lines), chunks)
    expect_outputs(answer)
    return answer.seen


@HTTP.robust("pieces", "a request that comes byte by byte is read", "RFC 9112, 2.2")
def pieces(target: Target) -> str:
    body = _infer_body(target)
    lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    whole = _head(target, "POST", target.path("/infer"), *lines) + body
    answer = _exchange(target, *(whole[at : at + 1] for at in range(len(whole))))
    expect_outputs(answer)
    return answer.seen


@HTTP.robust("keep-alive", "a connection is used again", "RFC 9112, 9.3")
def keep_alive(target: Target) -> str:
    with target.client.connect() as connection:
        for _ in range(3):
            connection.sendall(_head(target, "GET", _LIVE))
            answer = _read(connection)
            expect(answer.status == 200, answer.seen)
    return "three answers on one connection"


@HTTP.robust("pipelining", "two requests at once get two answers, in order", "RFC 9112, 9.3.2")
def pipelining(target: Target) -> str:
    text = _all(target, _head(target, "GET", "/v2/no-such-path") + _head(target, "GET", "/v2", "Connection: close"))
    first, second = text.find(b"HTTP/1.1 404"), text.find(b"HTTP/1.1 200")
    expect(0 <= first < second, f"got {text[:200]!r}")
    return "404, then 200"


@HTTP.robust("expect", "Expect: 100-continue is answered before the body is sent", "RFC 9110, 10.1.1")
def expect_continue(target: Target) -> str:
    body = _infer_body(target)
    lines = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Expect: 100-continue")
    with target.client.connect() as connection:
        connection.sendall(_head(target, "POST", target.path("/infer"), *lines))
        interim = connection.recv(4096)
        expect(interim.startswith(b"HTTP/1.1 100"), f"got {interim[:80]!r}")
        connection.sendall(body)
        answer = _read(connection)
    expect_outputs(answer)
    return "100, then 200"


@HTTP.robust("http-1.0", "a request of HTTP/1.0 is answered, and the connection closed", "RFC 9112, 9.3")
def http_1_0(target: Target) -> str:
    with target.client.connect() as connection:
        connection.sendall(f"GET {target.client.prefix}{_LIVE} HTTP/1.0\r\n\r\n".encode())
        text = connection.makefile("rb").read()
    expect(text.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")), f"got {text[:80]!r}")
    return text.partition(b"\r\n")[0].decode("latin-1")


@HTTP.robust("head", "HEAD is GET without a body, or a 405", "RFC 9110, 9.3.2")
def head(target: Target) -> str:
    with target.client.connect() as connection:
        connection.sendall(_head(target, "HEAD", "/v2", "Connection: close"))
        text = connection.makefile("rb").read()
    top, _, body = text.partition(b"\r\n\r\n")
    status = top.split(b" ")[1:2]
    expect(status in ([b"200"], [b"405"]) and not body, f"got {text[:120]!r}")
    return top.partition(b"\r\n")[0].decode("latin-1")


@HTTP.robust("absolute-form", "a request line with a whole URL is understood", "RFC 9112, 3.2.2")
def absolute_form(target: Target) -> str:
    address = f"http://{target.client.host}:{target.client.port}{target.client.prefix}{_LIVE}"
    answer = _exchange(target, f"GET {address} HTTP/1.1\r\nHost: {target.client.host}\r\n\r\n".encode())
    expect(answer.status == 200, answer.seen)
    return answer.seen


@HTTP.robust("encoded-path", "a path with %6C is the path with l", "RFC 3986, 6.2.2.2")
def encoded_path(target: Target) -> str:
    answer = target.client.get("/v2/health/%6Cive")
    expect(answer.status == 200, answer.seen)
    return answer.seen


@HTTP.robust("query", "a query that nobody asked for makes no difference", "RFC 3986, 3.4")
def query(target: Target) -> str:
    answer = target.client.get(f"{_LIVE}?verbose=1")
    expect(answer.status == 200, answer.seen)
    return answer.seen


@HTTP.robust("half-a-body", "a client that goes away in the middle of its body harms nobody", "RFC 9112, 6.3")
def half_a_body(target: Target) -> str:
    with target.client.connect() as connection:
        connection.sendall(_head(target, "POST", target.path("/infer"), "Content-Length: 100000") + b"half")
    _expect_alive(target)
    return "the server lives on"
