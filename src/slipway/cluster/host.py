"""What a local cluster changes on its machine outside its namespaces: one bridge, one nftables table, forwarding.

All of it is made when the first node starts and taken away when the last cluster is deleted.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from ipaddress import IPv4Network, ip_network
from pathlib import Path

from slipway.cluster.errors import ClusterError
from slipway.cluster.layout import BRIDGE, Layout
from slipway.cluster.slots import MACHINE

CANDIDATES = ("172.30.0.0/24", "172.29.0.0/24", "172.28.0.0/24", "10.255.0.0/24", "192.168.230.0/24")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
FORWARDING_BEFORE = MACHINE / "ip_forward.before"


def run(*command: str, text: str | None = None) -> str:
    """Runs a tool of the host; raises with its own words when it fails."""
    done = subprocess.run(command, check=False, input=text, text=True, capture_output=True)
    if done.returncode:
        raise ClusterError(f"`{' '.join(command[:6])}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def free_network(routes: list[str], wanted: str = "") -> str:
    """The first network of ours that no route of the machine overlaps."""
    used = [ip_network(route) for route in routes if route != "default"]
    for candidate in filter(None, (wanted, *CANDIDATES)):
        network = IPv4Network(candidate)
        if not any(network.overlaps(other) for other in used if isinstance(other, IPv4Network)):
            return candidate
    raise ClusterError(
        f"Every network for local nodes is in use on this machine: {', '.join(CANDIDATES)}.",
        "Free one of them: ip route",
    )


def bridge_network() -> str:
    """The network of the bridge: the one it has, else a free one."""
    shown = json.loads(run("ip", "-json", "-4", "address", "show") or "[]")
    for link in shown:
        if link.get("ifname") == BRIDGE and link.get("addr_info"):
            info = link["addr_info"][0]
            return str(ip_network(f"{info['local']}/{info['prefixlen']}", strict=False))
    routes = json.loads(run("ip", "-json", "-4", "route", "show") or "[]")
    return free_network([route["dst"] for route in routes])


def connect_host(layout: Layout) -> None:
    """The bridge with the host's address, and the way out for nodes. Does nothing where they are there."""
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        prefix = layout.bridge_network.partition("/")[2]
        batch = [
            f"link add {BRIDGE} type bridge",
            f"address add {layout.bridge_address}/{prefix} dev {BRIDGE}",
            f"link set {BRIDGE} up",
        ]
        run("ip", "-batch", "-", text="\n".join(batch) + "\n")
    if shutil.which("modprobe"):  # so that pods reach themselves through their own Service; built in where this fails
        subprocess.run(["modprobe", "-q", "br_netfilter"], check=False, capture_output=True)
    if FORWARDING.read_text(encoding="ascii").strip() == "0":
        FORWARDING_BEFORE.write_text("0", encoding="ascii")
        FORWARDING.write_text("1", encoding="ascii")
    run("nft", "-f", "-", text=_way_out(layout.bridge_network))


def _way_out(network: str) -> str:
    """Nodes reach what the host reaches; nobody from outside is forwarded to the nodes."""
    return f"""
table ip slipway
delete table ip slipway
table ip slipway {{
  chain leave {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {network} oifname != "{BRIDGE}" masquerade
  }}
  chain pass {{
    type filter hook forward priority filter; policy accept;
    oifname "{BRIDGE}" iifname != "{BRIDGE}" ct state new drop
  }}
}}
"""


def disconnect_host() -> None:
    """Takes everything back. What is not there is no error."""
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        run("ip", "link", "delete", BRIDGE)
    subprocess.run(["nft", "delete", "table", "ip", "slipway"], check=False, capture_output=True)
    if FORWARDING_BEFORE.exists():
        FORWARDING.write_text(FORWARDING_BEFORE.read_text(encoding="ascii"), encoding="ascii")


def remove_link(name: str) -> None:
    """Removes a node's cable, which goes by itself with the node's namespace, if it was made and never handed over."""
    if Path(f"/sys/class/net/{name}").exists():
        subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)
