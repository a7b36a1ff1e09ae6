"""The Deployment: what a model pod looks like, and how one revision takes over from the last."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from slipway.api.duration import parse_duration
from slipway.api.names import ANNOTATION_CONTENT, ANNOTATION_RESTARTED_AT, LABEL_REVISION, MODEL_CONTAINER
from slipway.api.server import EnvVar
from slipway.controllers.modelservice.children.common import child, labels, selector
from slipway.controllers.modelservice.children.storage import (
    SECURITY,
    USER,
    fetch_container,
    model_path,
    mounts,
    volumes,
)
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import DEPLOYMENT, Manifest
from slipway.policies.model_source import FetchedModel, ImageModel
from slipway.policies.rollout import PRE_STOP_SECONDS, SETTLE_SECONDS
from slipway.policies.scaling import FixedReplicas

_PORT: Final = 8080
_AFTER_STARTUP: Final = 60  # seconds: the kubelet gives up first, as its reason says more


def build_deployment(decision: Decision) -> Manifest:
    """The Deployment. It has `replicas` only where no autoscaler writes them."""
    spec: dict[str, Any] = {
        "selector": {"matchLabels": selector(decision)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "minReadySeconds": SETTLE_SECONDS,
        "progressDeadlineSeconds": _progress_seconds(decision),
        "revisionHistoryLimit": 10,
        "template": _template(decision),
    }
    if isinstance(decision.scaling, FixedReplicas):
        spec["replicas"] = decision.scaling.replicas
    return child(DEPLOYMENT, decision, spec=spec)


def revision_of(deployment: Manifest) -> str:
    """The revision that a Deployment of ours rolls out."""
    return str(deployment["spec"]["template"]["metadata"].get("labels", {}).get(LABEL_REVISION, ""))


def _progress_seconds(decision: Decision) -> int:
    fetching = decision.source.timeout if isinstance(decision.source, FetchedModel) else 0
    return fetching + decision.startup.seconds + _AFTER_STARTUP


def _template(decision: Decision) -> dict[str, Any]:
    extra = decision.spec.server.pod_template
    metadata: dict[str, Any] = {"labels": extra.labels | labels(decision)}
    annotations = extra.annotations | _marks(decision)
    if annotations:
        metadata["annotations"] = annotations
    template = {"metadata": metadata, "spec": _pod(decision)}
    text = json.dumps(template, sort_keys=True).encode()
    metadata["labels"][LABEL_REVISION] = hashlib.sha256(text).hexdigest()[:10]
    return template


def _marks(decision: Decision) -> dict[str, str]:
    """What rolls the pods though nothing else in them changes: content that they read, and a restart."""
    files, content = decision.spec.server.files, decision.known.content
    if files:
        text = json.dumps([files, content], sort_keys=True).encode()
        content = hashlib.sha256(text).hexdigest()[:10]
    marks = {ANNOTATION_CONTENT: content, ANNOTATION_RESTARTED_AT: decision.inputs.restarted_at or ""}
    return {name: value for name, value in marks.items() if value}


def _pod(decision: Decision) -> dict[str, Any]:
    spec: dict[str, Any] = {
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
        "volumes": volumes(decision),
    }
    fetch = fetch_container(decision)
    if fetch:
        spec["initContainers"] = [fetch]
    return spec | _placement(decision)


def _placement(decision: Decision) -> dict[str, Any]:
    """What a platform team asks of the pods, and the Secrets for their registries."""
    extra = decision.spec.server.pod_template
    secrets = {secret.name: None for secret in extra.image_pull_secrets}
    if isinstance(decision.source, ImageModel) and decision.spec.model.secret_ref:
        secrets[decision.spec.model.secret_ref.name] = None
    found: dict[str, Any] = {
        "nodeSelector": extra.node_selector,
        "tolerations": [item.model_dump(exclude_none=True) for item in extra.tolerations],
        "affinity": extra.affinity,
        "priorityClassName": extra.priority_class_name,
        "runtimeClassName": extra.runtime_class_name,
        "imagePullSecrets": [{"name": name} for name in secrets],
    }
    return {name: value for name, value in found.items() if value}


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
    probes, startup = server.probes, decision.startup
    container: dict[str, Any] = {
        "name": MODEL_CONTAINER,
        "image": decision.image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": _PORT, "protocol": "TCP"}],
        "resources": decision.resources,
        "startupProbe": _probe("ready", "5s", f"{startup.period}s", startup.failures),
        "readinessProbe": _probe(
            "ready", probes.readiness.timeout, probes.readiness.period, probes.readiness.failure_threshold
        ),
        "livenessProbe": _probe(
            "live", probes.liveness.timeout, probes.liveness.period, probes.liveness.failure_threshold
        ),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        "securityContext": SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts(decision),
    }
    if decision.spec.model.format != "custom":
        container["args"] = [model_path(decision), "--name", decision.name]
    container["env"] = _variables(server.env)
    if server.env_from:
        container["envFrom"] = [source.model_dump(exclude_none=True) for source in server.env_from]
    return container


def _variables(asked: list[EnvVar]) -> list[dict[str, Any]]:
    """What the owner sets, and ours where the owner does not: a revision's pods serve that revision's model."""
    ours = {"name": "SLIPWAY_SERVE_MODEL_CONTROL_MODE", "value": "none"}
    variables = [_variable(variable) for variable in asked]
    return variables if any(each["name"] == ours["name"] for each in variables) else [ours, *variables]


def _variable(variable: EnvVar) -> dict[str, Any]:
    """The API server drops an empty value: written without one, what comes back is equal."""
    return {key: value for key, value in variable.model_dump(exclude_none=True).items() if value != ""}


def _probe(health: str, timeout: str, period: str, failures: int) -> dict[str, Any]:
    request = {"path": f"/v2/health/{health}", "port": "http", "scheme": "HTTP"}
    return {
        "httpGet": request,
        "periodSeconds": int(parse_duration(period)),
        "timeoutSeconds": int(parse_duration(timeout)),
        "failureThreshold": failures,
    }
