"""ModelServices of tests: written, changed, and read back."""

from __future__ import annotations

import json
from typing import Any

from slipway.cluster.lifecycle import Cluster

from .tools import get, kubectl, until


def apply(cluster: Cluster, namespace: str, name: str, uri: str, **spec: Any) -> None:
    """Applies a ModelService as a person does with a file."""
    manifest = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"uri": uri, "format": "onnx"}, **spec},
    }
    kubectl(cluster, "apply", "-f", "-", stdin=json.dumps(manifest))


def service(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    """The ModelService as it is now."""
    found: dict[str, Any] = get(cluster, "modelservice", name, "-n", namespace)
    return found


def condition(cluster: Cluster, namespace: str, name: str, kind: str) -> dict[str, str]:
    """One of its conditions, empty before there is one for the present generation."""
    shown = service(cluster, namespace, name)
    for item in shown.get("status", {}).get("conditions", []):
        if item["type"] == kind and item.get("observedGeneration") == shown["metadata"]["generation"]:
            return item
    return {}


def until_condition(cluster: Cluster, namespace: str, name: str, kind: str, **wanted: str) -> dict[str, str]:
    """Waits for a condition to have a status or a reason."""

    def has() -> dict[str, str] | None:
        shown = condition(cluster, namespace, name, kind)
        return shown if all(shown.get(key) == value for key, value in wanted.items()) else None

    try:
        return until(has, pause=0.3)  # type: ignore[return-value]
    except AssertionError:
        raise AssertionError(json.dumps(service(cluster, namespace, name).get("status"), indent=1)) from None


def until_ready(cluster: Cluster, namespace: str, name: str) -> str:
    """Waits for Ready and for the end of the roll; returns the URL."""
    until_condition(cluster, namespace, name, "Ready", status="True")
    until_condition(cluster, namespace, name, "Progressing", status="False")
    return str(service(cluster, namespace, name)["status"]["url"])
