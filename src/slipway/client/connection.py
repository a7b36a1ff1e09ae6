"""A connection to one cluster: model services, and what belongs to them, as Kubernetes objects."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx2

from slipway.client.change import FIELD_MANAGER
from slipway.client.errors import InvalidInputError, NotFoundError, near, translated
from slipway.client.target import Target, Where, resolve
from slipway.kit import client as kit
from slipway.kit.access import Access
from slipway.kit.credentials import ConfigError
from slipway.kit.objects import CONTROLLER_REVISION, EVENT, MODEL_SERVICE, NAMESPACE, POD, Kind, Manifest
from slipway.kit.rest import RestClient
from slipway.kit.websocket import WebSockets

SELECTOR = "slipway.dev/modelservice"
_PAGE = 500
_REREAD = 5.0  # seconds: events are not watched, and a watch may be lost
_RECONNECT = 1.0  # seconds
_NOT_INSTALLED = "Install it: `slipway up`, or `slipway up --context NAME` on an existing cluster."


Manifests = list[Manifest]
Names = list[str]  # within the class, `list` is a call


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model service and what belongs to it, read at one time."""

    service: Manifest
    pods: list[Manifest]
    events: list[Manifest]


class Connection:
    """The model services of one cluster. Every call raises the errors of `slipway.client.errors`.

    `sockets` opens streams to pods, for `port_forward`; without it, that is refused.
    """

    def __init__(
        self,
        api: kit.Client,
        *,
        context: str = "the cluster",
        namespace: str = "default",
        sockets: WebSockets | None = None,
    ) -> None:
        self.api = api
        self.context = context
        self.namespace = namespace
        self.sockets = sockets

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, context: str | None = None, namespace: str | None = None, *, kubeconfig: Path | str | None = None
    ) -> AsyncIterator[Self]:
        """A client of the cluster that the command line would mean, see `slipway.client.target`.

        In a pod, and where nothing else is said, the cluster that the pod runs in. The namespace is the context's, or
        the pod's, unless given.
        """
        where = Where(context, Path(kubeconfig) if kubeconfig else None, namespace)
        try:
            target = resolve(where)
        except NotFoundError:
            if context or kubeconfig or "KUBERNETES_SERVICE_HOST" not in os.environ:
                raise
            access = Access.in_cluster()
            async with RestClient(access, user_agent=FIELD_MANAGER) as api:
                yield cls(api, context="this cluster", namespace=namespace or access.namespace, sockets=api)
            return
        async with cls.to(target) as client:
            yield client

    @classmethod
    @asynccontextmanager
    async def to(cls, target: Target) -> AsyncIterator[Self]:
        """A client of one context. A local cluster is on this machine: no proxy of the environment knows it."""
        try:
            access = Access.from_kubeconfig(target.kubeconfig, target.context)
        except ConfigError as error:
            raise InvalidInputError(str(error), "Name another with `--kubeconfig` or `--context`.") from error
        direct = httpx2.AsyncHTTPTransport(verify=access.verify) if target.cluster else None
        async with RestClient(access, transport=direct, user_agent=FIELD_MANAGER) as api:
            yield cls(api, context=target.context, namespace=target.namespace, sockets=api)

    async def version(self) -> str:
        """The version of Kubernetes, such as `v1.37.1`."""
        with self.errors():
            return str(json.loads(await self.api.raw("GET", "/version")).get("gitVersion", ""))

    async def list(self, *, all_namespaces: bool = False) -> Manifests:
        """The model services of the namespace, or of all, by namespace and name."""
        with self.errors():
            found = await self._items(MODEL_SERVICE, None if all_namespaces else self.namespace)
        return sorted(found, key=lambda item: (item["metadata"].get("namespace", ""), item["metadata"]["name"]))

    async def get(self, name: str) -> Manifest:
        """One model service; `NotFoundError` names a near one."""
        with self.errors():
            try:
                return await self.api.get(MODEL_SERVICE, name, self.namespace)
            except kit.NotFound:
                pass
        names = [item["metadata"]["name"] for item in await self.list()]
        hint = "List those of all namespaces: slipway list -A"
        raise NotFoundError(f"There is no model service {name} in {self._place()}{near(name, names) or '.'}", hint)

    async def snapshot(self, name: str) -> Snapshot:
        """One model service with its pods and events."""
        service = await self.get(name)
        with self.errors():
            pods = await self.pods(name)
            names = {name} | {pod["metadata"]["name"] for pod in pods}
            events = [event for event in await self._items(EVENT, self.namespace) if _about(event) in names]
        return Snapshot(service, pods, events)

    async def pods(self, name: str) -> Manifests:
        """The pods of one model service, by name."""
        with self.errors():
            found = await self._items(POD, self.namespace, labels=f"{SELECTOR}={name}")
        return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))

    async def find(self, name: str) -> Manifest | None:
        """One model service, None where there is none; `NotFoundError` when the platform is not installed."""
        with self.errors():
            found = await self._items(MODEL_SERVICE, self.namespace, fields=f"metadata.name={name}")
        return found[0] if found else None

    async def apply(
        self, manifest: Manifest, *, force: bool = False, dry_run: bool = False, manager: str = FIELD_MANAGER
    ) -> Manifest:
        """Creates or changes a model service by server-side apply; with `dry_run` the server only tries.

        `ConflictError` when another manager owns a field with another value, unless `force` takes it over.
        """
        with self.errors():
            return await self.api.apply(MODEL_SERVICE, manifest, manager=manager, force=force, dry_run=dry_run)

    async def watch(self, name: str) -> AsyncGenerator[Snapshot]:
        """The model service now, and after each change of it or of its pods, every 5 s at least, until it is gone.

        A lost connection is taken up again; raises what `snapshot` raises.
        """
        changed = asyncio.Event()
        triggers = [
            self._trigger(changed, MODEL_SERVICE, self.namespace, fields=f"metadata.name={name}"),
            self._trigger(changed, POD, self.namespace, labels=f"{SELECTOR}={name}"),
        ]
        async with aclosing(_whenever(changed, triggers)) as turns:
            async for _ in turns:
                yield await self.snapshot(name)

    async def watch_all(self, *, all_namespaces: bool = False) -> AsyncGenerator[Manifests]:
        """The model services now, and after each change, every 5 s at least, without end; as `watch`."""
        changed = asyncio.Event()
        place = None if all_namespaces else self.namespace
        async with aclosing(_whenever(changed, [self._trigger(changed, MODEL_SERVICE, place)])) as turns:
            async for _ in turns:
                yield await self.list(all_namespaces=all_namespaces)

    async def _trigger(
        self,
        changed: asyncio.Event,
        kind: Kind,
        namespace: str | None,
        *,
        labels: str | None = None,
        fields: str | None = None,
    ) -> None:
        """Sets the event at each change, for ever. What changed is read afresh, so that a lost event loses nothing."""
        while True:
            with suppress(kit.ApiError, kit.Unreachable):
                async for _ in self.api.watch(kind, namespace, labels=labels, fields=fields):
                    changed.set()
            await asyncio.sleep(_RECONNECT)
            changed.set()  # who knows what happened meanwhile

    async def delete(self, name: str, *, dry_run: bool = False) -> None:
        """Deletes one model service; Kubernetes deletes what belongs to it. With `dry_run` the server only tries."""
        service = await self.get(name)
        with self.errors():
            if dry_run:
                await self.api.raw("DELETE", f"{MODEL_SERVICE.url(self.namespace, name)}?dryRun=All")
            else:
                await self.api.delete(MODEL_SERVICE, name, self.namespace, uid=service["metadata"].get("uid"))

    async def controller_revisions(self, name: str) -> Manifests:
        """The ControllerRevisions of one model service."""
        with self.errors():
            return await self._items(CONTROLLER_REVISION, self.namespace, labels=f"{SELECTOR}={name}")

    async def namespaces(self) -> Names:
        """The names of all namespaces."""
        with self.errors():
            return sorted(str(item["metadata"]["name"]) for item in await self._items(NAMESPACE, None))

    async def _items(
        self, kind: Kind, namespace: str | None, *, labels: str | None = None, fields: str | None = None
    ) -> Manifests:
        """All pages of a list."""
        items: Manifests = []
        token: str | None = None
        try:
            while True:
                page = await self.api.list(kind, namespace, labels=labels, fields=fields, limit=_PAGE, continue_=token)
                items += page.items
                token = page.continue_
                if not token:
                    return items
        except kit.NotFound as error:  # a list is only absent when its kind is
            if kind is not MODEL_SERVICE:
                raise
            raise NotFoundError(f"The platform is not installed on {self.context}.", _NOT_INSTALLED) from error

    def _place(self) -> str:
        return f"namespace {self.namespace} of {self.context}"

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns the errors of the kit's client into sentences about this cluster."""
        with translated(self.context):
            yield


async def _whenever(changed: asyncio.Event, triggers: list[Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    """Now, and whenever the triggers set the event, and every 5 s."""
    tasks = [asyncio.create_task(trigger) for trigger in triggers]
    try:
        while True:
            changed.clear()
            yield
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), _REREAD)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _about(event: Manifest) -> str:
    return str(event.get("involvedObject", {}).get("name", ""))
