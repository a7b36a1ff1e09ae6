"""What a machine must have before a cluster can start, each with the command that brings it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from slipway.cluster.errors import ClusterError
from slipway.cluster.paths import home

TOOLS = {
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "unshare": "util-linux",
    "mount": "mount",
}
"""Programs of the host, and the Debian packages that have them."""

CAP_SYS_ADMIN, CAP_NET_ADMIN = 21, 12
HOSTS = "echo 127.0.0.1 localhost"


def check() -> None:
    """Raises `ClusterError` with everything that is missing, or returns."""
    if not sys.platform.startswith("linux"):
        raise ClusterError(
            f"Local clusters need Linux; this is {sys.platform}.",
            "Use a cluster that you have: slipway up --context NAME",
        )
    _check_rights(int(_status("CapEff"), 16))
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    if missing:
        raise ClusterError(
            f"This machine lacks {', '.join(sorted(missing))}.",
            f"Install them: apt-get install -y {' '.join(sorted(missing))}",
        )
    _check_kernel()
    check_hosts(Path("/etc/hosts"))
    if home().is_relative_to("/run"):
        raise ClusterError(
            f"State below /run is lost on restart: {home()}.", "Choose another directory in SLIPWAY_HOME."
        )


def check_hosts(file: Path) -> None:
    """Pods get a copy of the machine's: without it, containerd starts none."""
    if not file.is_file():
        raise ClusterError(f"This machine has no {file}, and no pod starts without one.", f"Make it: {HOSTS} >{file}")


def _check_kernel() -> None:
    """Most kernels have the overlay file system as a module, loaded when somebody asks for it."""
    filesystems = Path("/proc/filesystems")
    if "overlay" not in filesystems.read_text(encoding="ascii") and shutil.which("modprobe"):
        subprocess.run(["modprobe", "-q", "overlay"], check=False, capture_output=True)
    if "overlay" not in filesystems.read_text(encoding="ascii"):
        raise ClusterError("The kernel has no overlay file system, which containers need.", "Load it: modprobe overlay")


def _check_rights(effective: int) -> None:
    needed = {"CAP_SYS_ADMIN": CAP_SYS_ADMIN, "CAP_NET_ADMIN": CAP_NET_ADMIN}
    missing = [name for name, bit in needed.items() if not effective >> bit & 1]
    if os.geteuid() != 0 or missing:
        lacking = f"the capabilities {', '.join(missing)}" if os.geteuid() == 0 else "root"
        raise ClusterError(
            f"Starting a local cluster needs {lacking}: it makes namespaces, mounts and a network bridge.",
            "Run the same command with sudo -E, or use a cluster that you have: slipway up --context NAME",
        )


def _status(name: str) -> str:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return line.split()[1]
    return "0"
