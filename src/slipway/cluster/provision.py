"""The files of a new cluster: certificates, kubeconfigs and configuration, each node with no more than it needs."""

from __future__ import annotations

import ctypes
import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from slipway.cluster import config, pki
from slipway.cluster.layout import API_SERVICE_ADDRESS, Layout, Node, NodePaths

OVERLAYFS = 0x794C7630
TMPFS = 0x01021994


@dataclass(frozen=True, slots=True)
class Authorities:
    """Who vouches for whom: each signs for one circle only."""

    cluster: pki.Authority
    front_proxy: pki.Authority
    etcd: pki.Authority
    registry: pki.Authority

    @classmethod
    def create(cls) -> Authorities:
        names = ("slipway-cluster", "slipway-front-proxy", "slipway-etcd", "slipway-registry")
        return cls(*(pki.Authority(name) for name in names))


def provision(layout: Layout, directory: Path) -> None:
    """Writes everything that a new cluster needs below `directory`."""
    authorities = Authorities.create()
    signing = pki.signing_pair()
    for node in layout.nodes:
        paths = NodePaths(directory / "nodes" / node.name)
        for name in ("etc", "log", "containerd", "kubelet", "etcd", "registry"):
            (paths.root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        described = {"layout": layout.to_json(), "number": node.number}
        (paths.root / "node.json").write_text(json.dumps(described), encoding="utf-8")
        _node_certificates(layout, node, paths.etc, authorities)
        if node.control_plane:
            _control_plane_certificates(layout, node, paths.etc, authorities, signing)
        snapshotter = "native" if filesystem(paths.root) in {OVERLAYFS, TMPFS} else "overlayfs"
        contents = config.files(layout, node, paths.etc, snapshotter=snapshotter, resolvers=resolvers())
        for name, content in contents.items():
            pki.write_private(paths.etc / name, content.encode())
    _for_people(layout, directory, authorities)


def _node_certificates(layout: Layout, node: Node, etc: Path, authorities: Authorities) -> None:
    cluster = authorities.cluster
    pki.write_private(etc / "ca.crt", cluster.pair.certificate)
    pki.write_private(etc / "registry-ca.crt", authorities.registry.pair.certificate)
    authorities.registry.client(node.name).write(etc, "registry-client")
    identity = f"system:node:{node.name}"
    cluster.server(identity, node.name, node.address, organization="system:nodes").write(etc, "kubelet")
    _component(layout, node, etc, cluster, "kubelet", None)
    _component(layout, node, etc, cluster, "kube-proxy", cluster.client("system:kube-proxy"))


def _component(layout: Layout, node: Node, etc: Path, cluster: pki.Authority, name: str, pair: pki.Pair | None) -> None:
    """A component's certificate, unless it has one already, and its kubeconfig."""
    if pair:
        pair.write(etc, name)
    server = config.local_api_url() if node.control_plane else ""
    text = config.kubeconfig(layout, cluster.pair.certificate, etc / f"{name}.crt", etc / f"{name}.key", server=server)
    pki.write_private(etc / f"{name}.kubeconfig", text.encode())


def _control_plane_certificates(
    layout: Layout, node: Node, etc: Path, authorities: Authorities, signing: pki.Pair
) -> None:
    cluster, registry, etcd = authorities.cluster, authorities.registry, authorities.etcd
    cluster.pair.write(etc, "ca")
    signing.write(etc, "sa")
    cluster.server("kube-apiserver", *_api_names(node)).write(etc, "apiserver")
    cluster.client("kube-apiserver-kubelet-client").write(etc, "apiserver-kubelet-client")
    cluster.client("admin", "system:masters").write(etc, "admin")
    _front_proxy(etc, authorities.front_proxy)
    pki.write_private(etc / "etcd-ca.crt", etcd.pair.certificate)
    etcd.server("etcd", "localhost", "127.0.0.1").write(etc, "etcd-server")
    etcd.client("kube-apiserver").write(etc, "etcd-client")
    names = ("registry.slipway-system.svc", "registry.slipway-system.svc.cluster.local", node.address)
    registry.server("registry", *names).write(etc, "registry")
    for name in ("controller-manager", "scheduler"):
        _component(layout, node, etc, cluster, name, cluster.client(f"system:kube-{name}"))
    _component(layout, node, etc, cluster, "coredns", cluster.client("system:coredns"))
    pair = cluster.server("system:metrics-server", "metrics-server.kube-system.svc")
    _component(layout, node, etc, cluster, "metrics-server", pair)


def _front_proxy(etc: Path, authority: pki.Authority) -> None:
    pki.write_private(etc / "front-proxy-ca.crt", authority.pair.certificate)
    authority.client("front-proxy-client").write(etc, "front-proxy-client")


def _api_names(node: Node) -> list[str]:
    service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    return ["localhost", *service, "127.0.0.1", node.address, node.name, API_SERVICE_ADDRESS]


def _for_people(layout: Layout, directory: Path, authorities: Authorities) -> None:
    """What the command line uses: the administrator's kubeconfig and the registry's client certificate."""
    admin = authorities.cluster.client("slipway-admin", "system:masters")
    text = config.kubeconfig_embedded(layout, authorities.cluster.pair.certificate, admin.certificate, admin.key)
    pki.write_private(directory / "kubeconfig", text.encode())
    pki.write_private(directory / "registry" / "ca.crt", authorities.registry.pair.certificate)
    authorities.registry.client("slipway-admin").write(directory / "registry", "client")


def resolvers() -> list[str]:
    """The machine's DNS servers as a node can reach them: loopback ones are only the machine's own."""
    for name in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        file = Path(name)
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
        servers = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
        if reachable := [server for server in servers if not server.startswith("127.") and server != "::1"]:
            return [server for server in reachable if ":" not in server][:3]
    return []


def filesystem(path: Path) -> int:
    """The type of the file system below `path`, as in statfs(2): on some, overlayfs cannot keep its layers."""
    buffer = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), buffer):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    number: int = struct.unpack_from("=q", buffer)[0]
    return number
