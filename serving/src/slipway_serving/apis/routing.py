"""From a request to its handler: exact paths first, then the prefixes under which models live."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from slipway_serving.errors import MethodNotAllowedError
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


@dataclass(slots=True)
class Router:
    """All paths of a server."""

    exact: dict[str, Route] = field(default_factory=dict)
    prefixes: dict[str, Callable[[str], Route | None]] = field(default_factory=dict)

    def add(self, api: Api) -> None:
        self.exact |= api.routes()
        self.prefixes |= api.prefixes()

    def find(self, path: str) -> Route | None:
        """Raises NotFoundError where a path names a model that there is not."""
        for prefix, find in self.prefixes.items():
            if path.startswith(prefix):
                route = find(path[len(prefix) :])
                if route is not None:
                    return route
        return self.exact.get(path)
