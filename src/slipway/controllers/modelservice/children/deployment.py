"""The Deployment: what a model pod looks like, and how one revision takes over from the last."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from slipway.api.modelservice import EnvVar
from slipway.api.names import LABEL_REVISION
from slipway.controllers.modelservice.children.common import child, labels, selector
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import DEPLOYMENT, Manifest
from slipway.policies.model_source import ImageModel
from slipway.policies.rollout import PRE_STOP_SECONDS
from slipway.policies.scaling import FixedReplicas

CONTAINER: Final = "model"
USER: Final = 65532
_PORT: Final = 8080
_LOAD_SECONDS: Final = 600
_PROGRESS_SECONDS: Final = _LOAD_SECONDS + 60  # the kubelet gives up first: its reason says more


def build_deployment(decision: Decision) -> Manifest:
    """The Deployment. It has `replicas` only where no autoscaler writes them."""
    spec: dict[str, Any] = {
        "selector": {"matchLabels": selector(decision)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "progressDeadlineSeconds": _PROGRESS_SECONDS,
        "revisionHistoryLimit": 10,
        "template": _template(decision),
    }
    if isinstance(decision.scaling, FixedReplicas):
        spec["replicas"] = decision.scaling.replicas
    return child(DEPLOYMENT, decision, spec=spec)


def revision_of(deployment: Manifest) -> str:
    """The revision that a Deployment of ours rolls out."""
    return str(deployment["spec"]["template"]["metadata"].get("labels", {}).get(LABEL_REVISION, ""))


def _template(decision: Decision) -> dict[str, Any]:
    template = {"metadata": {"labels": labels(decision)}, "spec": _pod(decision)}
    text = json.dumps(template, sort_keys=True).encode()
    template["metadata"]["labels"][LABEL_REVISION] = hashlib.sha256(text).hexdigest()[:10]
    return template


def _pod(decision: Decision) -> dict[str, Any]:
    return {
        "serviceAccountName": decision.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": decision.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [_spread(decision)],
        "containers": [_container(decision)],
        "volumes": [{"name": "tmp", "emptyDir": {}}, _model_volume(decision)],
    }


def _spread(decision: Decision) -> dict[str, Any]:
    """Replicas of one revision on different nodes, where there are several."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(decision)},
        "matchLabelKeys": ["pod-template-hash"],
    }


def _container(decision: Decision) -> dict[str, Any]:
    server = decision.spec.server
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": decision.image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": _PORT, "protocol": "TCP"}],
        "resources": decision.resources,
        "startupProbe": _probe("ready", period=1, failures=_LOAD_SECONDS),
        "readinessProbe": _probe("ready", period=5, failures=2),
        "livenessProbe": _probe("live", period=10, failures=3),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, _model_mount(decision)],  # noqa: S108  # of the pod
    }
    if decision.spec.model.format != "custom":
        container["args"] = [_model_path(decision), "--name", decision.name]
    if server.env:
        container["env"] = [_variable(variable) for variable in server.env]
    if server.env_from:
        container["envFrom"] = [source.model_dump(exclude_none=True) for source in server.env_from]
    return container


def _variable(variable: EnvVar) -> dict[str, Any]:
    """The API server drops an empty value: written without one, what comes back is equal."""
    return {key: value for key, value in variable.model_dump(exclude_none=True).items() if value != ""}


def _probe(health: str, *, period: int, failures: int) -> dict[str, Any]:
    request = {"path": f"/v2/health/{health}", "port": "http", "scheme": "HTTP"}
    return {"httpGet": request, "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures}


def _model_path(decision: Decision) -> str:
    return f"/models/{decision.name}"


def _model_mount(decision: Decision) -> dict[str, Any]:
    mount: dict[str, Any] = {"name": "model", "mountPath": _model_path(decision), "readOnly": True}
    if not isinstance(decision.source, ImageModel) and decision.source.path:
        mount["subPath"] = decision.source.path
    return mount


def _model_volume(decision: Decision) -> dict[str, Any]:
    source = decision.source
    if isinstance(source, ImageModel):
        return {"name": "model", "image": {"reference": source.reference, "pullPolicy": "IfNotPresent"}}
    return {"name": "model", "persistentVolumeClaim": {"claimName": source.claim, "readOnly": True}}
