"""Running a program of the machine that takes a while: its last lines are shown, and are the reason when it fails."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Sequence

from slipway.cluster.errors import ClusterError
from slipway.progress import Step

LINES = 3
WIDTH = 100


def run(
    command: Sequence[str], step: Step, failed: str, hint: str, *, environment: dict[str, str] | None = None
) -> None:
    """Runs a command to its end. Raises `ClusterError` with `failed`, its last lines, and `hint`."""
    said: deque[str] = deque(maxlen=LINES)
    with subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            if text := line.strip():
                said.append(text[:WIDTH])
                step.detail(text[:WIDTH])
    if process.returncode:
        raise ClusterError("\n".join([failed, *said]), hint)
