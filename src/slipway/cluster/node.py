"""PID 1 of a node: prepares its surroundings, starts its components in order, restarts what dies, and says so.

Runs as `python -m slipway.cluster.node NODE_DIRECTORY BINARIES`, imports only the standard library, and is one loop
around `sigtimedwait`: a child that ended, a signal to stop, or a moment at which something is due.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from slipway.cluster import cgroups, namespaces
from slipway.cluster.components import After, Component, components
from slipway.cluster.layout import Layout, Node, NodePaths
from slipway.cluster.nodeapi import NodeApi

FIRST_DELAY, LAST_DELAY, STABLE_AFTER = 0.25, 10.0, 30.0
LOG_LIMIT = 16 * 1024 * 1024
STOP_GRACE = 5.0
STORES = {"etcd", "containerd", "registry"}


@dataclass(slots=True)
class Process:
    """A component and what became of it. Times are of the monotonic clock."""

    component: Component
    pid: int = 0
    restarts: int = 0
    started: float = 0.0
    due: float = 0.0
    delay: float = FIRST_DELAY
    last_exit: str = ""

    def ended(self, status: int, now: float) -> None:
        """Notes the end and chooses when to start again: at once at first, later with growing pauses."""
        self.last_exit = _exit_words(status)
        self.delay = FIRST_DELAY if now - self.started > STABLE_AFTER else min(self.delay * 2, LAST_DELAY)
        self.due = now + self.delay
        self.pid = 0
        self.restarts += 1


def _exit_words(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


@dataclass(slots=True)
class Supervisor:
    """The processes of one node."""

    layout: Layout
    node: Node
    paths: NodePaths
    api: NodeApi
    processes: list[Process]
    reached: set[After] = field(default_factory=lambda: {After.NODE})
    next_probe: float = 0.0
    shown: str = ""
    stopping: bool = False

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        signals = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        while not self.stopping:
            now = time.monotonic()
            self._start_due(now)
            self._probe(now)
            self._report()
            received = signal.sigtimedwait(signals, self._pause(time.monotonic()))
            self.stopping = received is not None and received.si_signo != signal.SIGCHLD
            self._reap()
        self._stop()

    def _start_due(self, now: float) -> None:
        for process in self.processes:
            if not process.pid and process.component.after in self.reached and process.due <= now:
                process.pid = self._spawn(process.component)
                process.started = now

    def _spawn(self, component: Component) -> int:
        log = self.paths.log / f"{component.name}.log"
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
        binary = shutil.which(component.arguments[0])
        if binary is None:
            raise FileNotFoundError(f"no binary {component.arguments[0]} in {os.environ['PATH']}")
        output = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return os.posix_spawn(
            binary,
            component.arguments,
            {**os.environ, **dict(component.environment)},
            file_actions=[(os.POSIX_SPAWN_OPEN, 1, str(log), output, 0o600), (os.POSIX_SPAWN_DUP2, 1, 2)],
            setpgroup=0,
            setsigmask=[],
        )

    def _reap(self) -> None:
        """Collects every ended process: components, and orphans of pods, which come to PID 1."""
        by_pid = {process.pid: process for process in self.processes if process.pid}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if process := by_pid.get(pid):
                process.ended(status, time.monotonic())

    def _probe(self, now: float) -> None:
        """Moves from one stage to the next: an API server that answers, then its add-ons."""
        if After.ADDONS in self.reached or now < self.next_probe:
            return
        self.next_probe = now + (0.05 if self.node.control_plane else 0.5)
        if After.API not in self.reached and self.api.ready():
            self.reached.add(After.API)
            self.next_probe = now
            if not self.node.control_plane:
                self.reached.add(After.ADDONS)
        elif After.API in self.reached and self.api.apply_addons(self.node):
            self.reached.add(After.ADDONS)

    def _pause(self, now: float) -> float:
        due = [process.due for process in self.processes if not process.pid and process.component.after in self.reached]
        if After.ADDONS not in self.reached:
            due.append(self.next_probe)
        return max(0.0, min([moment - now for moment in due], default=3600.0))

    def _report(self) -> None:
        """Writes what `slipway cluster status` shows, when it changed."""
        shown = json.dumps({"components": [self._shown(process) for process in self.processes]})
        if shown != self.shown:
            beside = self.paths.state.with_suffix(".new")
            beside.write_text(shown, encoding="utf-8")
            beside.replace(self.paths.state)
            self.shown = shown

    def _shown(self, process: Process) -> dict[str, object]:
        waiting = process.component.after not in self.reached
        state = "running" if process.pid else ("waiting" if waiting else "restarting")
        waits_for = process.component.after.value if waiting else ""
        return asdict(
            ComponentState(process.component.name, state, process.pid, process.restarts, process.last_exit, waits_for)
        )

    def _stop(self) -> None:
        """Lets the stores close their files; the kernel ends everything else with this process."""
        keepers = [process for process in self.processes if process.component.name in STORES and process.pid]
        for process in keepers:
            os.kill(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_GRACE
        while any(process.pid for process in keepers) and time.monotonic() < deadline:
            signal.sigtimedwait({signal.SIGCHLD}, 0.1)
            self._reap()


@dataclass(frozen=True, slots=True)
class ComponentState:
    """What is shown of a component; `pid` is within the node."""

    name: str
    state: str
    pid: int
    restarts: int
    last_exit: str
    waits_for: str


def main() -> None:
    """Arguments: the directory of the node, the directory of the binaries."""
    paths, binaries = NodePaths(Path(sys.argv[1])), Path(sys.argv[2])
    described = json.loads((paths.root / "node.json").read_text(encoding="utf-8"))
    layout = Layout.from_json(described["layout"])
    node = layout.nodes[described["number"] - 1]
    namespaces.prepare(layout, node, paths, binaries)
    cgroups.delegate_inside()
    os.environ["PATH"] = f"{namespaces.RUN}/bin:{os.environ['PATH']}"
    processes = [Process(component) for component in components(layout, node, paths.etc)]
    Supervisor(layout, node, paths, NodeApi(layout, node, paths.etc), processes).run()


if __name__ == "__main__":
    main()
