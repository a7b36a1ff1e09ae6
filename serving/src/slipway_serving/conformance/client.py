"""HTTP as the suite needs it: exact about what is sent, and strict about what comes back."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from typing import Any, NoReturn
from urllib.parse import urlsplit

from slipway_serving.conformance.checks import CheckFailed

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def seen(self) -> str:
        """In one line, for the table."""
        text = " ".join(self.body[: 4 * _SHOWN].decode("utf-8", "backslashreplace").split())
        return f"{self.status} {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}".strip()

    def document(self) -> Any:
        """The decoded JSON body. Raises CheckFailed for anything that RFC 8259 does not allow, as NaN."""
        return parse_json(self.body, self.seen)

    def object(self) -> dict[str, Any]:
        """As `document`, which has to be an object."""
        document = self.document()
        if not isinstance(document, dict):
            raise CheckFailed(f"not a JSON object: {self.seen}")
        return document


def parse_json(text: bytes, seen: str) -> Any:
    """Decodes JSON. Raises CheckFailed."""

    def refuse(constant: str) -> NoReturn:
        raise CheckFailed(f"the body has {constant}, which is not JSON: {seen}")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise CheckFailed(f"the body is not JSON: {seen}") from None


class Client:
    """Requests to one server, each on a connection of its own."""

    def __init__(self, url: str, *, timeout: float = 10.0, authorization: str = "") -> None:
        """Raises ValueError for what is no http or https URL."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"'{url}' is not the address of a server; for example http://localhost:8080")
        self.url = url
        self.host = parts.hostname
        self.secure = parts.scheme == "https"
        self.port = parts.port or (443 if self.secure else 80)
        self.prefix = parts.path.rstrip("/")
        self.timeout = timeout
        self._headers = {"authorization": authorization} if authorization else {}

    def send(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Sends exactly these headers besides Host and Content-Length. Raises OSError, HTTPException."""
        make = HTTPSConnection if self.secure else HTTPConnection
        connection = make(self.host, self.port, timeout=self.timeout)
        try:
            sent = {**self._headers, **(headers or {})}
            connection.request(method, self.prefix + path, body or (b"" if method == "POST" else None), sent)
            response = connection.getresponse()
            content = response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, content)
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def post(self, path: str, document: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Posts a JSON document; bytes are sent as they are."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.send("POST", path, body, {"content-type": "application/json", **(headers or {})})

    def connect(self) -> socket.socket:
        """A plain connection, for what is no HTTP. Raises OSError."""
        plain = socket.create_connection((self.host, self.port), self.timeout)
        if not self.secure:
            return plain
        return ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)
