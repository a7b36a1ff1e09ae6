"""The process of an operator: stores, controllers, leadership, health and metrics under one roof."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from slipway.kit.client import Client
from slipway.kit.controller import Controller
from slipway.kit.health import HealthServer
from slipway.kit.lease import LeaderElector, LeaseConfig
from slipway.kit.metrics import Metrics
from slipway.kit.objects import Kind
from slipway.kit.reflector import Reflector
from slipway.kit.store import Projection, Store
from slipway.kit.tasks import until_first

log = logging.getLogger(__name__)


class Manager:
    """Runs controllers, and the stores that they read.

    With `lease`, stores are kept warm in every replica and controllers run in the one that leads; without, as soon as
    all stores have been listed.
    `namespace` is the scope of all stores that name no other; None is the whole cluster. With `port`, probes and
    metrics are answered on `host:port`: `/healthz`, `/readyz`, `/metrics`; 0 takes a free port, `port` says which.
    """

    def __init__(
        self,
        client: Client,
        *,
        lease: LeaseConfig | None = None,
        namespace: str | None = None,
        host: str = "127.0.0.1",
        port: int | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.client = client
        self.metrics = metrics or Metrics()
        self.port = port
        self._host = host
        self._lease = lease
        self._namespace = namespace
        self._stores: dict[tuple[str, str, str | None, str | None], Store] = {}  # by kind, namespace and selector
        self._controllers: list[Controller] = []
        self._reflectors: list[Reflector] = []
        self._stopping = asyncio.Event()
        self._started = False

    def store(
        self,
        kind: Kind,
        *,
        projection: Projection | None = None,
        namespace: str | None = None,
        labels: str | None = None,
        optional: bool = False,
    ) -> Store:
        """The store of a kind in a namespace with a selector, made when there is none.

        `projection` is what is kept of each object, by default all but `managedFields`. `labels` is a selector. An
        `optional` kind may be missing from the API server: the store is empty, and `available` False, until it comes.
        RuntimeError after `run`, ValueError when the store is there with another projection.
        """
        scope = namespace or self._namespace
        place = (kind.api_version, kind.kind, scope, labels)
        if place in self._stores:
            return _same(self._stores[place], projection)
        if self._started:
            raise RuntimeError(f"The store of {kind.plural} has to be there before the manager runs.")
        store = Store(
            kind,
            projection=projection,
            namespace=scope if kind.namespaced else None,
            labels=labels,
            optional=optional,
        )
        self._stores[place] = store
        return store

    def find_store(self, api_version: str, kind: str) -> Store:
        """What `store` gives for a kind alone, by the names in its objects. LookupError when there is none."""
        store = self._stores.get((api_version, kind, self._namespace, None))
        if store is None:
            raise LookupError(f"The manager has no store of {kind} ({api_version}).")
        return store

    def add(self, controller: Controller) -> None:
        """Adds a controller, and the stores that it needs."""
        controller.bind(self, self.metrics)
        self._controllers.append(controller)

    def stop(self) -> None:
        """Ends `run`: what is in work is cut off, which a reconcile must bear anyhow, and the Lease given back."""
        self._stopping.set()

    async def run(self) -> None:
        """Runs until `stop`. Raises `LeaseLost` when another process may lead, OSError when the port is taken, and what
        a part of it died of: end the process then, and let it be started again.
        """
        self._started = True
        self._reflectors = [Reflector(self.client, store, metrics=self.metrics) for store in self._stores.values()]
        async with self._health_port():
            await until_first(self._stopping.wait(), *(reflector.run() for reflector in self._reflectors), self._lead())

    def healthy(self) -> list[str]:
        """What is wrong with this process, so that starting it again is the cure; a line each."""
        return [
            f"the watch of {reflector.store.kind.plural} has stopped"
            for reflector in self._reflectors
            if not reflector.alive()
        ]

    def ready(self) -> list[str]:
        """What is not there yet; a line each."""
        if not self._started or self._stopping.is_set():
            return ["not running"]
        return [
            f"{store.kind.plural} are not listed yet" for store in self._stores.values() if not store.synced.is_set()
        ]

    async def _lead(self) -> None:
        for store in self._stores.values():
            await store.synced.wait()  # who could not act does not stand for election
        if self._lease is None:
            await self._control(lambda: True)
            return
        elector = LeaderElector(self.client, self._lease)
        leader = self.metrics.leader.labels(self._lease.name)
        leader.set(0)
        await elector.acquire()
        leader.set(1)
        try:
            await until_first(elector.hold(), self._control(elector.leading))
        finally:
            leader.set(0)
            await elector.release()

    async def _control(self, may_write: Callable[[], bool]) -> None:
        await until_first(self._stopping.wait(), *(controller.run(may_write) for controller in self._controllers))

    @asynccontextmanager
    async def _health_port(self) -> AsyncIterator[None]:
        if self.port is None:
            yield
            return
        server = await HealthServer(self.metrics.registry, healthy=self.healthy, ready=self.ready).start(
            self._host, self.port
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()


def _same(store: Store, projection: Projection | None) -> Store:
    if projection is not None and projection is not store.projection:
        raise ValueError(f"There is a store of {store.kind.plural} with another projection already.")
    return store
