"""Configuration files of a node's components, as pure functions of its layout.

JSON where a component reads YAML: every JSON document is one, and needs no library to be written.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from slipway.cluster import audit
from slipway.cluster.layout import (
    API_PORT,
    DNS_ADDRESS,
    PAUSE_IMAGE,
    REGISTRY_NAME,
    REGISTRY_PORT,
    Layout,
    Node,
)


def files(layout: Layout, node: Node, etc: Path, *, snapshotter: str, resolvers: list[str]) -> dict[str, str]:
    """Every configuration file of a node but certificates and kubeconfigs, by its name below `etc`."""
    content = {
        "containerd.toml": containerd(etc, snapshotter),
        f"certs.d/{REGISTRY_NAME}/hosts.toml": registry_hosts(layout, etc),
        "kubelet.yaml": _json(kubelet(etc)),
        "kube-proxy.yaml": _json(kube_proxy(layout, node, etc)),
        "10-slipway.conflist": _json(cni(node)),
        "resolv.conf": f"nameserver {DNS_ADDRESS}\n",
    }
    if node.control_plane:
        content["Corefile"] = corefile(node, etc, resolvers)
        content["registry.yaml"] = _json(registry(node, etc))
        if layout.audit:
            content[audit.POLICY_FILE] = _json(audit.policy())
    return content


def containerd(etc: Path, snapshotter: str) -> str:
    """Version 3. Without `restrict_oom_score_adj` no sandbox starts where CAP_SYS_RESOURCE is missing, as in VMs."""
    return f"""\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
address = "/run/containerd/containerd.sock"

[plugins.'io.containerd.internal.v1.opt']
path = "/var/lib/containerd/opt"

[plugins.'io.containerd.cri.v1.images']
snapshotter = "{snapshotter}"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{REGISTRY_NAME}/{PAUSE_IMAGE}"

[plugins.'io.containerd.cri.v1.images'.registry]
config_path = "{etc}/certs.d"

[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["/run/slipway/bin"]
conf_dir = "/run/cni/net.d"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def registry_hosts(layout: Layout, etc: Path) -> str:
    """How containerd reaches the cluster's registry under the name that image references carry."""
    server = f"https://{layout.control_plane.address}:{REGISTRY_PORT}"
    return f"""\
server = "{server}"

[host."{server}"]
capabilities = ["pull", "resolve"]
ca = "{etc}/registry-ca.crt"
client = [["{etc}/registry-client.crt", "{etc}/registry-client.key"]]
"""


def registry(node: Node, etc: Path) -> dict[str, Any]:
    """The OCI registry: file system storage, mutual TLS on the node's address."""
    return {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}, "delete": {"enabled": True}},
        "http": {
            "addr": f"{node.address}:{REGISTRY_PORT}",
            "tls": {
                "certificate": f"{etc}/registry.crt",
                "key": f"{etc}/registry.key",
                "clientcas": [f"{etc}/registry-ca.crt"],
            },
        },
    }


def cni(node: Node) -> dict[str, Any]:
    """A bridge a node. Leases die with the node: their directory is in memory. `portmap` serves hostPort."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": {"type": "host-local", "subnet": node.pod_network, "dataDir": "/run/cni/leases"},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "backend": "nftables", "snat": True}
    return {"cniVersion": "1.0.0", "name": "slipway", "plugins": [bridge, portmap]}


def kubelet(etc: Path) -> dict[str, Any]:
    """The kubelet of a node that shares its machine with others: nothing is evicted for the machine's full disk."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{etc}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": True,
        "enforceNodeAllocatable": ["pods"],
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": f"{etc}/resolv.conf",
        "tlsCertFile": f"{etc}/kubelet.crt",
        "tlsPrivateKeyFile": f"{etc}/kubelet.key",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "healthzBindAddress": "127.0.0.1",
        "systemReserved": {"cpu": "250m", "memory": "1536Mi"},
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "maxParallelImagePulls": 4,
        "registryPullQPS": 0,
        "nodeStatusUpdateFrequency": "5s",
        "shutdownGracePeriod": "0s",
    }


def kube_proxy(layout: Layout, node: Node, etc: Path) -> dict[str, Any]:
    """NodePorts on the node's own address only; connection tracking limits are the machine's and stay untouched."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": f"{etc}/kube-proxy.kubeconfig"},
        "clusterCIDR": layout.pod_network,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "nodePortAddresses": [f"{node.address}/32"],
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def corefile(node: Node, etc: Path, resolvers: list[str]) -> str:
    """Cluster names from the API, the rest from the machine's own resolvers, where it has any."""
    forward = f"    forward . {' '.join(resolvers)}\n    cache 30\n" if resolvers else ""
    return f"""\
.:53 {{
    bind {node.address}
    errors
    health 127.0.0.1:8081
    ready 127.0.0.1:8181
    prometheus 127.0.0.1:9153
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {etc}/coredns.kubeconfig
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
{forward}    loadbalance
    reload
}}
"""


def kubeconfig(server: str, ca: bytes, certificate: Path, key: Path) -> str:
    """A kubeconfig for a component, which names the files of its certificate."""
    user = {"client-certificate": str(certificate), "client-key": str(key)}
    return _json(_kubeconfig(ca, user, server, "default"))


def kubeconfig_embedded(layout: Layout, ca: bytes, certificate: bytes, key: bytes) -> str:
    """A kubeconfig for people, which carries its certificate and can be copied."""
    user = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
    return _json(_kubeconfig(ca, user, layout.api_url, f"slipway-{layout.name}"))


def _kubeconfig(ca: bytes, user: dict[str, str], server: str, context: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {"server": server, "certificate-authority-data": _base64(ca)}}],
        "users": [{"name": context, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }


def local_api_url() -> str:
    """The API server as components of its own node reach it."""
    return f"https://127.0.0.1:{API_PORT}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _json(document: Any) -> str:
    return json.dumps(document, indent=2) + "\n"
