"""A small operator for tests: children from an object, and a status from the children."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from slipway.kit.apply import Applier
from slipway.kit.controller import Controller, Result
from slipway.kit.manager import Manager
from slipway.kit.objects import DEPLOYMENT, MODEL_SERVICE, SERVICE, Key, Manifest
from slipway.kit.status import write_status
from slipway.kit.testing import ApiServer

KEY = Key("default", "iris")


def service(name: str = "iris", replicas: int = 1, *, exposed: bool = True) -> Manifest:
    return {
        "apiVersion": MODEL_SERVICE.api_version,
        "kind": MODEL_SERVICE.kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": replicas, "exposed": exposed},
    }


def children(owner: Manifest) -> list[Manifest]:
    metadata = {"name": owner["metadata"]["name"], "namespace": owner["metadata"]["namespace"]}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": owner["spec"]["replicas"]}}
    exposed = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}}
    wanted = [deployment, exposed] if owner["spec"]["exposed"] else [deployment]
    return [{**child, "metadata": dict(metadata)} for child in wanted]


class Small:
    """A controller as real ones are: children from the object, and a status from the children."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._services = manager.store(MODEL_SERVICE)
        self._deployments = manager.store(DEPLOYMENT)
        self._applier = Applier(manager.client, manager.find_store)
        self.stale = 0

    async def reconcile(self, key: Key) -> Result:
        owner = self._services.get(key)
        if owner is None:
            return Result()
        await self._applier.apply_children(owner, children(owner), prune_kinds=[DEPLOYMENT, SERVICE])
        deployment = self._deployments.get(key)
        ready = (deployment or {}).get("spec", {}).get("replicas", 0)
        await write_status(self._client, MODEL_SERVICE, owner, {"replicas": ready})
        return Result()


class Scripted:
    """Does with each key what it is told."""

    def __init__(self, act: Callable[[Key], Result | Exception]) -> None:
        self.keys: list[tuple[float, str]] = []
        self._act = act

    async def reconcile(self, key: Key) -> Result:
        self.keys.append((asyncio.get_running_loop().time(), key.name))
        outcome = self._act(key)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@asynccontextmanager
async def running(manager: Manager) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(manager.run())
    await asyncio.sleep(1)
    try:
        yield task
    finally:
        manager.stop()
        await asyncio.gather(task, return_exceptions=True)


def small(server: ApiServer) -> Manager:
    manager = Manager(server)
    manager.add(Controller(MODEL_SERVICE, Small(manager)).owns(DEPLOYMENT, SERVICE))
    return manager


def assert_settled(server: ApiServer) -> None:
    """The children are what the objects say, no more and no less, and so is the status."""
    owners = server.objects(MODEL_SERVICE)
    deployments, services = server.objects(DEPLOYMENT), server.objects(SERVICE)
    assert set(deployments) == set(owners)
    assert set(services) == {key for key, owner in owners.items() if owner["spec"]["exposed"]}
    for key, owner in owners.items():
        assert deployments[key]["spec"] == {"replicas": owner["spec"]["replicas"]}
        assert owner["status"] == {"replicas": owner["spec"]["replicas"]}
