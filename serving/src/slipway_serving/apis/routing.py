"""From a request to its handler: exact paths first, then the prefixes under which models live."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from slipway_serving.errors import MethodNotAllowedError, NotFoundError
from slipway_serving.http.messages import Pending, Request, Response

Answer = Response | Pending | Coroutine[Any, Any, Response]
Handler = Callable[[Request], Answer]
"""Answers at once, later, or as a coroutine. Raises a RequestError, and only that on purpose."""


@dataclass(frozen=True, slots=True)
class Route:
    """The methods of one path."""

    get: Handler | None = None
    post: Handler | None = None

    def answer(self, request: Request) -> Answer:
        """Raises MethodNotAllowedError with the methods that there are."""
        method = request.method
        found = self.post if method == "POST" else self.get if method in ("GET", "HEAD") else None
        if found is None:
            allowed = (["GET", "HEAD"] if self.get else []) + (["POST"] if self.post else [])
            raise MethodNotAllowedError(f"{method} is not possible here; allowed: {', '.join(allowed)}", allowed)
        return found(request)


class Api(Protocol):
    """A group of paths."""

    def routes(self) -> dict[str, Route]:
        """By exact path, without a slash at its end."""

    def prefixes(self) -> dict[str, Callable[[str], Route | None]]:
        """By prefix: what a path's rest leads to, None where it leads nowhere. May raise NotFoundError."""


_CACHED = 4096
_LONG = 256


class Router:
    """All paths of a server. What a path led to is remembered until `generation` changes, as the models do."""

    def __init__(self, generation: Callable[[], int]) -> None:
        self._generation = generation
        self._exact: dict[str, Route] = {}
        self._prefixes: dict[str, Callable[[str], Route | None]] = {}
        self._cache: dict[bytes, Route] = {}
        self._cached_at = -1

    def add(self, api: Api) -> None:
        self._exact |= api.routes()
        self._prefixes |= api.prefixes()

    def route(self, request: Request) -> Route:
        """Raises NotFoundError."""
        if self._cached_at != self._generation() or len(self._cache) > _CACHED:
            self._cached_at = self._generation()
            self._cache.clear()
        route = self._cache.get(request.target)
        if route is None:
            route = self._find(request.path)
            if len(request.target) < _LONG:
                self._cache[request.target] = route
        return route

    def _find(self, path: str) -> Route:
        for prefix, find in self._prefixes.items():
            if path.startswith(prefix):
                route = find(path[len(prefix) :])
                if route is not None:
                    return route
        exact = self._exact.get(path)
        if exact is None:
            raise NotFoundError(
                f"there is nothing at {path:.200}; the models are under /v2/models, the plain form is /predict"
            )
        return exact
