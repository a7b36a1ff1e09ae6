"""What a node sees of its machine: mounts, control groups and network, prepared from inside its own namespaces.

Everything here vanishes with the namespaces; nothing here may change what the machine outside sees.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from slipway.cluster.cgroups import hierarchies, unified
from slipway.cluster.layout import REGISTRY_PORT, Layout, Node, NodePaths

RUN = Path("/run/slipway")
KERNEL_SETTINGS = {
    # The kubelet sets these for the whole machine; here it finds them set, in files of the node's own.
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
STATE = {
    "containerd": "/var/lib/containerd",
    "kubelet": "/var/lib/kubelet",
    "etcd": "/var/lib/etcd",
    "registry": "/var/lib/registry",
}
LINK_TIMEOUT = 20.0


def prepare(layout: Layout, node: Node, paths: NodePaths, binaries: Path) -> None:
    """Makes the node's surroundings, as PID 1 of fresh pid, mount, net, uts, ipc and cgroup namespaces."""
    _mount_cgroups()
    _mount_directories(paths, binaries)
    _hide_kernel_settings()
    _run("mount", "--make-rshared", "/")
    Path("/proc/sys/kernel/hostname").write_text(node.name, encoding="ascii")
    _connect(layout, node)


def _run(*command: str, text: str | None = None) -> None:
    subprocess.run(command, check=True, input=text, text=True, capture_output=False)


def _mount_cgroups() -> None:
    """The old mounts would show paths outside the node's root."""
    mounted = hierarchies(Path("/proc/self/mountinfo").read_text(encoding="ascii"))
    _run("umount", "--recursive", "/sys")
    _run("mount", "-t", "sysfs", "-o", "nosuid,nodev,noexec", "sysfs", "/sys")
    if unified(mounted):
        _run("mount", "-t", "cgroup2", "-o", "nosuid,nodev,noexec", "cgroup2", "/sys/fs/cgroup")
        return
    root = Path("/sys/fs/cgroup")
    _run("mount", "-t", "tmpfs", "-o", "mode=755,nosuid,nodev,noexec", "tmpfs", str(root))
    for hierarchy in mounted:
        if hierarchy.version == 1:
            target = root / hierarchy.path.name
            target.mkdir()
            _run("mount", "-t", "cgroup", "-o", hierarchy.options, "cgroup", str(target))
            for controller in hierarchy.controllers:
                if controller != target.name:
                    (root / controller).symlink_to(target.name)


def _mount_directories(paths: NodePaths, binaries: Path) -> None:
    """Private /run and /var/lib with the node's state in them; sources are held open, as they may lie below these."""
    sources = {path: os.open(paths.root / name, os.O_PATH) for name, path in STATE.items()}
    sources |= {"/var/log": os.open(paths.log, os.O_PATH), str(RUN / "bin"): os.open(binaries, os.O_PATH)}
    for covered in ("/run", "/var/lib"):
        _run("mount", "-t", "tmpfs", "-o", "mode=755,nosuid,nodev", "tmpfs", covered)
    for target, descriptor in sources.items():
        Path(target).mkdir(parents=True, exist_ok=True)
        os.set_inheritable(descriptor, True)
        subprocess.run(["mount", "--bind", f"/proc/self/fd/{descriptor}", target], check=True, close_fds=False)
        os.close(descriptor)
    network = Path("/run/cni/net.d")
    network.mkdir(parents=True)
    (network / "10-slipway.conflist").write_bytes((paths.etc / "10-slipway.conflist").read_bytes())


def _hide_kernel_settings() -> None:
    for name, value in KERNEL_SETTINGS.items():
        copy = RUN / "sysctl" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(f"{value}\n", encoding="ascii")
        _run("mount", "--bind", str(copy), f"/proc/sys/{name}")


def _connect(layout: Layout, node: Node) -> None:
    """Addresses and routes. The host puts the cable `eth0` into this namespace."""
    deadline = time.monotonic() + LINK_TIMEOUT
    while not Path("/sys/class/net/eth0").exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the host did not connect this node within {LINK_TIMEOUT:.0f} s")
        time.sleep(0.005)
    prefix = layout.bridge_network.partition("/")[2]
    batch = [
        "link set lo up",
        f"address add {node.address}/{prefix} dev eth0",
        "link set eth0 up",
        f"route add default via {layout.bridge_address}",
        *[f"route add {other.pod_network} via {other.address}" for other in layout.nodes if other != node],
    ]
    _run("ip", "-batch", "-", text="\n".join(batch) + "\n")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if bridged.exists():  # without br_netfilter a pod cannot reach itself through its own Service
        bridged.write_text("1", encoding="ascii")
    _run("nft", "-f", "-", text=_rules(layout))


def _rules(layout: Layout) -> str:
    """Pods keep their addresses within the cluster; nobody beyond the bridge asks the node's DNS or registry."""
    return f"""
table ip slipway {{
  chain leave {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {layout.pod_network} ip daddr != {layout.pod_network} masquerade
  }}
  chain arrive {{
    type filter hook input priority filter; policy accept;
    ip saddr {layout.bridge_network} accept
    iifname "eth0" meta l4proto {{ tcp, udp }} th dport {{ 53, {REGISTRY_PORT} }} drop
  }}
}}
"""
