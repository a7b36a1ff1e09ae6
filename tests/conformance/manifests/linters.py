"""The linters: built once from the modules that go.mod pins, kept in the machine's cache."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from slipway.cluster import build
from slipway.cluster.paths import cache, resource
from slipway.progress import LineProgress

HERE = Path(__file__).parent
ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath -buildvcs=false", "GOWORK": "off"}


def directory() -> Path:
    """The directory of the programs; builds them where this machine has none of these versions yet."""
    pins = b"".join((HERE / name).read_bytes() for name in ("go.mod", "go.sum"))
    place = cache() / "linters" / hashlib.sha256(pins).hexdigest()[:16]
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            beside = place.with_suffix(".partial")
            _go("build", "-o", f"{beside}/", "tool", where=HERE)
            beside.rename(place)
    return place


def module(name: str) -> Path:
    """The sources of a module that the local cluster is built from."""
    found: dict[str, Any] = json.loads(_go("mod", "download", "-json", name, where=resource("node")))
    return Path(found["Dir"])


def _go(*words: str, where: Path) -> str:
    command = [build.toolchain(LineProgress()), *words]
    done = subprocess.run(command, cwd=where, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"go {' '.join(words)}: {done.stderr[-2000:]}"
    return done.stdout
