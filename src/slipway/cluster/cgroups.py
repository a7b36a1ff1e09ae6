"""Control groups of nodes, on version 1, hybrid and version 2 machines.

A node has one group, directly below the root, in every hierarchy. Its name says whose it is, and who is in it belongs
to the node: that is how a node is ended and cleaned up, whatever became of the process that started it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")
LEAF = "init"


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted hierarchy; `controllers` is empty for a named one and for version 2."""

    path: Path
    version: int
    options: str
    controllers: tuple[str, ...]


def hierarchies(mountinfo: str) -> list[Hierarchy]:
    """The hierarchies of this machine, out of the text of `/proc/self/mountinfo` (proc(5))."""
    found = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            path = Path(before.split(" ")[4])
            found[path] = _hierarchy(path, kind, options)
    return list(found.values())


def _hierarchy(path: Path, kind: str, options: str) -> Hierarchy:
    if kind == "cgroup2":
        return Hierarchy(path, 2, "", ())
    chosen = [option for option in options.split(",") if option not in {"rw", "ro", "xattr", "clone_children"}]
    chosen = [option for option in chosen if not option.startswith("release_agent=")]
    controllers = tuple(option for option in chosen if not option.startswith("name="))
    named = not controllers
    return Hierarchy(path, 1, ",".join(["none", *chosen] if named else chosen), controllers)


def unified(mounted: list[Hierarchy]) -> bool:
    """Whether version 2 is all that there is."""
    return bool(mounted) and all(hierarchy.version == 2 for hierarchy in mounted)  # noqa: PLR2004


def here() -> list[Hierarchy]:
    """The hierarchies mounted where this process is."""
    return hierarchies(Path("/proc/self/mountinfo").read_text(encoding="ascii"))


def create(name: str) -> list[Path]:
    """Makes the group `name` everywhere; returns the `cgroup.procs` files that a process must write itself into.

    On version 2 processes may not be beside delegated groups: the second file is that of a leaf, to be written after
    the process has made the group the root of its cgroup namespace.
    """
    mounted = here()
    if unified(mounted):
        return _create_unified(mounted[0].path / name)
    return [_create_legacy(hierarchy.path / name) for hierarchy in mounted if hierarchy.version == 1]


def _create_legacy(group: Path) -> Path:
    group.mkdir(exist_ok=True)
    for setting in ("cpuset.cpus", "cpuset.mems"):
        if (group / setting).exists():
            (group / setting).write_bytes((group.parent / setting).read_bytes())
    return group / "cgroup.procs"


def _create_unified(group: Path) -> list[Path]:
    _delegate(group.parent)
    (group / LEAF).mkdir(parents=True, exist_ok=True)
    return [group / "cgroup.procs", group / LEAF / "cgroup.procs"]


def _delegate(group: Path) -> None:
    available = (group / "cgroup.controllers").read_text(encoding="ascii").split()
    wanted = [f"+{name}" for name in CONTROLLERS if name in available]
    (group / "cgroup.subtree_control").write_text(" ".join(wanted), encoding="ascii")


def delegate_inside() -> None:
    """Called by PID 1 of a node: lets the kubelet divide what the node has. Nothing to do on version 1."""
    if unified(here()):
        _delegate(Path("/sys/fs/cgroup"))


def processes(name: str) -> set[int]:
    """The processes in the group `name` and below, in any hierarchy."""
    found: set[int] = set()
    for group in _groups(name):
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in (group / "cgroup.procs").read_text(encoding="ascii").split())
    return found - {0}


def _groups(name: str) -> Iterator[Path]:
    """Every group of this name and below, the deepest first."""
    for hierarchy in here():
        for directory, _, _ in os.walk(hierarchy.path / name, topdown=False):
            yield Path(directory)


def end(name: str, timeout: float = 10.0) -> None:
    """Kills every process of the group and removes it everywhere. A group that is not there is no error."""
    deadline = time.monotonic() + timeout
    while True:
        for pid in processes(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if _remove(name):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the control group {name} still has processes after {timeout:.0f} s: {processes(name)}")
        time.sleep(0.02)


def _remove(name: str) -> bool:
    for group in _groups(name):
        with contextlib.suppress(OSError):  # busy until the last zombie is gone
            group.rmdir()
    return not any(True for _ in _groups(name))
