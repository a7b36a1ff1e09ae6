"""Names and addresses of a cluster: pure functions of two small numbers, its index and the slots of its nodes.

A slot is a number from 1 to 239 that one node on this machine has at a time. All nodes of all clusters share one
bridge, so that they reach one another and the host reaches them; pods have a network a cluster.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

BRIDGE = "slipway0"
SLOTS = range(1, 240)
SERVICE_OCTET = 96
SERVICE_NETWORK = "10.96.0.0/16"
DNS_ADDRESS = "10.96.0.10"
API_SERVICE_ADDRESS = "10.96.0.1"
REGISTRY_NAME = "registry.slipway-system.svc:5000"
REGISTRY_PORT = 5000
PAUSE_IMAGE = "slipway/pause:1"
API_PORT = 6443
GATEWAY_NODE_PORT = 30080
PLATFORM_NAMESPACE = "slipway-system"


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its number in the cluster, from 1; its slot on the machine."""

    name: str
    number: int
    slot: int
    bridge_network: str
    pod_network: str

    @property
    def address(self) -> str:
        """The node's address on the bridge."""
        return str(IPv4Network(self.bridge_network)[10 + self.slot])

    @property
    def link(self) -> str:
        """The host's end of the node's cable."""
        return f"slipway-n{self.slot}"

    @property
    def cgroup(self) -> str:
        """The node's control group below the root of each hierarchy."""
        return f"slipway-n{self.slot}"

    @property
    def control_plane(self) -> bool:
        """The first node runs the control plane and the registry."""
        return self.number == 1


@dataclass(frozen=True, slots=True)
class Layout:
    """One cluster: what was decided when it was created, and never changes. `audit`: its API server keeps a log."""

    name: str
    bridge_network: str
    nodes: tuple[Node, ...]
    audit: bool = False

    @property
    def control_plane(self) -> Node:
        return self.nodes[0]

    @property
    def bridge_address(self) -> str:
        """The host's address on the bridge: the nodes' default route."""
        return str(IPv4Network(self.bridge_network)[1])

    @property
    def pod_network(self) -> str:
        """All pods of the cluster: a /16 around the nodes' /24s."""
        return str(IPv4Network(self.control_plane.pod_network).supernet(new_prefix=16))

    @property
    def api_url(self) -> str:
        return f"https://{self.control_plane.address}:{API_PORT}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Layout:
        nodes = tuple(Node(**node) for node in data["nodes"])
        return cls(data["name"], data["bridge_network"], nodes, data.get("audit", False))


def plan(name: str, slots: list[int], bridge_network: str, *, audit: bool = False) -> Layout:
    """The layout of a new cluster on free `slots`, one a node. The first slot also chooses its pod network."""
    pods = 10 + slots[0]
    pods += pods >= SERVICE_OCTET  # that network is for Services
    nodes = tuple(
        Node(f"{name}-{number}", number, slot, bridge_network, f"10.{pods}.{number}.0/24")
        for number, slot in enumerate(slots, 1)
    )
    return Layout(name, bridge_network, nodes, audit)


@dataclass(frozen=True, slots=True)
class NodePaths:
    """The directory of one node, as seen from inside and outside."""

    root: Path

    @property
    def etc(self) -> Path:
        """Configuration and certificates."""
        return self.root / "etc"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def state(self) -> Path:
        """What PID 1 says of its components, as JSON."""
        return self.root / "state.json"

    @property
    def launcher(self) -> Path:
        """The process id, on the host, of what holds the node's namespaces."""
        return self.root / "pid"
