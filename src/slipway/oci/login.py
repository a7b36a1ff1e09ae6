"""Logging in to a registry: its tokens (distribution specification), and Docker's files of passwords."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx2

from slipway.oci.errors import OciError

CHALLENGE = re.compile(r'([a-zA-Z]+)="([^"]*)"')
FILES = ("config.json", ".dockerconfigjson")
DOCKER_HUB = {"docker.io", "index.docker.io", "registry-1.docker.io"}

IDENTITY = "<token>"
"""The user name that tells that the password is an identity token, as Docker's credential helpers have it."""

Login = tuple[str, str]
"""User name and password."""


class RegistryLogin(httpx2.Auth):
    """Answers a registry's challenge, Basic or Bearer, with a login or as nobody. Tokens are kept until refused.

    They are for the place that is asked first: an upload or a download may go to another, which gets none.
    """

    def __init__(self, login: Login | None = None) -> None:
        user, password = login or ("", "")
        self._identity = password if user == IDENTITY else ""
        basic = login is not None and not self._identity
        self._basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if basic else ""
        self._authorization = ""
        self._home = ""

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        self._home = self._home or _place(request.url)
        if _place(request.url) != self._home:
            yield request
            return
        if self._authorization:
            request.headers["Authorization"] = self._authorization
        answer = yield request
        if answer.status_code != httpx2.codes.UNAUTHORIZED:
            return
        scheme, _, rest = answer.headers.get("WWW-Authenticate", "").partition(" ")
        if scheme.lower() == "bearer":
            answer = yield self._token_request(request.url, dict(CHALLENGE.findall(rest)))
            self._authorization = f"Bearer {_token(answer)}".strip()
        elif scheme.lower() == "basic" and self._basic:
            self._authorization = self._basic
        else:
            return
        request.headers["Authorization"] = self._authorization
        yield request

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Reads the bodies of tokens only: layers are streams."""
        flow = self.auth_flow(request)
        outgoing = next(flow)
        while True:
            answer = yield outgoing
            if outgoing is not request:
                answer.read()
            try:
                outgoing = flow.send(answer)
            except StopIteration:
                return

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """As `sync_auth_flow`."""
        flow = self.auth_flow(request)
        outgoing = next(flow)
        while True:
            answer = yield outgoing
            if outgoing is not request:
                await answer.aread()
            try:
                outgoing = flow.send(answer)
            except StopIteration:
                return

    def _token_request(self, registry: httpx2.URL, challenge: dict[str, str]) -> httpx2.Request:
        realm = httpx2.URL(challenge.get("realm", ""))
        if realm.scheme != "https" and (realm.scheme, realm.host) != (registry.scheme, registry.host):
            raise OciError(
                f"The registry {registry.host} asks to log in at a place without TLS.", "Give it a realm with https."
            )
        asked = {name: value for name, value in challenge.items() if name in {"service", "scope"}}
        if self._identity:  # distribution, "OAuth2 token authentication"
            given = {"grant_type": "refresh_token", "client_id": "slipway", "refresh_token": self._identity}
            return httpx2.Request("POST", realm, data=asked | given)
        headers = {"Authorization": self._basic} if self._basic else {}
        return httpx2.Request("GET", realm.copy_merge_params(asked), headers=headers)


def login_of(image: str, config: str) -> Login | None:
    """The login for an image (`HOST/REPOSITORY`) in a file of Docker's, or in the directory of one; None without.

    Of several entries that fit, the longest wins. Raises `OciError` for a file that cannot be read.
    """
    if not config:
        return None
    file = _file(Path(config))
    try:
        content = file.read_bytes()
    except OSError as error:
        raise OciError(f"{file} cannot be read: {error.strerror}.", "Check DOCKER_CONFIG.") from error
    return login_in(image, content, str(file))


def login_in(image: str, content: bytes, source: str) -> Login | None:
    """As `login_of`, from the content of such a file; `source` is what a person calls it."""
    try:
        auths = json.loads(content).get("auths") or {}
        fitting = [name for name in auths if _fits(_bare(name), image)]
        return _login(auths[max(fitting, key=lambda name: len(_bare(name)))]) if fitting else None
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise OciError(f"{source} is not a file of registry logins.", "Make it with: docker login") from error


def _file(path: Path) -> Path:
    if path.is_dir():
        return next((path / name for name in FILES if (path / name).is_file()), path / FILES[0])
    return path


def _bare(name: str) -> str:
    """An entry's name as Docker writes it: with scheme and version of the protocol, or without."""
    return re.sub(r"^https?://|/v[12]/?$|/$", "", name)


def _fits(name: str, image: str) -> bool:
    host = image.partition("/")[0]
    return image == name or image.startswith(f"{name}/") or {name, host} <= DOCKER_HUB


def _place(url: httpx2.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode()}"


def _login(entry: dict[str, Any]) -> Login | None:
    """None for an entry without a login: Docker leaves such where a credential helper keeps it."""
    if not entry:
        return None
    if entry.get("identitytoken"):
        return IDENTITY, str(entry["identitytoken"])
    if entry.get("auth"):
        try:
            text = base64.b64decode(entry["auth"], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ValueError("auth") from error
        user, colon, password = text.partition(":")
        if not colon:
            raise ValueError("auth")
        return user, password.rstrip("\0")
    return entry["username"], entry["password"]


def _token(answer: httpx2.Response) -> str:
    """Empty when none is given: then the registry refuses, and says so itself."""
    try:
        document = answer.json() if answer.is_success else {}
        return str(document.get("token") or document.get("access_token") or "")
    except (ValueError, AttributeError):
        return ""
