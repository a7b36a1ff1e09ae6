"""What tests on a real cluster do again and again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from slipway.cluster import binaries, cgroups
from slipway.cluster.lifecycle import Cluster
from slipway.progress import LineProgress

T = TypeVar("T")
PATIENCE = 120.0 * float(os.environ.get("SLIPWAY_PATIENCE", "1"))  # emulated machines need more


def until(condition: Callable[[], T], *, timeout: float = PATIENCE, pause: float = 0.1, what: str = "") -> T:
    """Waits for a condition to give something true and returns it; the bound is patience, not a measure."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still not true after {timeout:.0f} s: {what or condition}"
        time.sleep(pause)
    return value


def slipway(
    *words: str, check: bool = True, timeout: float = 300.0, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the command as a person does."""
    done = subprocess.run(
        [sys.executable, "-m", "slipway", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        input=stdin,
    )
    assert not check or done.returncode == 0, (
        f"slipway {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    )
    return done


def kubectl(cluster: Cluster, *words: str, check: bool = True, stdin: str | None = None) -> str:
    """Runs kubectl against a cluster; returns its output, or its error output when it may fail and does."""
    program = binaries.directory(LineProgress()) / "kubectl"
    done = subprocess.run(
        [program, f"--kubeconfig={cluster.kubeconfig}", *words],
        capture_output=True,
        text=True,
        check=False,
        input=stdin,
        timeout=180,
    )
    assert not check or done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
    return done.stdout if done.returncode == 0 else done.stderr


def get(cluster: Cluster, *words: str) -> Any:
    """`kubectl get … -o json`, read."""
    return json.loads(kubectl(cluster, "get", *words, "-o", "json"))


def host_pid(cluster: Cluster, component: str) -> int | None:
    """The process id of a component as the host numbers it."""
    group = cluster.layout.control_plane.cgroup
    for pid in cgroups.processes(group):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if Path(command[0].decode()).name == component:
            return pid
    return None
