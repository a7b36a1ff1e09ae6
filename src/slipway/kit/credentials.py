"""How a request proves who sends it: tokens, tokens in files that rotate, and exec plugins."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx2

from slipway.kit.client import Unreachable

UNAUTHORIZED = 401
TOKEN_REFRESH = 60.0  # seconds: what client-go uses; the kubelet rotates a token well before it expires
EXEC_TIMEOUT = 60.0  # seconds: an exec plugin may ask a cloud's token service
EXEC_VERSIONS = tuple(f"client.authentication.k8s.io/{version}" for version in ("v1", "v1beta1"))


class ConfigError(Unreachable):
    """A kubeconfig, or the credentials that it names, cannot be used."""


class BearerAuth(httpx2.Auth):
    """A token that never changes."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["Authorization"] = self._header
        yield request


class TokenFileAuth(httpx2.Auth):
    """A token in a file, read again every minute and whenever the API server refuses it."""

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._header = ""
        self._read_at = 0.0

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        if not self._header or self._monotonic() - self._read_at > TOKEN_REFRESH:
            self._read()
        request.headers["Authorization"] = self._header
        response = yield request
        if response.status_code == UNAUTHORIZED:
            self._read()
            request.headers["Authorization"] = self._header
            yield request

    def _read(self) -> None:
        try:
            self._header = f"Bearer {self._path.read_text(encoding='ascii').strip()}"
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The token file {self._path} cannot be read: {error}.") from error
        self._read_at = self._monotonic()


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A command that prints an ExecCredential, as kubeconfig's `users[].user.exec` names it."""

    api_version: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""
    cluster: Mapping[str, object] | None = None  # only where `provideClusterInfo` asks for it

    def environment(self) -> dict[str, str]:
        spec: dict[str, object] = {"interactive": False}
        if self.cluster is not None:
            spec["cluster"] = dict(self.cluster)
        info = {"apiVersion": self.api_version, "kind": "ExecCredential", "spec": spec}
        return {**os.environ, **self.env, "KUBERNETES_EXEC_INFO": json.dumps(info)}

    async def run(self) -> bytes:
        """What the command prints. `ConfigError` when it cannot start, fails, or takes over a minute."""
        name = self.command[0]
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                env=self.environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise ConfigError(
                f"The credential plugin {name} cannot be started: {error}. {self.hint}".strip()
            ) from error
        try:
            async with asyncio.timeout(EXEC_TIMEOUT):
                output, errors = await process.communicate()
        except TimeoutError:
            raise ConfigError(f"The credential plugin {name} did not answer within {EXEC_TIMEOUT:.0f} s.") from None
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            said = errors.decode(errors="replace").strip()[-500:]
            raise ConfigError(f"The credential plugin {name} failed (exit {process.returncode}): {said}")
        return output


class ExecAuth(httpx2.Auth):
    """A token from an exec plugin, asked again when it expires and when the API server refuses it."""

    def __init__(self, plugin: ExecPlugin, now: Callable[[], float] = time.time) -> None:
        self._plugin = plugin
        self._now = now
        self._header = ""
        self._expires = float("inf")
        self._lock = asyncio.Lock()

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        used = await self._current(refused=None)
        request.headers["Authorization"] = used
        response = yield request
        if response.status_code == UNAUTHORIZED:
            request.headers["Authorization"] = await self._current(refused=used)
            yield request

    async def _current(self, refused: str | None) -> str:
        """The header; many requests that are refused at once start one command."""
        async with self._lock:
            if not self._header or self._now() > self._expires or self._header == refused:
                self._header, self._expires = _read_credential(await self._plugin.run(), self._plugin.command[0])
            return self._header


def _read_credential(output: bytes, name: str) -> tuple[str, float]:
    try:
        status = json.loads(output)["status"]
        token = status.get("token")
        expires = status.get("expirationTimestamp")
        until = datetime.fromisoformat(expires).timestamp() if expires else float("inf")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"The credential plugin {name} did not print an ExecCredential with a status.") from error
    if not isinstance(token, str) or not token:
        raise ConfigError(
            f"The credential plugin {name} gave no token; client certificates from a plugin are not read."
        )
    return f"Bearer {token}", until
