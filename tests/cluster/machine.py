"""What local clusters can leave on a machine, as a value to compare before and after."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

from slipway.cluster import cgroups


@dataclass(frozen=True)
class Machine:
    """Everything outside a cluster's directory that a cluster makes."""

    groups: frozenset[str]
    processes: frozenset[str]
    mounts: frozenset[str]
    namespaces: frozenset[str]
    links: frozenset[str]
    addresses: frozenset[str]
    rules: str
    forwarding: str
    slots: frozenset[str]

    def differences(self, later: Machine) -> dict[str, object]:
        """What another moment has more or less of, by kind."""
        return {
            field.name: (getattr(self, field.name), getattr(later, field.name))
            for field in fields(self)
            if getattr(self, field.name) != getattr(later, field.name)
        }


def look() -> Machine:
    """The machine as it is now."""
    groups = {path.name for tree in cgroups.here() for path in tree.path.glob("slipway-*")}
    links = _ip("-json", "address", "show")
    return Machine(
        groups=frozenset(groups),
        processes=frozenset(group for group in groups if cgroups.processes(group)),
        mounts=frozenset(Path("/proc/self/mountinfo").read_text().splitlines()),
        namespaces=frozenset(_namespaces(groups)),
        links=frozenset(link["ifname"] for link in links),
        addresses=frozenset(info["local"] for link in links for info in link.get("addr_info", [])),
        rules=subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout,
        forwarding=Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        slots=frozenset(path.name for path in Path("/var/lib/slipway/slots").glob("*")),
    )


def _ip(*words: str) -> list[dict]:
    return json.loads(subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout)


def _namespaces(groups: set[str]) -> set[str]:
    """The namespaces that a process outside every node is in: none but the machine's own.

    Nodes that run meanwhile start and end processes all the time. One that was seen before the members of their
    groups were read, and after, is either among them or outside.
    """
    before = _elsewhere()
    members = {pid for group in groups for pid in cgroups.processes(group)}
    return {name for pid, name in before & _elsewhere() if pid not in members}


def _elsewhere() -> set[tuple[int, str]]:
    """Every process in a namespace that is not ours: its id; the kind of namespace and its command."""
    own = {kind: str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("net", "pid", "mnt", "cgroup")}
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        for kind, mine in own.items():
            try:
                if str((process / "ns" / kind).readlink()) != mine:
                    found.add((int(process.name), f"{kind} {(process / 'comm').read_text().strip()}"))
            except OSError:  # it ended meanwhile, or is a kernel thread
                continue
    return found
