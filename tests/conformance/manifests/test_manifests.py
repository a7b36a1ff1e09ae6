"""`k8s/` and what `slipway render` prints, judged by kubeconform (strict) and kube-score.

A finding that is no mistake is switched off here with its reason, or, for `k8s/`, beside the object that it is about.
"""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.controllers.modelservice.render import as_yaml, render
from slipway.controllers.modelservice.settings import Settings

from . import linters, schemas

ROOT = Path(__file__).parents[3]
PLAIN = sorted((ROOT / "k8s").glob("*.yaml"))
ALL_PLAIN = [*PLAIN, *sorted((ROOT / "k8s").glob("*/*.yaml"))]

SWITCHED_OFF = {
    "container-image-pull-policy": "images are named by tag or digest and never change: a pod must start where "
    "its node has the image and the registry is out of reach",
    "container-ephemeral-storage-request-and-limit": "how much a server writes to /tmp is known to its owner alone, "
    "who sets it in server.resources",
    "deployment-has-host-podantiaffinity": "topologySpreadConstraints do the same and weigh several nodes; kube-score "
    "counts anti-affinity only",
    "pod-networkpolicy": "who may connect is limited; where a model server connects to is not, because models that ask "
    "other services are common",
}
"""Of kube-score, for what `slipway render` prints of any ModelService, and why."""
NO_CPU_LIMIT = "--ignore-container-cpu-limit"
"""A limit throttles a server that is busy; the request is what the scheduler and the autoscaler go by."""
FEW_REPLICAS = {"deployment-replicas": "one replica is what was asked for"}
"""Of kube-score, for services of one replica."""
ONE_NODE = {
    "deployment-has-host-podantiaffinity": "the claim is ReadWriteOnce: one node mounts it, so all pods must be there"
}
"""Of kube-score, for `k8s/`; an annotation of the pod template does not reach this check."""

IMAGE = "registry.example.com/slipway/serving:0.1.0"
FETCHER = "registry.example.com/slipway/fetcher:0.1.0"
MODEL = {"uri": f"oci://registry.example.com/models/iris@sha256:{'a' * 64}", "format": "onnx"}
GATEWAY = Settings(IMAGE, ("slipway-system", "slipway"), fetcher_image=FETCHER)
INGRESS = Settings(IMAGE, ingress_class="nginx", fetcher_image=FETCHER)
SERVICES: dict[str, tuple[Settings, dict[str, Any]]] = {
    "smallest": (GATEWAY, {"model": MODEL}),
    "fixed": (INGRESS, {"model": MODEL, "scaling": {"min": 3, "max": 3}}),
    "scaled": (
        GATEWAY,
        {
            "model": MODEL,
            "scaling": {"min": 2, "max": 9, "target": {"metric": "memory", "value": 80}},
            "routing": {"hostnames": ["iris.example.com"], "access": "Gateway"},
        },
    ),
    "fetched": (
        INGRESS,
        {
            "model": {"uri": "s3://models/iris/v3/", "checksum": f"sha256:{'0' * 64}", "secretRef": {"name": "s3"}},
            "scaling": {"min": 2, "max": 4},
            "routing": {
                "hostnames": ["iris.example.com"],
                "tls": {"secretRef": {"name": "tls"}},
                "access": "Namespace",
            },
        },
    ),
    "placed": (
        INGRESS,
        {
            "model": {"uri": "pvc://models/iris/v3"},
            "scaling": {"min": 2, "max": 2},
            "server": {
                "gpu": {"count": 2, "profile": "mig-1g.10gb"},
                "files": {"config.yaml": "threads: 2\n"},
                "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}],
                "envFrom": [{"prefix": "APP_", "configMapRef": {"name": "app"}}],
                "podTemplate": {
                    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
                    "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}],
                    "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108
                },
            },
        },
    ),
}


def objects(case: str) -> list[dict[str, Any]]:
    settings, spec = SERVICES[case]
    return render({"metadata": {"name": "iris", "namespace": "team"}, "spec": spec}, settings)


@pytest.fixture(scope="module")
def programs() -> Path:
    return linters.directory()


@pytest.fixture(scope="module")
def kubeconform(programs, tmp_path_factory):
    """Runs it; returns what is wrong with each object of the files, empty when nothing is."""
    known = tmp_path_factory.mktemp("schemas")
    schemas.write(known)
    location = f"{known}/{schemas.TEMPLATE}"

    def run(*files: Path) -> list[str]:
        command = [programs / "kubeconform", "-strict", "-output", "json", "-schema-location", location, *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = json.loads(done.stdout)["resources"] or []
        assert (done.returncode == 0) == (not found), done.stderr
        return [f"{item['kind']} {item['name']}: {item['msg']}" for item in found]

    return run


@pytest.fixture(scope="module")
def kube_score(programs):
    """Runs it; returns its findings, from the mildest on."""

    def run(*options: str | Path) -> list[str]:
        command = [programs / "kube-score", "score", "--output-format", "json", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        return [
            f"{scored['object_name']}: {check['check']['id']}: {comment['summary']}"
            for scored in json.loads(done.stdout)
            for check in scored["checks"]
            if not check["skipped"] and check["grade"] < ALL_IS_WELL
            for comment in check["comments"] or [{"summary": ""}]
        ]

    return run


ALL_IS_WELL = 10  # kube-score's grade; 7 is almost, 5 a warning, 1 critical


@pytest.fixture
def file(tmp_path):
    def write(manifests: list[dict[str, Any]]) -> Path:
        path = tmp_path / "manifests.yaml"
        path.write_text(as_yaml(manifests), encoding="utf-8")
        return path

    return write


def without(checks: dict[str, str]) -> list[str]:
    return [f"--ignore-test={check}" for check in checks]


def switched_off(case: str) -> list[str]:
    few = SERVICES[case][1].get("scaling", {}).get("min", 1) == 1
    return [NO_CPU_LIMIT, *without(SWITCHED_OFF | (FEW_REPLICAS if few else {}))]


def test_the_plain_manifests_are_valid(kubeconform):
    assert len(PLAIN) >= 10
    assert kubeconform(*ALL_PLAIN) == []


def test_the_plain_manifests_have_no_finding(kube_score):
    assert kube_score(*without(ONE_NODE), *PLAIN) == []


def test_the_examples_are_valid(kubeconform):
    files = sorted((ROOT / "examples").glob("*/service.yaml"))
    assert files
    assert kubeconform(*files) == []


@pytest.mark.parametrize("case", SERVICES)
def test_what_is_rendered_is_valid(case, kubeconform, file):
    assert kubeconform(file(objects(case))) == []


@pytest.mark.parametrize("case", SERVICES)
def test_what_is_rendered_has_no_finding(case, kube_score, file):
    assert kube_score(*switched_off(case), file(objects(case))) == []


def test_nothing_is_switched_off_in_vain(kube_score, file):
    found = "\n".join(finding for case in SERVICES for finding in kube_score(NO_CPU_LIMIT, file(objects(case))))
    assert not [check for check in SWITCHED_OFF | FEW_REPLICAS if f": {check}: " not in found]
    assert not [check for check in ONE_NODE if f": {check}: " not in "\n".join(kube_score(*PLAIN))]


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "replcas"), 3),
        ("Deployment", ("spec", "template", "spec", "containers", 0, "image"), 7),
        ("Service", ("spec", "ports", 0, "port"), "http"),
        ("HTTPRoute", ("spec", "rules", 0, "backend"), []),
        ("NetworkPolicy", ("spec", "ingress", 0, "to"), []),
        ("HorizontalPodAutoscaler", ("spec", "metrics", 0, "type"), None),
    ],
)
def test_kubeconform_finds_what_is_wrong(kind, path, value, kubeconform, file):
    manifests = copy.deepcopy(objects("scaled"))
    node = next(item for item in manifests if item["kind"] == kind)
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    (problem,) = kubeconform(file(manifests))
    assert problem.startswith(kind)


def test_kubeconform_knows_a_field_that_is_written_twice(kubeconform, tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {}\ndata: {}\n")
    assert kubeconform(path)


def test_kube_score_finds_what_is_wrong(kube_score, file):
    manifests = copy.deepcopy(objects("scaled"))
    (pod,) = [item["spec"]["template"]["spec"] for item in manifests if item["kind"] == "Deployment"]
    del pod["containers"][0]["readinessProbe"]
    assert any(": pod-probes: " in finding for finding in kube_score(*switched_off("scaled"), file(manifests)))


def test_no_object_has_a_namespace_or_a_status():
    for path in ALL_PLAIN:
        for item in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            assert item["metadata"].get("namespace") is None
            assert "status" not in item
