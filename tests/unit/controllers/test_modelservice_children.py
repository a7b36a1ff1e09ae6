"""The children of a ModelService, compared with files.

When a change of them is meant: `UPDATE_GOLDEN=1 pytest tests/unit/controllers` writes the files anew; read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.api.modelservice import parse_spec
from slipway.api.names import LABEL_REVISION
from slipway.controllers.modelservice.children import build_children
from slipway.controllers.modelservice.decide import decide
from slipway.controllers.modelservice.settings import Settings

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = Settings("registry.example/slipway/serving:0.1.0", ("slipway-system", "slipway"))
URI = "oci://registry.example/models/iris:1"

CASES: dict[str, dict[str, Any]] = {
    "smallest": {"model": {"uri": URI}},
    "fixed": {"model": {"uri": URI, "format": "onnx"}, "scaling": {"min": 3, "max": 3}},
    "autoscaled": {
        "model": {"uri": URI},
        "scaling": {"min": 2, "max": 10, "target": {"metric": "memory", "value": 70}},
        "routing": {"hostnames": ["iris.example.com"], "path": "/v2", "timeout": "5m"},
    },
    "custom": {
        "model": {"uri": "pvc://models/iris/v3", "format": "custom"},
        "server": {
            "image": "example.com/my-server:2",
            "resources": {"requests": {"cpu": "1000m"}, "limits": {"memory": "4096Mi", "nvidia.com/gpu": 1}},
            "env": [
                {"name": "EMPTY", "value": ""},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
            ],
            "envFrom": [{"prefix": "APP_", "configMapRef": {"name": "app"}}],
        },
    },
}


def children(spec: dict[str, Any], *, can_route: bool = True, settings: Settings = SETTINGS) -> list[dict[str, Any]]:
    return build_children(decide("team", "iris", parse_spec({"spec": spec}), settings, can_route=can_route))


def one(spec: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(child for child in children(spec) if child["kind"] == kind)


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


@pytest.mark.parametrize("case", CASES)
def test_children_are_those_of_the_golden_file(case: str) -> None:
    made = yaml.dump_all(children(CASES[case]), Dumper=_NoAliases, sort_keys=False, width=120)
    file = GOLDEN / f"{case}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(made, encoding="utf-8")
    assert made == file.read_text(encoding="utf-8"), "if this is meant: UPDATE_GOLDEN=1 pytest tests/unit/controllers"


def test_every_golden_file_has_its_case() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_children_have_the_name_labels_and_selector_of_their_service(case: str) -> None:
    for child in children(CASES[case]):
        metadata = child["metadata"]
        assert (metadata["name"], metadata["namespace"]) == ("iris", "team")
        assert metadata["labels"]["slipway.dev/modelservice"] == "iris"
    assert one(CASES[case], "Deployment")["spec"]["selector"] == {"matchLabels": {"slipway.dev/modelservice": "iris"}}


def test_nobody_but_the_autoscaler_writes_replicas_where_there_is_one() -> None:
    assert "replicas" not in one(CASES["autoscaled"], "Deployment")["spec"]
    assert one(CASES["fixed"], "Deployment")["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("can_route", "settings"), [(False, SETTINGS), (True, Settings("image"))], ids=["no Gateway API", "no gateway"]
)
def test_without_a_gateway_there_is_no_route(can_route: bool, settings: Settings) -> None:
    made = children(CASES["smallest"], can_route=can_route, settings=settings)
    assert [child["kind"] for child in made] == ["ServiceAccount", "Service", "Deployment"]


def revision(spec: dict[str, Any]) -> str:
    template = one(spec, "Deployment")["spec"]["template"]
    return str(template["metadata"]["labels"][LABEL_REVISION])


@pytest.mark.parametrize(
    ("change", "rolls"),
    [
        ({"model": {"uri": "oci://registry.example/models/iris:2"}}, True),
        ({"server": {"env": [{"name": "A", "value": "1"}]}}, True),
        ({"server": {"resources": {"limits": {"memory": "1024Mi"}}}}, False),
        ({"scaling": {"min": 5}}, False),
        ({"routing": {"hostnames": ["x"]}}, False),
    ],
)
def test_only_what_pods_are_made_from_makes_a_revision(change: dict[str, Any], rolls: bool) -> None:
    assert (revision(CASES["smallest"] | change) != revision(CASES["smallest"])) == rolls
