"""Creating, starting, stopping and deleting local clusters. Synchronous: each function returns when it is true."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import ssl
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from slipway.cluster import binaries, host, images, launch, preflight, provision, slots
from slipway.cluster.audit import LOG as AUDIT_LOG
from slipway.cluster.errors import ClusterError
from slipway.cluster.layout import GATEWAY_NODE_PORT, REGISTRY_NAME, REGISTRY_PORT, Layout, Node, NodePaths, plan
from slipway.cluster.paths import clusters as clusters_directory
from slipway.progress import Progress, Step
from slipway.views.conditions import condition

NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
READY_TIMEOUT = 300.0
MOST_NODES = 16


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """How this machine reaches a cluster's registry; `name` is what image references in the cluster begin with."""

    url: str
    name: str
    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Cluster:
    """A local cluster, running or stopped."""

    layout: Layout
    directory: Path

    @property
    def name(self) -> str:
        return self.layout.name

    @property
    def context(self) -> str:
        """The name of its context in its kubeconfig."""
        return f"slipway-{self.name}"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def node_ips(self) -> list[str]:
        return [node.address for node in self.layout.nodes]

    @property
    def gateway_url(self) -> str:
        """Where its gateway answers, once the platform is installed."""
        return f"http://{self.layout.control_plane.address}:{GATEWAY_NODE_PORT}"

    @property
    def registry(self) -> RegistryAccess:
        url = f"https://{self.layout.control_plane.address}:{REGISTRY_PORT}"
        files = self.directory / "registry"
        return RegistryAccess(url, REGISTRY_NAME, files / "ca.crt", files / "client.crt", files / "client.key")

    @property
    def audit_logs(self) -> list[Path]:
        """The API server's audit log, oldest file first; empty where it keeps none."""
        log = self.paths(self.layout.control_plane).log
        return [*sorted(log.glob(f"{Path(AUDIT_LOG).stem}-*")), *log.glob(AUDIT_LOG)]

    def paths(self, node: Node) -> NodePaths:
        return NodePaths(self.directory / "nodes" / node.name)

    def running(self) -> bool:
        """Whether any of its nodes has a process."""
        return any(launch.running(node) for node in self.layout.nodes)

    def node(self, name: str) -> Node:
        """One of its nodes; raises `ClusterError` for an unknown name."""
        for node in self.layout.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.layout.nodes)
        raise ClusterError(f"Cluster {self.name} has no node {name}.", f"It has: {known}")


def clusters() -> list[Cluster]:
    """All clusters of this user, by name."""
    files = sorted(clusters_directory().glob("*/cluster.json"))
    return [Cluster(Layout.from_json(json.loads(file.read_text(encoding="utf-8"))), file.parent) for file in files]


def find(name: str) -> Cluster:
    """One cluster; raises `ClusterError` when there is none of this name."""
    for cluster in clusters():
        if cluster.name == name:
            return cluster
    known = ", ".join(cluster.name for cluster in clusters())
    hint = f"There is: {known}" if known else f"Create it: slipway cluster create {name}"
    raise ClusterError(f"There is no local cluster {name}.", hint)


def create(name: str, nodes: int, progress: Progress, *, audit: bool = False) -> Cluster:
    """A new cluster with its nodes Ready; finishes one that was interrupted; a running one is returned as it is.

    `audit`: its API server writes down what the platform's service accounts ask of it.
    """
    _check_request(name, nodes)
    preflight.check()
    directory = clusters_directory() / name
    programs = binaries.directory(progress)
    if not (directory / "cluster.json").exists():
        with progress.step(f"Preparing cluster {name}"):
            _provision(name, nodes, directory, audit=audit)
    cluster = find(name)
    if len(cluster.layout.nodes) != nodes:
        raise ClusterError(
            f"Cluster {name} exists with {len(cluster.layout.nodes)} node(s), not {nodes}.",
            f"Delete it first: slipway cluster delete {name}",
        )
    if audit and not cluster.layout.audit:
        raise ClusterError(
            f"Cluster {name} exists and keeps no audit log.", f"Delete it first: slipway cluster delete {name}"
        )
    _start(cluster, programs, progress)
    return cluster


def _check_name(name: str) -> None:
    """A name becomes a directory, which is deleted one day."""
    if not NAME.fullmatch(name):
        raise ClusterError(
            f"{name!r} cannot name a cluster: 1 to 32 lower-case letters, digits or '-', a letter first.",
            "For example: slipway cluster create dev",
        )


def _check_request(name: str, nodes: int) -> None:
    _check_name(name)
    if not 1 <= nodes <= MOST_NODES:
        raise ClusterError(f"A local cluster has 1 to {MOST_NODES} nodes, not {nodes}.", "For example: --nodes 2")


def _provision(name: str, nodes: int, directory: Path, *, audit: bool) -> None:
    """Takes slots and writes all files; `cluster.json` comes last, so that half a cluster is never taken for one."""
    with slots.machine_lock():
        slots.release(directory)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, mode=0o700)
        layout = plan(name, slots.take(nodes, directory), host.bridge_network(), audit=audit)
    provision.provision(layout, directory)
    (directory / "cluster.json").write_text(json.dumps(layout.to_json(), indent=2), encoding="utf-8")


def start(name: str, progress: Progress) -> Cluster:
    """Starts a stopped cluster with everything that it had; returns when its nodes are Ready."""
    cluster = find(name)
    preflight.check()
    _start(cluster, binaries.directory(progress), progress)
    return cluster


def _start(cluster: Cluster, programs: Path, progress: Progress) -> None:
    with progress.step(f"Starting {len(cluster.layout.nodes)} node(s)"), slots.machine_lock():
        host.connect_host(cluster.layout)
        for node in cluster.layout.nodes:
            if not launch.running(node):
                launch.start(node, cluster.paths(node), programs)
    with progress.step("Waiting until every node is Ready") as step:
        _wait(cluster, step)
    images.push_all(cluster.registry, progress, [images.PAUSE])


def start_node(name: str, node_name: str, progress: Progress) -> None:
    """Starts one stopped node of a running cluster."""
    cluster = find(name)
    node = cluster.node(node_name)
    launch.start(node, cluster.paths(node), binaries.directory(progress))


def stop_node(name: str, node_name: str) -> None:
    """Ends one node, as when its power fails."""
    cluster = find(name)
    node = cluster.node(node_name)
    launch.end(node, cluster.paths(node))


def stop(name: str, progress: Progress) -> None:
    """Stops a cluster; its objects, images and volumes stay for the next start."""
    cluster = find(name)
    with progress.step(f"Stopping cluster {name}"):
        _end(cluster, gently=True)


def delete(name: str, progress: Progress) -> None:
    """Ends a cluster and removes all that it had, also one that was only half created or half deleted."""
    _check_name(name)
    directory = clusters_directory() / name
    if not directory.exists():
        find(name)
    with progress.step(f"Deleting cluster {name}"):
        with contextlib.suppress(ClusterError):
            _end(find(name), gently=False)
        with slots.machine_lock():
            _end_slots(directory)
            shutil.rmtree(directory)
            slots.release(directory)
            if not slots.taken():
                host.disconnect_host()
                slots.forget_machine()


def _end(cluster: Cluster, *, gently: bool) -> None:
    with ThreadPoolExecutor(MOST_NODES) as pool:
        ends = [pool.submit(launch.end, node, cluster.paths(node), gently=gently) for node in cluster.layout.nodes]
        for ended in ends:
            ended.result()


def _end_slots(directory: Path) -> None:
    """Ends what runs on the slots of a cluster whose description was never finished."""
    for slot, owner in slots.taken().items():
        if owner == directory:
            node = Node("", 1, slot, "0.0.0.0/0", "")
            launch.end(node, NodePaths(directory))


def _wait(cluster: Cluster, step: Step) -> None:
    deadline = time.monotonic() + READY_TIMEOUT
    context = _tls(cluster)
    while not _all_ready(cluster, context):
        for node in cluster.layout.nodes:
            if not launch.running(node):
                words = launch.last_words(cluster.paths(node), "node")
                raise ClusterError(f"Node {node.name} ended: {words}", f"Read {cluster.paths(node).log / 'node.log'}")
        if time.monotonic() > deadline:
            raise ClusterError(
                f"Cluster {cluster.name} is not Ready after {READY_TIMEOUT:.0f} s: {_complaint(cluster)}",
                f"See which component: slipway cluster status {cluster.name}",
            )
        step.detail(_complaint(cluster))
        time.sleep(0.05)


def _complaint(cluster: Cluster) -> str:
    """The last words of the components that did not stay up."""
    restarted = [
        f"{state['name']} ({state['restarts']} restarts): {launch.last_words(cluster.paths(node), str(state['name']))}"
        for node in cluster.layout.nodes
        for state in launch.component_states(cluster.paths(node))
        if state["restarts"]
    ]
    return "; ".join(restarted)[:600] or "no component ended"


def _tls(cluster: Cluster) -> ssl.SSLContext:
    etc = cluster.paths(cluster.layout.control_plane).etc
    context = ssl.create_default_context(cafile=str(etc / "ca.crt"))
    context.load_cert_chain(etc / "admin.crt", etc / "admin.key")
    return context


def ready_nodes(cluster: Cluster, context: ssl.SSLContext | None = None) -> set[str]:
    """The names of the nodes whose Ready condition is True now; empty while the API server does not answer."""
    url = f"{cluster.layout.api_url}/api/v1/nodes"
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context or _tls(cluster))
    )
    try:
        with opener.open(url, timeout=5) as response:
            items = json.load(response)["items"]
    except (OSError, ValueError):
        return set()
    return {node["metadata"]["name"] for node in items if condition(node, "Ready").holds}


def _all_ready(cluster: Cluster, context: ssl.SSLContext) -> bool:
    return ready_nodes(cluster, context) >= {node.name for node in cluster.layout.nodes} and _started(cluster)


def _started(cluster: Cluster) -> bool:
    """Whether every component has been started: a node of an earlier run may still be written down as Ready."""
    states = [state for node in cluster.layout.nodes for state in launch.component_states(cluster.paths(node))]
    return bool(states) and all(state["state"] == "running" for state in states)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node as it is: `components` as its PID 1 wrote them."""

    name: str
    address: str
    running: bool
    ready: bool
    components: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """A cluster as it is, and what it does not do."""

    name: str
    running: bool
    api_url: str
    nodes: list[NodeStatus]
    notes: tuple[str, ...] = ("NetworkPolicy is not enforced: the network of local clusters has no enforcer.",)


def status(name: str) -> ClusterStatus:
    """What is true of a cluster now."""
    cluster = find(name)
    ready = ready_nodes(cluster) if cluster.running() else set()
    nodes = [
        NodeStatus(
            node.name,
            node.address,
            launch.running(node),
            launch.running(node) and node.name in ready,
            launch.component_states(cluster.paths(node)) if launch.running(node) else [],
        )
        for node in cluster.layout.nodes
    ]
    return ClusterStatus(name, cluster.running(), cluster.layout.api_url, nodes)


def log_files(name: str, component: str | None = None) -> Iterator[Path]:
    """The log files of a cluster's components, or of one; raises `ClusterError` for an unknown one."""
    cluster = find(name)
    found = [file for node in cluster.layout.nodes for file in sorted(cluster.paths(node).log.glob("*.log"))]
    chosen = [file for file in found if component in {None, file.stem}]
    if not chosen:
        known = ", ".join(sorted({file.stem for file in found}))
        raise ClusterError(f"Cluster {name} has no component {component}.", f"It has: {known or 'no logs yet'}")
    yield from chosen
