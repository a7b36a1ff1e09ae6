"""What Helm renders from the chart, and the rights of the operator against what it asks for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.cluster import binaries
from slipway.controllers.modelservice.stores import CHILD_KINDS
from slipway.kit.objects import EVENT, GATEWAY, MODEL_SERVICE, POD
from slipway.progress import LineProgress

CHART = Path(__file__).resolve().parents[2] / "helm" / "slipway"


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    program = binaries.directory(LineProgress()) / "helm"
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)


def rendered(**values: Any) -> dict[tuple[str, str], dict[str, Any]]:
    given = [f"--set-json={name.replace('__', '.')}={json.dumps(value)}" for name, value in values.items()]
    done = helm("template", "slipway", str(CHART), "--namespace=slipway-system", *given)
    assert done.returncode == 0, done.stderr
    documents = [document for document in yaml.safe_load_all(done.stdout) if document]
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def test_the_chart_is_clean() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("gatway.create=true", "'gatway' not allowed"),
        ("image.digest=latest", "does not match pattern"),
        ("replicas=0", "/replicas"),
        ("gateway.create=true,gateway.reference=a/b", "exclude each other"),
    ],
)
def test_wrong_values_are_refused_by_name(values: str, said: str) -> None:
    done = helm("template", "slipway", str(CHART), f"--set={values}")
    assert done.returncode != 0
    assert said in done.stderr


def test_the_operator_may_do_what_its_code_does_and_no_more() -> None:
    found = rendered()
    rules = found["ClusterRole", "slipway-operator"]["rules"]
    allowed = {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    read, write = ("get", "list", "watch"), ("create", "patch", "delete")
    needed = {
        (kind.api_version.rpartition("/")[0], kind.plural, verb)
        for kinds, verbs in [
            (CHILD_KINDS, read + write),
            ((MODEL_SERVICE, GATEWAY, POD), read),
            ((EVENT,), ("create", "patch")),
        ]
        for kind in kinds
        for verb in verbs
    }
    own = {(MODEL_SERVICE.api_version.partition("/")[0], f"modelservices/{part}") for part in ("status", "finalizers")}
    assert needed <= allowed
    assert {(group, resource) for group, resource, _ in allowed - needed} == own


def test_the_operator_passes_the_strictest_pod_security() -> None:
    deployment = rendered()["Deployment", "slipway-operator"]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_without_a_gateway_there_is_no_object_of_the_gateway_api_and_no_flag() -> None:
    found = rendered()
    assert not {kind for kind, _ in found} & {"Gateway", "GatewayClass", "EnvoyProxy"}
    (container,) = found["Deployment", "slipway-operator"]["spec"]["template"]["spec"]["containers"]
    assert not [argument for argument in container["args"] if "gateway" in argument]


def test_a_created_gateway_is_the_operators_and_has_its_port() -> None:
    found = rendered(gateway__create=True, gateway__service={"type": "NodePort", "nodePort": 30080})
    (container,) = found["Deployment", "slipway-operator"]["spec"]["template"]["spec"]["containers"]
    assert "--gateway=slipway-system/slipway" in container["args"]
    service = found["EnvoyProxy", "slipway"]["spec"]["provider"]["kubernetes"]["envoyService"]
    assert service["patch"]["value"]["spec"]["ports"] == [{"port": 80, "nodePort": 30080}]
    assert found["GatewayClass", "slipway"]["spec"]["parametersRef"]["name"] == "slipway"


def test_one_operator_has_no_disruption_budget() -> None:
    assert ("PodDisruptionBudget", "slipway-operator") in rendered()
    assert ("PodDisruptionBudget", "slipway-operator") not in rendered(replicas=1)
