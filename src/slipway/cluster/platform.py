"""Installing the platform on a cluster: the one started here, or one that exists.

The chart `helm/slipway` is the only installer, and Envoy Gateway's own chart brings the gateway. What is installed as
asked already is left alone, so that a second run takes a second.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.cluster import binaries, images
from slipway.cluster.errors import ClusterError
from slipway.cluster.kubectl import Tools
from slipway.cluster.layout import GATEWAY_NODE_PORT, PLATFORM_NAMESPACE, REGISTRY_NAME
from slipway.cluster.paths import resource
from slipway.cluster.readiness import Wanted, hopeless, missing
from slipway.progress import Progress, Step

if TYPE_CHECKING:
    from slipway.cluster.lifecycle import Cluster, RegistryAccess

NAMESPACE, RELEASE = PLATFORM_NAMESPACE, "slipway"
GATEWAY_NAMESPACE, GATEWAY_RELEASE = "envoy-gateway-system", "slipway-gateway"
GATEWAY_API = "gateways.gateway.networking.k8s.io"
CRDS = (GATEWAY_API, "gatewayclasses.gateway.networking.k8s.io", "envoyproxies.gateway.envoyproxy.io")
INPUTS = "slipway.dev/inputs"
PENDING = "owner=helm,status in (pending-install,pending-upgrade,pending-rollback)"
GATEWAY_CHART = "charts/gateway-helm"
OWNED_PROXY = "gateway.envoyproxy.io/owning-gateway-name=slipway"
TIMEOUT = 180.0
PAUSE = 0.5
REGISTRY_SECRET = "slipway-registry"  # noqa: S105  # the name of one
_APPLY = ("apply", "--server-side", "--force-conflicts", "--field-manager=slipway")

Values = dict[str, Any]
ALONE: Values = {"provider": {"type": "Kubernetes", "kubernetes": {"leaderElection": {"disable": True}}}}
"""One controller on one machine: after a restart it does not wait for the Lease of the one before."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to install: a context of a kubeconfig, and the local cluster that it belongs to, if it does."""

    kubeconfig: Path
    context: str
    cluster: Cluster | None = None

    @classmethod
    def of(cls, cluster: Cluster) -> Target:
        """A local cluster."""
        return cls(cluster.kubeconfig, cluster.context, cluster)


@dataclass(frozen=True, slots=True)
class Options:
    """What a cluster that exists has to be told; a local cluster needs none of it.

    `image_registry` is the host and path below which the platform's images lie. `gateway` is NAMESPACE/NAME of a
    Gateway to use; `create_gateway` installs Envoy Gateway and makes one.
    """

    image_registry: str = ""
    gateway: str = ""
    create_gateway: bool = False


@dataclass(frozen=True, slots=True)
class Installed:
    """What Helm says is installed: the platform's version, and whether Envoy Gateway came with it."""

    version: str
    gateway: bool


@dataclass(frozen=True, slots=True)
class Release:
    """One chart with its values, as Helm shall install it."""

    name: str
    namespace: str
    chart: Path
    values: Values

    @property
    def inputs(self) -> str:
        """A digest of everything that decides what is installed."""
        return _digest_of(self.chart, self.namespace, self.values)


def install(target: Target, progress: Progress, options: Options | None = None) -> None:
    """Installs or updates the platform; returns when it answers.

    Raises `ClusterError` when the cluster cannot be reached, an image is not to be had, or it is not ready after
    three minutes.
    """
    tools = _tools(target, progress)
    if target.cluster:
        releases = _prepare_local(target.cluster, tools, progress)
    else:
        releases = foreign_releases(options or Options(), tools.programs)
        _say_what_is_there(tools, options or Options(), progress)
    with progress.step("Installing the platform"):
        there = _deployed(tools)
        _apply(tools, [release for release in releases if release.inputs not in there])
    with progress.step("Waiting until the platform answers") as step:
        _wait(tools, wanted(releases), step)


def _prepare_local(cluster: Cluster, tools: Tools, progress: Progress) -> list[Release]:
    """Sends the images, and applies the gateway's definitions meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        defined = pool.submit(_apply_definitions, tools)
        references = images.push_all(cluster.registry, progress)
        defined.result()
    tools.kubectl(*_APPLY, "--filename=-", manifest=registry_secret(cluster.registry))
    return local_releases(references, tools.programs, cluster.gateway_url)


def registry_secret(access: RegistryAccess) -> dict[str, Any]:
    """What the operator needs to ask the cluster's registry what a tag means."""
    files = {"ca.crt": access.ca, "tls.crt": access.cert, "tls.key": access.key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": REGISTRY_SECRET, "namespace": NAMESPACE},
        "stringData": {name: file.read_text(encoding="ascii") for name, file in files.items()},
    }


def uninstall(target: Target, progress: Progress) -> None:
    """Removes the platform, and Envoy Gateway where it came with it. Definitions and ModelServices stay."""
    tools = _tools(target, progress)
    found = installed(target, progress)
    if found is None:
        raise ClusterError(f"The platform is not installed on {target.context}.", "Install it: slipway up")
    with progress.step("Removing the platform"):
        tools.helm("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--ignore-not-found", "--wait")
        if found.gateway:
            _wait_for_proxies_to_go(tools)
            tools.helm("uninstall", GATEWAY_RELEASE, f"--namespace={GATEWAY_NAMESPACE}", "--ignore-not-found", "--wait")
    progress.note("The definitions of Slipway's kinds stay, and with them all ModelServices.")


def installed(target: Target, progress: Progress) -> Installed | None:
    """What is installed; None when nothing is."""
    tools = _tools(target, progress)
    found = json.loads(tools.helm("list", "--all-namespaces", f"--filter=^{RELEASE}", "--output=json"))
    versions = {entry["name"]: str(entry["app_version"]) for entry in found}
    return Installed(versions[RELEASE], GATEWAY_RELEASE in versions) if RELEASE in versions else None


def local_releases(references: dict[str, str], programs: Path, gateway_url: str) -> list[Release]:
    """Both charts for a local cluster, from the references of the images in its registry."""
    gateway = {
        "create": True,
        "url": gateway_url,
        "proxyNamespace": GATEWAY_NAMESPACE,
        "service": {"type": "NodePort", "nodePort": GATEWAY_NODE_PORT},
        "envoy": {"image": references[images.ENVOY]},
    }
    values = _image_values(references[images.OPERATOR], references[images.SERVING]) | {"gateway": gateway}
    values["registries"] = [{"host": REGISTRY_NAME, "secretName": REGISTRY_SECRET}]
    controller = gateway_release(programs, references[images.ENVOY_GATEWAY])
    controller.values["config"] = {"envoyGateway": ALONE}
    return [controller, _slipway(values)]


def foreign_releases(options: Options, programs: Path) -> list[Release]:
    """The charts for a cluster that exists. Raises `ClusterError` for options that do not go together."""
    registry = options.image_registry.rstrip("/")
    if not registry:
        raise ClusterError(
            "A cluster that exists takes the platform's images from a registry, and none is named.",
            "Build and push images/*/Containerfile, then: slipway up --context NAME --image-registry HOST/PATH",
        )
    if options.gateway and options.create_gateway:
        raise ClusterError("Either use a Gateway that exists, or create one.", "Leave out one of the two options.")
    references = {name: f"{registry}/{name}:{images.tag(name)}" for name in images.NAMES}
    gateway: Values = {"create": options.create_gateway, "reference": options.gateway}
    if options.create_gateway:
        gateway |= {"envoy": {"image": references[images.ENVOY]}, "proxyNamespace": GATEWAY_NAMESPACE}
    values = _image_values(references[images.OPERATOR], references[images.SERVING]) | {"gateway": gateway}
    first = [gateway_release(programs, references[images.ENVOY_GATEWAY])] if options.create_gateway else []
    return [*first, _slipway(values)]


def gateway_release(programs: Path, image: str) -> Release:
    """Envoy Gateway's own chart; its definitions are applied apart from it, because Helm never updates those."""
    values = {
        "global": {"images": {"envoyGateway": {"image": image}}},
        "crds": {"enabled": False},
        "deployment": {
            "envoyGateway": {
                "readinessProbe": {"periodSeconds": 1},
                "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}},
            }
        },
        "topologyInjector": {"enabled": False},
    }
    return Release(GATEWAY_RELEASE, GATEWAY_NAMESPACE, programs / GATEWAY_CHART, values)


def wanted(releases: list[Release]) -> list[Wanted]:
    """What has to be ready when these releases are installed.

    A Gateway only where its port is a node's: a load balancer takes its time, or never comes, and that is not ours.
    """
    found = [Wanted("Deployment", "slipway-operator", "the operator")]
    if any(release.name == GATEWAY_RELEASE for release in releases):
        found.append(Wanted("Deployment", "envoy-gateway", "Envoy Gateway"))
    if any("service" in release.values.get("gateway", {}) for release in releases):
        found.append(Wanted("Gateway", "slipway", "the gateway"))
    return found


def _slipway(values: Values) -> Release:
    return Release(RELEASE, NAMESPACE, resource("helm/slipway"), values)


def _image_values(operator: str, serving: str) -> Values:
    """`REGISTRY/slipway/operator:TAG[@DIGEST]` as the chart's values."""
    registry, _, rest = operator.partition(f"/{images.OPERATOR}:")
    tag, _, digest = rest.partition("@")
    image = {"registry": registry, "repository": images.OPERATOR, "tag": tag, "digest": digest}
    return {"image": image, "serving": {"image": serving}}


def _tools(target: Target, progress: Progress) -> Tools:
    return Tools(binaries.directory(progress), target.kubeconfig, target.context)


def _say_what_is_there(tools: Tools, options: Options, progress: Progress) -> None:
    """On a cluster that exists, a Gateway is used or created only when that was asked for."""
    if options.create_gateway or options.gateway:
        return
    found = [f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in _gateways(tools)]
    if found:
        progress.note(f"{tools.context} has Gateways: {', '.join(found[:5])}. Use one: --gateway NAMESPACE/NAME")
    else:
        progress.note(f"{tools.context} has no Gateway: models are reached from inside, or through port-forward.")


def _gateways(tools: Tools) -> list[dict[str, Any]]:
    known = tools.kubectl("get", "customresourcedefinitions", GATEWAY_API, "--ignore-not-found", "--output=name")
    return tools.get(GATEWAY_API, "--all-namespaces") if known.strip() else []


def _deployed(tools: Tools) -> set[str]:
    """The inputs of the releases that are installed and whose Deployments are there."""
    secrets = tools.get("secrets", "--all-namespaces", f"--selector=owner=helm,status=deployed,{INPUTS}")
    present = {one["metadata"]["name"] for one in tools.get("deployments", "--all-namespaces")}
    needed = {RELEASE: "slipway-operator", GATEWAY_RELEASE: "envoy-gateway"}
    labels = [one["metadata"]["labels"] for one in secrets]
    return {unmarked(label) for label in labels if needed.get(label["name"]) in present}


def marked(inputs: str, revisions: list[int]) -> str:
    """The label of the release's next revision. Helm copies labels to each later one: the number says whose it is."""
    return f"{inputs}.{max(revisions, default=0) + 1}"


def unmarked(labels: dict[str, str]) -> str:
    """The inputs of a revision of a release, by its Secret's labels; empty where somebody else has upgraded since."""
    inputs, _, revision = labels[INPUTS].rpartition(".")
    return inputs if revision == labels["version"] else ""


def _apply(tools: Tools, releases: list[Release]) -> None:
    """Definitions first, then both charts at once."""
    for release in releases:
        _forget_interrupted(tools, release)
        if release.name == GATEWAY_RELEASE:
            _apply_definitions(tools)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(_upgrade, tools, release) for release in releases]:
            done.result()


def _forget_interrupted(tools: Tools, release: Release) -> None:
    """A Helm that was killed leaves a lock behind; the objects that it made are taken over by the next one."""
    selector = f"--selector={PENDING},name={release.name}"
    tools.kubectl("delete", "secrets", f"--namespace={release.namespace}", selector, "--ignore-not-found")


def _apply_definitions(tools: Tools) -> None:
    """The Gateway API's and Envoy Gateway's, where the cluster does not have just these."""
    directory = tools.programs / GATEWAY_CHART / "charts" / "crds" / "crds"
    digest = _digest_of(directory)
    names = [f"customresourcedefinitions/{name}" for name in CRDS]
    found = tools.get("customresourcedefinitions", f"--selector={INPUTS}={digest}")
    if {one["metadata"]["name"] for one in found} >= set(CRDS):
        return
    tools.kubectl(*_APPLY, "--recursive", f"--filename={directory}")
    tools.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
    tools.kubectl("label", "--overwrite", *names, f"{INPUTS}={digest}")


def _digest_of(directory: Path, *more: Any) -> str:
    """A digest of the files of a directory and of JSON values, short enough for a label."""
    digest = hashlib.sha256(json.dumps(more, sort_keys=True).encode())
    for file in sorted(path for path in directory.rglob("*") if path.is_file()):
        digest.update(f"\0{file.relative_to(directory)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:32]


def _upgrade(tools: Tools, release: Release) -> None:
    unchecked = ("--skip-schema-validation",) if release.name == GATEWAY_RELEASE else ()
    secrets = tools.get("secrets", f"--namespace={release.namespace}", f"--selector=owner=helm,name={release.name}")
    revisions = [int(one["metadata"]["labels"]["version"]) for one in secrets]
    tools.helm(
        "upgrade",
        "--install",
        release.name,
        str(release.chart),
        f"--namespace={release.namespace}",
        "--create-namespace",
        "--skip-crds",
        *unchecked,
        f"--labels={INPUTS}={marked(release.inputs, revisions)}",
        "--history-max=3",
        values=release.values,
    )


def _wait(tools: Tools, wanted: list[Wanted], step: Step) -> None:
    deadline = time.monotonic() + TIMEOUT
    while True:
        objects = list(_observed(tools, wanted))
        left = missing(objects, wanted)
        if not left:
            return
        problem = hopeless(objects)
        if problem or time.monotonic() > deadline:
            why = problem or f"Not ready after {TIMEOUT:.0f} s: {', '.join(left)}."
            raise ClusterError(
                f"The platform does not start on {tools.context}. {why}",
                f"Look closer: kubectl --context {tools.context} --kubeconfig {tools.kubeconfig} get events -A",
            )
        step.detail(f"waiting for {', '.join(left)}")
        time.sleep(PAUSE)


def _observed(tools: Tools, wanted: list[Wanted]) -> Iterator[dict[str, Any]]:
    kinds = {one.kind for one in wanted}
    gateways = f",{GATEWAY_API}" if "Gateway" in kinds else ""
    yield from tools.get(f"deployments,pods{gateways}", f"--namespace={NAMESPACE}")
    if len(wanted) > 1:
        yield from tools.get("deployments,pods", f"--namespace={GATEWAY_NAMESPACE}")


def _wait_for_proxies_to_go(tools: Tools) -> None:
    """Envoy Gateway removes its proxies itself, and has to be there to do it."""
    deadline = time.monotonic() + TIMEOUT
    while tools.get("deployments", f"--namespace={GATEWAY_NAMESPACE}", f"--selector={OWNED_PROXY}"):
        if time.monotonic() > deadline:
            raise ClusterError("Envoy Gateway does not remove its proxies.", "Look at its logs, and try again.")
        time.sleep(PAUSE)
