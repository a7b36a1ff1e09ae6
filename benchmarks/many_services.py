"""How fast the operator makes many ModelServices what they say, what a second pass writes, and how large it becomes.

    python benchmarks/many_services.py [fixed|autoscaled] [COUNT …]

For each COUNT (default: 200 1000): a local cluster with the platform, COUNT ModelServices applied at once, for nodes
that do not exist, so that no pod starts: measured are the operator, the API server and the controllers beside it.
`fixed` (default) is a ModelService that says nothing of scaling; `autoscaled` ones have an autoscaler each, which asks
for the metrics of pods that are not there, and writes events about it, all the while.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from provenance import keep

from slipway.cluster import lifecycle
from slipway.kit.objects import (
    CONTROLLER_REVISION,
    DEPLOYMENT,
    HPA,
    HTTP_ROUTE,
    MODEL_SERVICE,
    NETWORK_POLICY,
    PDB,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
)
from slipway.kit.objects import NAMESPACE as NAMESPACES
from slipway.kit.rest import RestClient
from slipway.progress import LineProgress

QUIET = LineProgress(io.StringIO())
NAME = "bench"
NAMESPACE = "many"
SYSTEM = "slipway-system"
BOUNDS = {
    ("200 reconciled", "reconciled_s", 200): 30.0,
    ("1000 reconciled", "reconciled_s", 1000): 150.0,
    ("memory at 200", "memory_mib", 200): 120.0,
}
CHILDREN = (
    SERVICE_ACCOUNT,
    SERVICE,
    DEPLOYMENT,
    HPA,
    PDB,
    HTTP_ROUTE,
    NETWORK_POLICY,
    CONTROLLER_REVISION,
    MODEL_SERVICE,
)
PATIENCE = 600.0


SCALING: dict[str, dict[str, int]] = {"fixed": {}, "autoscaled": {"min": 1, "max": 3}}


def model_service(number: int, scaling: dict[str, int]) -> dict[str, Any]:
    return {
        "apiVersion": MODEL_SERVICE.api_version,
        "kind": MODEL_SERVICE.kind,
        "metadata": {"name": f"iris-{number}", "namespace": NAMESPACE},
        "spec": {
            "model": {"uri": f"oci://registry.example/iris@sha256:{number:064x}", "format": "onnx"},
            "server": {"podTemplate": {"nodeSelector": {"example.com/absent": "true"}}},
            "scaling": scaling,
        },
    }


async def everything(client: RestClient, kind: Kind, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    items, token = [], None
    while True:
        page = await client.list(kind, namespace, limit=500, continue_=token)
        items += page.items
        token = page.continue_
        if not token:
            return items


async def reconciled(client: RestClient, count: int) -> None:
    """Until each has its children and a status of its generation. Lists are long: the API server counts before them."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if await counted(client, HTTP_ROUTE) == count:
            found = await everything(client, MODEL_SERVICE)
            if all(item.get("status", {}).get("conditions") for item in found):
                return
        await asyncio.sleep(0.5)
    raise SystemExit(f"{count} ModelServices were not reconciled in {PATIENCE:.0f} s.")


async def counted(client: RestClient, kind: Kind) -> int:
    answer = json.loads(await client.raw("GET", kind.url(NAMESPACE) + "?limit=1"))
    return len(answer["items"]) + answer["metadata"].get("remainingItemCount", 0)


async def versions(client: RestClient) -> dict[str, str]:
    """The resource version of every object of ours."""
    return {
        f"{kind.kind} {item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for kind in CHILDREN
        for item in await everything(client, kind)
    }


async def settled(client: RestClient) -> dict[str, str]:
    """The versions, once nothing has been written for ten seconds."""
    before = await versions(client)
    while True:
        await asyncio.sleep(10)
        after = await versions(client)
        if after == before:
            return after
        before = after


async def operators(client: RestClient) -> list[str]:
    pods = await client.list(POD, SYSTEM, labels="app.kubernetes.io/name=slipway-operator")
    return [pod["metadata"]["name"] for pod in pods.items]


async def memory(client: RestClient) -> float:
    """The largest resident size of an operator's process, in MiB, by its own metrics."""
    sizes = []
    for pod in await operators(client):
        text = (await client.raw("GET", POD.url(SYSTEM, f"{pod}:8080", "proxy") + "/metrics")).decode()
        sizes += [float(row.split()[1]) for row in text.splitlines() if row.startswith("process_resident_memory_bytes")]
    return max(sizes) / 2**20


async def second_pass(client: RestClient) -> int:
    """How many objects change when every operator is started again and looks at all of them."""
    before = await settled(client)
    for pod in await operators(client):
        await client.delete(POD, pod, SYSTEM)
    await asyncio.sleep(30)
    after = await settled(client)
    return sum(before.get(name) != version for name, version in after.items()) + len(before.keys() - after.keys())


async def measure(kubeconfig: Path, count: int, scaling: dict[str, int]) -> dict[str, float]:
    async with RestClient.from_kubeconfig(kubeconfig, rate=2000.0, burst=2000) as client:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        await client.create(NAMESPACES, namespace)
        started = time.monotonic()
        await asyncio.gather(
            *(client.apply(MODEL_SERVICE, model_service(number, scaling), manager="bench") for number in range(count))
        )
        applied = time.monotonic() - started
        await reconciled(client, count)
        took = time.monotonic() - started
        size = await memory(client)
        writes = await second_pass(client)
        again = await memory(client)
    return {
        "applied_s": round(applied, 2),
        "reconciled_s": round(took, 2),
        "memory_mib": round(size, 1),
        "second_pass_writes": writes,
        "memory_after_restart_mib": round(again, 1),
    }


def one(count: int, scaling: dict[str, int]) -> dict[str, float]:
    """A cluster from nothing, and away again."""
    cluster = lifecycle.create(NAME, 1, QUIET)
    try:
        command = [sys.executable, "-m", "slipway", "up", "--name", NAME]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return asyncio.run(measure(cluster.kubeconfig, count, scaling))
    finally:
        lifecycle.delete(NAME, QUIET)


def main() -> None:
    words = sys.argv[1:]
    kind = words.pop(0) if words and words[0] in SCALING else "fixed"
    counts = [int(word) for word in words] or [200, 1000]
    home = tempfile.mkdtemp(prefix="slipway-bench-", dir=Path.home())
    os.environ["SLIPWAY_HOME"] = home
    figures = {str(count): one(count, SCALING[kind]) for count in counts}
    shutil.rmtree(home)
    ratios = {
        name: round(figures[str(count)][measured] / bound, 2)
        for (name, measured, count), bound in BOUNDS.items()
        if str(count) in figures
    }
    keep(f"many_services_{kind}", {"by_count": figures, "of_the_bound": ratios})


if __name__ == "__main__":
    main()
