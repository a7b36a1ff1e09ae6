"""Servers as trees of processes: started on a core of their own, watched, and ended one by one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE = 0
LOAD_CORE = 1
_TICK = os.sysconf("SC_CLK_TCK")
_GRACE = 8.0
"""Seconds that a server has to end after SIGTERM."""
MIB = 2**20


@dataclass(frozen=True, slots=True)
class _Status:
    """What `/proc/PID/stat` says; `cpu` in seconds, with that of children that are gone."""

    parent: int
    session: int
    cpu: float
    state: str


@dataclass(frozen=True, slots=True)
class Tree:
    """A process, its descendants, and whatever else is in its session: some servers outlive their parent."""

    leader: int
    log: Path

    def members(self) -> list[int]:
        found = _statuses()
        inside = {pid for pid, status in found.items() if status.session == self.leader}
        grown = True
        while grown:
            children = {pid for pid, status in found.items() if status.parent in inside}
            grown = not children <= inside
            inside |= children
        return sorted(pid for pid in inside if found[pid].state != "Z")

    def cpu(self) -> float:
        """Seconds that all of it has computed."""
        found = _statuses()
        return sum(found[pid].cpu for pid in self.members() if pid in found)

    def pss_mib(self) -> float:
        """Resident memory, shared pages once: proportional set sizes."""
        total = 0
        for pid in self.members():
            with contextlib.suppress(OSError):
                rows = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
                total += sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
        return total * 1024 / MIB

    def stop(self) -> None:
        """SIGTERM to the first process, SIGKILL to what is left of it after a while, and to orphans sooner."""
        self._signal([self.leader], signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        while (left := self.members()) and time.monotonic() < deadline:
            if self.leader not in left:
                deadline = min(deadline, time.monotonic() + 1)
            time.sleep(0.05)
        while left:
            self._signal(left, signal.SIGKILL)
            time.sleep(0.05)
            left = self.members()

    @staticmethod
    def _signal(pids: Sequence[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def tail(self) -> str:
        """The last lines that it wrote."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])


def _statuses() -> dict[int, _Status]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found[int(entry.name)] = _read(entry / "stat")
    return found


def _read(path: Path) -> _Status:
    fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return _Status(int(fields[1]), int(fields[3]), sum(map(int, fields[11:15])) / _TICK, fields[0])


@contextlib.contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], directory: Path, log: Path) -> Iterator[Tree]:
    """A server on its core, in a session of its own; ended however the block is left, also by Ctrl-C or SIGTERM."""
    pinned = ["taskset", "-c", str(SERVER_CORE), *command]
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    tree = Tree(process.pid, log)
    try:
        yield tree
    finally:
        ending = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, ending)  # a second Ctrl-C waits until nothing is left behind
        tree.stop()
        process.wait()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ending)


@dataclass(frozen=True, slots=True)
class Usage:
    """What was computed between two looks: seconds of the server, of the load generator, and of everybody else."""

    wall: float
    server: float
    generator: float
    strangers: float

    @property
    def strangers_share(self) -> float:
        """Cores that others kept busy, or that the machine's host took away."""
        return self.strangers / self.wall


class Meter:
    """Watches a server, the programs that this one has waited for, and the machine."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._before = self._look()

    def _look(self) -> tuple[float, float, float, float]:
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        return time.monotonic(), self._tree.cpu(), own, machine_cpu()

    def read(self) -> Usage:
        after = self._look()
        wall, server, own, machine = (now - then for now, then in zip(after, self._before, strict=True))
        return Usage(wall, server, own, max(0.0, machine - server - own))


def machine_cpu() -> float:
    """Seconds that all cores together were busy or stolen; interrupts are left out, they are of the load itself."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, _irq, _softirq, steal = map(int, fields[:8])
    return (user + nice + system + steal) / _TICK
