"""The client for programs that are not asynchronous: the same calls, carried out by a loop in a thread of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

from anyio.from_thread import start_blocking_portal

from slipway.client.client import AsyncClient
from slipway.client.connection import Manifests, Snapshot
from slipway.client.forward import Forward
from slipway.client.logs import Line
from slipway.kit.objects import Manifest
from slipway.views.revisions import Revision

P = ParamSpec("P")
T = TypeVar("T")


class Client:
    """The model services of one cluster; the one that the command line would mean, unless said otherwise.

    Close it, or use it as a context manager. Threads may share it. Each method is the one of `AsyncClient` of that
    name, where it is described. An iterator that is left early should be closed, as generators are.
    """

    def __init__(
        self, context: str | None = None, namespace: str | None = None, *, kubeconfig: Path | str | None = None
    ) -> None:
        self._open(lambda: AsyncClient.connect(context, namespace, kubeconfig=kubeconfig))

    @classmethod
    def using(cls, connect: Callable[[], AbstractAsyncContextManager[AsyncClient]]) -> Self:
        """A client whose connection is opened so, for example one to an API server in memory."""
        self = cls.__new__(cls)
        self._open(connect)
        return self

    def _open(self, connect: Callable[[], AbstractAsyncContextManager[AsyncClient]]) -> None:
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal(name="slipway-client"))
            stack.callback(self._portal.call, partial(self._portal.stop, cancel_remaining=True))
            self._client = stack.enter_context(self._portal.wrap_async_context_manager(connect()))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends what is under way and closes every connection; may be called twice."""
        self._stack.close()

    @property
    def context(self) -> str:
        return self._client.context

    @property
    def namespace(self) -> str:
        return self._client.namespace

    def version(self) -> str:
        return self._call(self._client.version)

    def list(self, *, all_namespaces: bool = False) -> Manifests:
        return self._call(self._client.list, all_namespaces=all_namespaces)

    def get(self, name: str) -> Manifest:
        return self._call(self._client.get, name)

    def describe(self, name: str) -> Snapshot:
        """The model service with its pods and events: `AsyncClient.snapshot`."""
        return self._call(self._client.snapshot, name)

    def events(self, name: str) -> Manifests:
        return self._call(self._client.events, name)

    def deploy(
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
        return self._call(
            self._client.deploy,
            name,
            uri,
            model_format=model_format,
            minimum=minimum,
            maximum=maximum,
            force=force,
            dry_run=dry_run,
        )

    def apply(self, manifest: Manifest, *, force: bool = False, dry_run: bool = False) -> Manifest:
        return self._call(self._client.apply, manifest, force=force, dry_run=dry_run)

    def delete(self, name: str, *, dry_run: bool = False) -> None:
        self._call(self._client.delete, name, dry_run=dry_run)

    def scale(
        self,
        name: str,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> Manifest:
        return self._call(self._client.scale, name, minimum=minimum, maximum=maximum, force=force, dry_run=dry_run)

    def wait(self, name: str, seconds: float = 300.0) -> Manifest:
        return self._call(self._client.wait, name, seconds)

    def rollout_status(self, name: str, seconds: float = 300.0) -> Manifest:
        return self._call(self._client.rollout_status, name, seconds)

    def revisions(self, name: str) -> Sequence[Revision]:
        return self._call(self._client.revisions, name)

    def undo(self, name: str, revision: int | None = None, *, force: bool = False, dry_run: bool = False) -> Manifest:
        return self._call(self._client.undo, name, revision, force=force, dry_run=dry_run)

    def restart(self, name: str, *, dry_run: bool = False) -> Manifest:
        return self._call(self._client.restart, name, dry_run=dry_run)

    def predict(self, name: str, data: Any = None) -> Any:
        return self._call(self._client.predict, name, data)

    def logs(
        self, name: str, *, following: bool = False, previous: bool = False, tail: int | None = None
    ) -> Iterator[Line]:
        return self._iterate(lambda: self._client.logs(name, following=following, previous=previous, tail=tail))

    def watch(self, name: str) -> Iterator[Snapshot]:
        return self._iterate(lambda: self._client.watch(name))

    def watch_all(self, *, all_namespaces: bool = False) -> Iterator[Manifests]:
        return self._iterate(lambda: self._client.watch_all(all_namespaces=all_namespaces))

    @contextmanager
    def port_forward(self, name: str, local: int = 0, remote: int | None = None) -> Iterator[Forward]:
        with self._portal.wrap_async_context_manager(self._client.port_forward(name, local, remote)) as forwarded:
            yield forwarded

    def _call(self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        answer: T = self._portal.call(partial(function, *args, **kwargs))
        return answer

    def _iterate(self, make: Callable[[], AsyncGenerator[T]]) -> Generator[T]:
        found = make()
        try:
            while (item := self._portal.call(_next, found)) is not None:
                yield item
        finally:
            with suppress(RuntimeError):  # the client was closed before its iterator
                self._portal.call(found.aclose)


async def _next(found: AsyncGenerator[T]) -> T | None:
    """The next item; None at the end, because an exception that ends iterations does not travel between threads."""
    return await anext(found, None)
