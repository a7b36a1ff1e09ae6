"""The client of one cluster, for programs and for the command line.

What a method needs beyond the connection is imported when it is called: a command imports all of this and needs a part.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from slipway.client.change import FIELD_MANAGER, Scale
from slipway.client.connection import SELECTOR, Connection, Manifests, Snapshot
from slipway.client.errors import FailedError
from slipway.kit.objects import Manifest

if TYPE_CHECKING:
    from slipway.client.forward import Forward, Report
    from slipway.client.logs import Line
    from slipway.views.revisions import Revision

__all__ = ["FIELD_MANAGER", "SELECTOR", "AsyncClient", "Manifests", "Snapshot"]


class AsyncClient(Connection):
    """The model services of one cluster.

    `async with AsyncClient.connect() as client` is the cluster that the command line would mean. Model services are
    Kubernetes objects as in JSON; `slipway.views` reads them. Every call raises the errors of `slipway.client.errors`.
    """

    async def deploy(
        self,
        name: str,
        uri: str,
        *,
        model_format: str | None = None,
        minimum: int | None = None,
        maximum: int | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> Manifest:
        """Serves the model of a URI, `minimum` to `maximum` replicas; what is not said stays as it is.

        Does not wait: see `wait`. `push` a local model first, with `slipway.client.push` or `slipway push`.
        """
        from slipway.client.change import deployed
        from slipway.client.manifest import Wish, check_manifest, keep, model_service
        from slipway.client.names import check_name

        check_name(name)
        existing = await self.find(name)
        wish = keep(Wish(name, uri, model_format, minimum, maximum), existing)
        manifest = check_manifest(deployed(existing, model_service(wish, self.namespace)), name)
        return await self.apply(manifest, force=force, dry_run=dry_run)

    async def wait(self, name: str, seconds: float = 300.0) -> Manifest:
        """The model service, once it answers with its newest revision.

        `FailedError` when waiting cannot help, with the kubelet's words; `WaitTimeoutError` after `seconds`.
        """
        from slipway.client.wait import wait_ready

        return await wait_ready(self, name, seconds, lambda _: None)

    async def rollout_status(self, name: str, seconds: float = 300.0) -> Manifest:
        """As `wait`, and `PausedError` once the rollout has waited for a minute for something, such as room."""
        from slipway.client.wait import PATIENCE, wait_ready

        return await wait_ready(self, name, seconds, lambda _: None, patience=PATIENCE)

    async def scale(
        self,
        name: str,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> Manifest:
        """Another number of replicas (both the same), or another range; None stays as it is. Does not wait."""
        from slipway.client import rollout

        wish = Scale(minimum, maximum)
        return await rollout.scale(self, await self.get(name), wish, force=force, dry_run=dry_run)

    async def revisions(self, name: str) -> Sequence[Revision]:
        """The revisions that are kept, oldest first."""
        from slipway.client import rollout

        return (await rollout.history(self, name)).revisions

    async def undo(
        self, name: str, revision: int | None = None, *, force: bool = False, dry_run: bool = False
    ) -> Manifest:
        """Goes back to a revision by its number, or to the one before. Does not wait."""
        from slipway.client import rollout

        past = await rollout.history(self, name)
        return await rollout.undo(self, past, past.number(revision), force=force, dry_run=dry_run)

    async def restart(self, name: str, *, dry_run: bool = False) -> Manifest:
        """Has all pods replaced, a few at a time. Does not wait."""
        from slipway.client import rollout

        return await rollout.restart(self, await self.get(name), dry_run=dry_run)

    async def predict(self, name: str, data: Any = None) -> Any:
        """The model's answer to JSON data, through the API server; without data an example of what to ask.

        A request of the Open Inference Protocol V2 goes to `/v2/models/NAME/infer`, everything else to `/predict`.
        """
        from slipway.client.predict import ask_api, patience, question

        service = await self.get(name)
        ask = question(name, None if data is None else json.dumps(data))
        namespace = service["metadata"].get("namespace", self.namespace)
        with self.errors():
            body = await ask_api(self.api, namespace, name, ask, patience(service))
        try:
            return json.loads(body)
        except ValueError:
            raise FailedError(
                f"{name} answered with something that is not JSON.", f"Read `slipway logs {name}`."
            ) from None

    async def events(self, name: str) -> Manifests:
        """The events about one model service and its pods."""
        return (await self.snapshot(name)).events

    def logs(
        self, name: str, *, following: bool = False, previous: bool = False, tail: int | None = None
    ) -> AsyncGenerator[Line]:
        """The logs of all replicas, across restarts; with `following` without end. `tail`: last lines of each."""
        from slipway.client.logs import LogQuery, follow, logs

        query = LogQuery(previous=previous, tail=tail)
        return follow(self, name, query) if following else logs(self, name, query)

    def port_forward(
        self, name: str, local: int = 0, remote: int | None = None, report: Report | None = None
    ) -> AbstractAsyncContextManager[Forward]:
        """A local port, any free one by default, that leads to a ready pod while the block runs; its `port` is it."""
        from slipway.client import forward

        return forward.forward(self, name, forward.Ports(local, remote), forward.silent if report is None else report)
