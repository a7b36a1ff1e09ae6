"""An API server with Pods and nothing else, over plain HTTP on loopback: what both peers of `kit.py` speak to.

    python benchmarks/kit_server.py OBJECTS

Prints its port. It answers discovery, lists (pages, streaming lists too) and watches; `GET /change?count=N&pause=S`
changes the first N Pods, one after the other, S seconds apart. Standard library only.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

KINDS = {"pods": "Pod", "namespaces": "Namespace", "events": "Event"}  # kopf does not start without the last two
RESOURCES = {
    "kind": "APIResourceList",
    "groupVersion": "v1",
    "resources": [
        {
            "name": plural,
            "singularName": kind.lower(),
            "namespaced": plural != "namespaces",
            "kind": kind,
            "verbs": ["get", "list", "watch", "patch", "create"],
        }
        for plural, kind in KINDS.items()
    ],
}
DISCOVERY: dict[str, dict[str, Any]] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "groups": []},
    "/api/v1": RESOURCES,
    "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.1"},
}


def pod(number: int, version: int) -> dict[str, Any]:
    """A Pod as a Deployment makes them, of about 5 kB."""
    name = f"model-{number:05}-7d9c5b6f8d-x{number % 97:02}"
    labels = {
        "app.kubernetes.io/name": "model",
        "slipway.dev/modelservice": f"m{number // 3}",
        "pod-template-hash": "7",
    }
    condition = {"status": "True", "lastProbeTime": None, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    probe = {"httpGet": {"path": "/v2/health/ready", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 5}
    fields = {f"f:field-{item}": {"f:name": {}, "f:value": {}, ".": {}} for item in range(50)}
    container = {
        "name": "model",
        "image": "registry.example/slipway/serving:0.1.0",
        "args": ["/models/iris", "--name", "iris"],
        "env": [{"name": f"VARIABLE_{item}", "value": f"some value of {item}"} for item in range(12)],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "readinessProbe": probe,
        "livenessProbe": probe,
        "volumeMounts": [{"name": f"v{item}", "mountPath": f"/mnt/{item}"} for item in range(4)],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": f"team-{number % 20}",
            "uid": f"00000000-0000-4000-8000-{number:012}",
            "resourceVersion": str(version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": labels,
            "annotations": {"example.com/checksum": "0123456789abcdef" * 4},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": f"model-{number // 3}-7d9c5b6f8d",
                    "uid": f"10000000-0000-4000-8000-{number // 3:012}",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "managedFields": [{"manager": "kubelet", "operation": "Update", "apiVersion": "v1", "fieldsV1": fields}],
        },
        "spec": {
            "nodeName": f"node-{number % 50}",
            "containers": [container],
            "volumes": [{"name": f"v{item}", "emptyDir": {}} for item in range(4)],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300}],
        },
        "status": {
            "phase": "Running",
            "podIP": f"10.244.{number // 250 % 250}.{number % 250}",
            "conditions": [{"type": kind, **condition} for kind in ("PodScheduled", "Initialized", "Ready")],
            "containerStatuses": [{"name": "model", "ready": True, "restartCount": 0, "state": {"running": {}}}],
        },
    }


class Server:
    """Holds each Pod encoded, and the watches that are open."""

    def __init__(self, count: int) -> None:
        self._version = count
        self._pods = [self._encoded(number, number + 1) for number in range(count)]
        self._watches: set[asyncio.StreamWriter] = set()
        self._background: set[asyncio.Task[None]] = set()

    @staticmethod
    def _encoded(number: int, version: int) -> bytes:
        return json.dumps(pod(number, version), separators=(",", ":")).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until the client closes it."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                target = urlsplit(head.split(" ", 2)[1])
                query = {key: values[0] for key, values in parse_qs(target.query).items()}
                if query.get("watch") == "true":
                    await self._watch(reader, writer, query)
                    return
                writer.write(_answer(self._body(target.path, query)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _body(self, path: str, query: dict[str, str]) -> bytes:
        if path == "/change":
            task = asyncio.create_task(self._change(int(query["count"]), float(query["pause"])))
            self._background.add(task)
            task.add_done_callback(self._background.discard)
            return b"{}"
        if path == "/api/v1/pods":
            return self._list(int(query.get("continue", 0)), int(query.get("limit") or len(self._pods)))
        return json.dumps(DISCOVERY[path]).encode()

    def _list(self, start: int, size: int) -> bytes:
        items = b",".join(self._pods[start : start + size])
        following = str(start + size) if start + size < len(self._pods) else ""
        metadata = json.dumps({"resourceVersion": str(self._version), "continue": following}).encode()
        return b'{"kind":"PodList","apiVersion":"v1","metadata":' + metadata + b',"items":[' + items + b"]}"

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, query: dict[str, str]) -> None:
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode())
        if query.get("sendInitialEvents") == "true":
            for encoded in self._pods:
                writer.write(_event(b"ADDED", encoded))
                await writer.drain()
            metadata = {
                "resourceVersion": str(self._version),
                "annotations": {"k8s.io/initial-events-end": "true"},
            }
            end = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
            writer.write(_event(b"BOOKMARK", json.dumps(end).encode()))
        self._watches.add(writer)
        try:
            await reader.read()
        finally:
            self._watches.discard(writer)

    async def _change(self, count: int, pause: float) -> None:
        changed = [self._encoded(number, self._version + number + 1) for number in range(count)]
        self._version += count
        self._pods[:count] = changed
        for encoded in changed:
            for writer in self._watches:
                writer.write(_event(b"MODIFIED", encoded))
                await writer.drain()
            await asyncio.sleep(pause)


def _answer(body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _event(kind: bytes, encoded: bytes) -> bytes:
    line = b'{"type":"' + kind + b'","object":' + encoded + b"}\n"
    return f"{len(line):x}\r\n".encode() + line + b"\r\n"


async def main() -> None:
    server = await asyncio.start_server(Server(int(sys.argv[1])).serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
