"""Starting and ending the namespaces of one node, from outside."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from slipway.cluster import cgroups, host
from slipway.cluster.errors import ClusterError
from slipway.cluster.layout import BRIDGE, Node, NodePaths

START_TIMEOUT = 10.0
STOP_TIMEOUT = 8.0


def start(node: Node, paths: NodePaths, binaries: Path) -> None:
    """Starts a node in namespaces of its own and connects it. Returns when PID 1 runs; its output is `node.log`."""
    end(node, paths)
    paths.state.unlink(missing_ok=True)
    groups = cgroups.create(node.cgroup)
    with (paths.log / "node.log").open("ab") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _script(groups, paths, binaries)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=_environment(),
        )
    paths.launcher.write_text(str(process.pid), encoding="ascii")
    _connect(node, _first_process(process, paths))
    process.returncode = 0  # it outlives this command: nothing here waits for it


def _script(groups: list[Path], paths: NodePaths, binaries: Path) -> str:
    """Joins the node's control group, makes it the root of a cgroup namespace, then all else: see `cgroups.create`."""
    join, leaf = (groups[:1], groups[1:]) if cgroups.unified(cgroups.here()) else (groups, [])
    command = [sys.executable, "-m", "slipway.cluster.node", str(paths.root), str(binaries)]
    flags = "--pid --mount --net --uts --ipc --fork --kill-child --mount-proc --propagation private"
    inner = (
        "".join(f"echo $$ > {shlex.quote(str(file))}; " for file in leaf)
        + f"exec unshare {flags} {shlex.join(command)}"
    )
    outer = "".join(f"echo $$ > {shlex.quote(str(file))}; " for file in join)
    return f"set -e; {outer}exec unshare --cgroup /bin/sh -c {shlex.quote(inner)}"


def _environment() -> dict[str, str]:
    """No proxy and no credentials of the person who typed the command reach the cluster's processes."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH", "LANG", "SSL_CERT_FILE") if name in os.environ
    }
    return kept | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


def _first_process(launcher: subprocess.Popen[bytes], paths: NodePaths) -> int:
    """The node's PID 1, as the host numbers it, once it has a network namespace of its own."""
    deadline = time.monotonic() + START_TIMEOUT
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    own = Path("/proc/self/ns/net").readlink()
    while time.monotonic() < deadline and launcher.poll() is None:
        child = next(iter(children.read_text(encoding="ascii").split()), "")
        if child and Path(f"/proc/{child}/ns/net").readlink() != own:
            return int(child)
        time.sleep(0.002)
    raise ClusterError(f"The node did not start: {last_words(paths, 'node')}", f"Read {paths.log / 'node.log'}")


def _connect(node: Node, pid: int) -> None:
    host.remove_link(node.link)
    batch = f"link add {node.link} type veth peer name eth0 netns {pid}\nlink set {node.link} master {BRIDGE} up\n"
    host.run("ip", "-batch", "-", text=batch)


def running(node: Node) -> bool:
    """Whether any process of the node is alive."""
    return bool(cgroups.processes(node.cgroup))


def end(node: Node, paths: NodePaths, *, gently: bool = False) -> None:
    """Ends the node and takes away its processes, control groups and cable; `gently` lets its components finish."""
    if gently and running(node):
        _ask_to_stop(node, paths)
    cgroups.end(node.cgroup)
    host.remove_link(node.link)
    _bury(paths)


def _bury(paths: NodePaths) -> None:
    """Where this very process started the node, it must also collect it."""
    with contextlib.suppress(OSError, ValueError):
        os.waitpid(int(paths.launcher.read_text(encoding="ascii")), 0)
    paths.launcher.unlink(missing_ok=True)


def _ask_to_stop(node: Node, paths: NodePaths) -> None:
    try:
        launcher = int(paths.launcher.read_text(encoding="ascii"))
        children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text(encoding="ascii").split()
        if launcher in cgroups.processes(node.cgroup):  # the number may have gone to another process since
            for child in children:
                os.kill(int(child), signal.SIGTERM)
    except (OSError, ValueError):
        return
    deadline = time.monotonic() + STOP_TIMEOUT
    while launcher in cgroups.processes(node.cgroup) and time.monotonic() < deadline:
        time.sleep(0.02)


def last_words(paths: NodePaths, name: str) -> str:
    """The last line of a log, for a message."""
    log = paths.log / f"{name}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"


def component_states(paths: NodePaths) -> list[dict[str, object]]:
    """What PID 1 last wrote of its components; empty before its first report."""
    try:
        components: list[dict[str, object]] = json.loads(paths.state.read_text(encoding="utf-8"))["components"]
    except (OSError, ValueError, KeyError):
        return []
    return components
