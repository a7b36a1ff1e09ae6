"""How PID 1 of a node speaks to the API server: two calls, with the standard library only."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path

from slipway.cluster.addons import addons
from slipway.cluster.layout import API_PORT, Layout, Node

TIMEOUT = 5.0


class NodeApi:
    """One node's view of the API server: its own on the control plane, else the control plane's."""

    def __init__(self, layout: Layout, node: Node, etc: Path) -> None:
        self._host = "127.0.0.1" if node.control_plane else layout.control_plane.address
        self._etc = etc
        self._identity = "admin" if node.control_plane else "kubelet"
        self._context: ssl.SSLContext | None = None

    def ready(self) -> bool:
        """Whether `/readyz` answers 200."""
        try:
            return self._call("GET", "/readyz") == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def apply_addons(self, node: Node) -> bool:
        """Applies the control plane's own objects; False when that must be tried again."""
        authority = (self._etc / "ca.crt").read_bytes()
        try:
            return all(self._apply(path, manifest) for path, manifest in addons(node, authority))
        except (OSError, http.client.HTTPException):
            return False

    def _apply(self, path: str, manifest: object) -> bool:
        status = self._call("PATCH", f"{path}?fieldManager=slipway-node&force=true", json.dumps(manifest))
        return status in {http.client.OK, http.client.CREATED}

    def _call(self, method: str, path: str, body: str | None = None) -> int:
        if self._context is None:
            self._context = ssl.create_default_context(cafile=str(self._etc / "ca.crt"))
            self._context.load_cert_chain(self._etc / f"{self._identity}.crt", self._etc / f"{self._identity}.key")
        connection = http.client.HTTPSConnection(self._host, API_PORT, timeout=TIMEOUT, context=self._context)
        try:
            connection.request(method, path, body, {"Content-Type": "application/apply-patch+yaml"} if body else {})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST and body:
            print(f"{method} {path}: {response.status} {answer.decode(errors='replace')[:300]}", flush=True)  # noqa: T201 - PID 1's log
        return response.status
