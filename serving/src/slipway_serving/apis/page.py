"""`/`: a page where a person can try the models; for other clients a list of what is where."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from slipway_serving import __version__
from slipway_serving.apis.routing import Route
from slipway_serving.http.messages import Request, Response, json_response
from slipway_serving.repository import Repository

PATH = "/"
FILE = Path(__file__).with_name("page.html")
_HTML = b"text/html; charset=utf-8"
_INLINE = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


class PageApi:
    """One path, whose answer depends on whether the client accepts HTML."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        body = FILE.read_bytes()
        headers = [
            (b"content-security-policy", policy(body)),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"vary", b"accept"),
        ]
        self._page = Response(body, content_type=_HTML, headers=headers)

    def routes(self) -> dict[str, Route]:
        return {PATH: Route(get=self._answer)}

    def prefixes(self) -> dict[str, Callable[[str], Route | None]]:
        return {}

    def _answer(self, request: Request) -> Response:
        if wants_page(request.headers):
            return self._page
        models = [f"/v2/models/{model.name}" for model in self._repository]
        paths = ["/predict", *models, "/v1/models", "/openapi.json", "/metrics"]
        response = json_response({"name": "slipway-serving", "version": __version__, "paths": paths})
        response.headers = [(b"vary", b"accept")]
        return response


def wants_page(headers: Mapping[bytes, bytes]) -> bool:
    """Whether `/` answers with the page: the same for everybody, and nothing of the models in it."""
    return b"text/html" in headers.get(b"accept", b"").lower()


def policy(page: bytes) -> bytes:
    """Its own script and style, by their digests, and requests to this server; nothing else at all."""
    found: dict[bytes, list[bytes]] = {b"script": [], b"style": []}
    for kind, text in _INLINE.findall(page):
        digest = base64.b64encode(hashlib.sha256(text).digest())
        found[kind].append(b"'sha256-%b'" % digest)
    sources = b"; ".join(b"%b-src %b" % (kind, b" ".join(digests)) for kind, digests in found.items())
    rest = b"connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return b"default-src 'none'; " + sources + b"; " + rest
