"""Helm, on the chart of this checkout: what it renders, and what it does to a cluster."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from slipway.cluster import binaries
from slipway.cluster.lifecycle import Cluster
from slipway.cluster.platform import NAMESPACE, RELEASE
from slipway.progress import LineProgress

CHART = Path(__file__).resolve().parents[2] / "helm" / "slipway"
MONITORING = tuple(f"monitoring.coreos.com/v1/{kind}" for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule"))
GATEWAY_APIS = ("gateway.networking.k8s.io/v1", "gateway.envoyproxy.io/v1alpha1")
OPTIONAL_APIS = ("metrics.k8s.io/v1beta1", *GATEWAY_APIS, *MONITORING)


def program() -> Path:
    """Helm, as the local cluster's programs have it."""
    return binaries.directory(LineProgress()) / "helm"


def helm(
    *words: str, cluster: Cluster | None = None, values: dict[str, Any] | None = None, timeout: float = 600.0
) -> subprocess.CompletedProcess[str]:
    """Runs Helm, with values on its standard input; its errors are for the caller to look at."""
    where = [f"--kubeconfig={cluster.kubeconfig}"] if cluster else []
    given = ["--values=-"] if values is not None else []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HELM_")}
    return subprocess.run(
        [program(), *words, *where, *given],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=timeout,
    )


def done(*words: str, cluster: Cluster | None = None, values: dict[str, Any] | None = None) -> str:
    """Runs Helm, which has to succeed; its output."""
    ran = helm(*words, cluster=cluster, values=values)
    assert ran.returncode == 0, f"helm {' '.join(words)}: {ran.stderr}\n{ran.stdout}"
    return ran.stdout


def values_of(cluster: Cluster) -> dict[str, Any]:
    """The values that the platform is installed with."""
    found: dict[str, Any] = json.loads(
        done("get", "values", RELEASE, f"--namespace={NAMESPACE}", "--output=json", cluster=cluster)
    )
    return found


def upgrade(cluster: Cluster, values: dict[str, Any], *flags: str, chart: Path = CHART) -> None:
    """Upgrades the platform by hand, which the next `slipway up` notices."""
    done("upgrade", RELEASE, str(chart), f"--namespace={NAMESPACE}", *flags, cluster=cluster, values=values)


def template(
    *flags: str, apis: tuple[str, ...] = OPTIONAL_APIS, chart: Path = CHART
) -> subprocess.CompletedProcess[str]:
    """`helm template` for a cluster that serves `apis` besides Kubernetes' own."""
    known = [f"--api-versions={api}" for api in apis]
    return helm("template", "slipway", str(chart), f"--namespace={NAMESPACE}", *known, *flags)


def rendered(*flags: str, **values: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """Every object by kind and name; `gateway__create=True` sets `gateway.create`."""
    given = [f"--set-json={name.replace('__', '.')}={json.dumps(value)}" for name, value in values.items()]
    ran = template(*flags, *given)
    assert ran.returncode == 0, ran.stderr
    return by_name(ran.stdout)


def by_name(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The objects of a stream of YAML documents."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def pod_of(found: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    """The operator's pod."""
    spec: dict[str, Any] = found["Deployment", "slipway-operator"]["spec"]["template"]["spec"]
    return spec
