"""How many processors this process may use: affinity, and the limit of its cgroup."""

from __future__ import annotations

import math
import os
from pathlib import Path

SHARE = "SLIPWAY_SERVE_WORKER_CPUS"
"""In the environment of a worker process: how many of the server's processors it may use."""


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Whole processors, at least 1: a container with a limit of 500m gets 1, however many the machine has.

    A worker process gets its share of them.
    """
    share = os.environ.get(SHARE, "")
    if share.isdecimal():
        return max(1, int(share))
    usable = len(os.sched_getaffinity(0))
    limit = _limit_v2(cgroup) or _limit_v1(cgroup)
    return max(1, min(usable, math.ceil(limit))) if limit else usable


def _limit_v2(cgroup: Path) -> float:
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return 0


def _limit_v1(cgroup: Path) -> float:
    try:
        quota = int((cgroup / "cpu" / "cpu.cfs_quota_us").read_text())
        period = int((cgroup / "cpu" / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return 0
    return max(0, quota) / period
