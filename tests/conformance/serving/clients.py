"""Clients that others wrote, in a virtual environment of their own: they are large, and want other versions."""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
import sys
from pathlib import Path

from slipway.cluster.paths import cache

HERE = Path(__file__).parent
LOCK = HERE / "clients.txt"


def python() -> Path:
    """The interpreter that has the clients; installs them where this machine has none of these versions yet."""
    pins = LOCK.read_bytes() + sys.version.encode()
    place = cache() / "serving-clients" / hashlib.sha256(pins).hexdigest()[:16]
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "whole").exists():
            _run(sys.executable, "-m", "venv", "--clear", place)
            pip = (place / "bin" / "pip", "install", "-q", "--disable-pip-version-check")
            _run(*pip, "--require-hashes", "-r", LOCK)
            (place / "whole").touch()
    return place / "bin" / "python"


def run(program: str, *arguments: str) -> dict[str, str]:
    """What came of each case of a program in `programs/`: "ok", or what went wrong."""
    command = [str(python()), str(HERE / "programs" / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def _run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr[-2000:]}"
