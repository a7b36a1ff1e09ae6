"""The logins of the person at this machine: Docker's and Podman's files, and Docker's credential helpers."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slipway.oci.errors import OciError
from slipway.oci.login import DOCKER_HUB, Login, login_in

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HUB_KEY = "https://index.docker.io/v1/"  # how Docker files its own registry
_SECONDS = 60.0  # a helper may ask a person

Helper = Callable[[str, str], str | None]
"""Asks `docker-credential-NAME` for a server's login; its JSON, None where it has none."""


def stored_login(image: str, environment: Mapping[str, str], ask: Helper | None = None) -> Login | None:
    """The login for an image (`HOST/REPOSITORY`), None without one. Raises `OciError` for what cannot be read.

    The first file that has one counts: Docker's (`DOCKER_CONFIG`, or `.docker` at home), then Podman's
    (`REGISTRY_AUTH_FILE`, or `containers/auth.json` in `XDG_RUNTIME_DIR`). In each, the helper of the host comes first.
    """
    for path in _files(environment):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OciError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
        if login := _helped(image, content, path, ask or _ask) or login_in(image, content, str(path)):
            return login
    return None


def _files(environment: Mapping[str, str]) -> list[Path]:
    home = Path(environment.get("HOME", "/"))
    docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    files = [docker / "config.json"]
    if named := environment.get("REGISTRY_AUTH_FILE"):
        files.append(Path(named))
    elif runtime := environment.get("XDG_RUNTIME_DIR"):
        files.append(Path(runtime) / "containers" / "auth.json")
    return files


def _helped(image: str, content: bytes, path: Path, ask: Helper) -> Login | None:
    host = image.partition("/")[0]
    server = _HUB_KEY if host in DOCKER_HUB else host
    try:
        document: dict[str, Any] = json.loads(content)
        helpers = document.get("credHelpers") or {}
        name = helpers.get(host) or helpers.get(server) or document.get("credsStore")
        if not name:
            return None
        answer = ask(str(name), server)
        if answer is None:
            return None
        found = json.loads(answer)
        return str(found["Username"]), str(found["Secret"])
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise OciError(f"{path} is not a file of registry logins.", "Make it with: docker login") from error


def _ask(name: str, server: str) -> str | None:
    """The protocol of docker-credential-helpers: the server on standard input, JSON on standard output."""
    if not _HELPER.fullmatch(name):
        raise OciError(f"{name!r} cannot name a credential helper.", "Correct credsStore in Docker's config.json.")
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run([program, "get"], input=server, capture_output=True, text=True, timeout=_SECONDS)  # noqa: PLW1510
    except (OSError, subprocess.TimeoutExpired) as error:
        hint = "Install it, or take it out of Docker's config.json and log in again: docker login"
        raise OciError(f"The credential helper {program} does not answer.", hint) from error
    return done.stdout if done.returncode == 0 else None
