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


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one node."""

    layout: Layout
    node: Node
    etc: Path
    authorities: Authorities

    def write_all(self, signing: pki.Pair) -> None:
        """Certificates, kubeconfigs and configuration."""
        self._certificates()
        if self.node.control_plane:
            signing.write(self.etc, "sa")
            self._control_plane_certificates()
            self._control_plane_clients()
        snapshotter = "native" if filesystem(self.etc) in {OVERLAYFS, TMPFS} else "overlayfs"
        contents = config.files(self.layout, self.node, self.etc, snapshotter=snapshotter, resolvers=resolvers())
        for name, content in contents.items():
            pki.write_private(self.etc / name, content.encode())

    def _certificates(self) -> None:
        cluster, registry = self.authorities.cluster, self.authorities.registry
        pki.write_private(self.etc / "ca.crt", cluster.pair.certificate)
        pki.write_private(self.etc / "registry-ca.crt", registry.pair.certificate)
        registry.client(self.node.name).write(self.etc, "registry-client")
        identity = f"system:node:{self.node.name}"
        hosts = (self.node.name, self.node.address)
        self._client("kubelet", cluster.server(identity, *hosts, organization="system:nodes"))
        self._client("kube-proxy", cluster.client("system:kube-proxy"))

    def _client(self, name: str, pair: pki.Pair) -> None:
        """A component's certificate and its kubeconfig."""
        pair.write(self.etc, name)
        server = config.local_api_url() if self.node.control_plane else self.layout.api_url
        authority = self.authorities.cluster.pair.certificate
        text = config.kubeconfig(server, authority, self.etc / f"{name}.crt", self.etc / f"{name}.key")
        pki.write_private(self.etc / f"{name}.kubeconfig", text.encode())

    def _control_plane_certificates(self) -> None:
        of, etc = self.authorities, self.etc
        of.cluster.pair.write(etc, "ca")
        of.cluster.server("kube-apiserver", *_api_names(self.node)).write(etc, "apiserver")
        of.cluster.client("kube-apiserver-kubelet-client").write(etc, "apiserver-kubelet-client")
        of.cluster.client("admin", "system:masters").write(etc, "admin")
        pki.write_private(etc / "front-proxy-ca.crt", of.front_proxy.pair.certificate)
        of.front_proxy.client("front-proxy-client").write(etc, "front-proxy-client")
        pki.write_private(etc / "etcd-ca.crt", of.etcd.pair.certificate)
        of.etcd.server("etcd", "localhost", "127.0.0.1").write(etc, "etcd-server")
        of.etcd.client("kube-apiserver").write(etc, "etcd-client")
        service = "registry.slipway-system.svc"
        of.registry.server("registry", service, f"{service}.cluster.local", self.node.address).write(etc, "registry")

    def _control_plane_clients(self) -> None:
        cluster = self.authorities.cluster
        self._client("controller-manager", cluster.client("system:kube-controller-manager"))
        self._client("scheduler", cluster.client("system:kube-scheduler"))
        self._client("coredns", cluster.client("system:coredns"))
        self._client("metrics-server", cluster.server("system:metrics-server", "metrics-server.kube-system.svc"))


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
        Files(layout, node, paths.etc, authorities).write_all(signing)
    _for_people(layout, directory, authorities)


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
