"""`/openapi.json`: the description of this server, made anew when its models change."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from slipway_serving.apis.routing import Route
from slipway_serving.http.messages import Request, Response
from slipway_serving.openapi.document import document
from slipway_serving.repository import Repository


class OpenApiApi:
    """One path; the document is remembered until the repository's generation changes."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._made_at = -1
        self._body = b""

    def routes(self) -> dict[str, Route]:
        return {"/openapi.json": Route(get=self._answer)}

    def prefixes(self) -> dict[str, Callable[[str], Route | None]]:
        return {}

    def _answer(self, _request: Request) -> Response:
        if self._made_at != self._repository.generation:
            self._body = orjson.dumps(document(self._repository))
            self._made_at = self._repository.generation
        return Response(self._body)
