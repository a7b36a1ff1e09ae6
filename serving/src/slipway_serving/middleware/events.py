"""CloudEvents 1.0 over HTTP, in binary mode (github.com/cloudevents/spec, bindings/http-protocol-binding.md)."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

_TIMEOUT_SECONDS = 5.0
_MOST_READ = 64 << 10
_OK = range(200, 300)
_VISIBLE = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")


class SinkError(Exception):
    """The event was not taken."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event; `attributes` are its context attributes, without the prefix that they have as headers."""

    attributes: Mapping[str, str]
    content_type: str
    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers of HTTP, for those who read the data."""

    def all_headers(self) -> dict[str, str]:
        own = {f"ce-{name}": quote(value, safe=_VISIBLE) for name, value in self.attributes.items() if value}
        return {**self.headers, "ce-specversion": "1.0", **own, "content-type": self.content_type}


class Sink:
    """An endpoint (http or https) that takes events, over one connection. Follows no redirect. For one thread."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if parts.scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context()
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)

    def send(self, event: Event) -> None:
        """Raises SinkError. An event is sent again only over a connection that had been open and turned out closed."""
        was_open = self._connection.sock is not None
        try:
            try:
                self._post(event)
            except (ConnectionError, http.client.RemoteDisconnected):
                if not was_open:
                    raise
                self._connection.close()
                self._post(event)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise SinkError(f"{type(error).__name__}: {error}") from error

    def _post(self, event: Event) -> None:
        self._connection.request("POST", self._target, event.data, event.all_headers())
        response = self._connection.getresponse()
        response.read(_MOST_READ)
        if not response.isclosed():
            self._connection.close()
        if response.status not in _OK:
            raise SinkError(f"the sink answered {response.status}")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.close()
