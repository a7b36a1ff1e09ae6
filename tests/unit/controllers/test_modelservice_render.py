"""Plain manifests: what is left out of what the operator makes, and what has to be said besides."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from slipway.api.modelservice import parse_spec
from slipway.controllers.modelservice.children import build_children
from slipway.controllers.modelservice.decide import decide
from slipway.controllers.modelservice.render import CannotRenderError, as_json, as_yaml, file_name, render
from slipway.controllers.modelservice.settings import Settings

from .test_modelservice_children import CASE_SETTINGS, CASES, SETTINGS

CASE = pytest.mark.parametrize("case", CASES)
HASHES = ("slipway.dev/revision", "app.kubernetes.io/managed-by")


def service(spec: dict[str, Any], namespace: str | None = "team", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "iris", **({"namespace": namespace} if namespace else {}), **metadata}, "spec": spec}


def rendered(case: str, namespace: str | None = "team") -> list[dict[str, Any]]:
    return render(service(CASES[case], namespace), CASE_SETTINGS.get(case, SETTINGS))


def without_labels(manifest: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(manifest)
    copied: dict[str, Any] = json.loads(text)
    template = copied.get("spec", {}).get("template", {"metadata": {}})
    for metadata in (copied["metadata"], template["metadata"]):
        for label in HASHES:
            metadata.get("labels", {}).pop(label, None)
    return copied


@CASE
def test_what_is_rendered_is_what_the_operator_makes(case: str) -> None:
    settings = CASE_SETTINGS.get(case, SETTINGS)
    made = build_children(decide("team", "iris", parse_spec(service(CASES[case])), settings, can_route=True))
    wanted = {child["kind"]: without_labels(child) for child in made if child["kind"] != "ControllerRevision"}
    assert {child["kind"]: child for child in rendered(case)} == wanted


@CASE
def test_nothing_in_it_needs_an_operator(case: str) -> None:
    for child in rendered(case):
        assert "status" not in child
        assert "ownerReferences" not in child["metadata"]
        assert not [label for label in HASHES if label in as_yaml([child])]


def test_without_a_namespace_where_it_is_applied_decides() -> None:
    assert all("namespace" not in child["metadata"] for child in rendered("autoscaled", namespace=None))
    assert all(child["metadata"]["namespace"] == "team" for child in rendered("autoscaled"))


@CASE
def test_files_are_in_the_order_in_which_they_are_applied(case: str) -> None:
    names = [file_name(child) for child in rendered(case)]
    assert names == sorted(names)
    assert names[0] == "10-serviceaccount.yaml"
    assert names.index("40-service.yaml") < names.index("50-deployment.yaml")


@CASE
def test_the_objects_come_back_from_both_forms(case: str) -> None:
    made = rendered(case)
    assert list(yaml.safe_load_all(as_yaml(made))) == made
    assert json.loads(as_json(made))["items"] == made
    assert json.loads(as_json(made[:1])) == made[0]


@given(st.text(max_size=200).filter(lambda text: text.isprintable() or "\n" in text))
@example("\n\x85")
def test_any_text_comes_back(text: str) -> None:
    manifest = {"data": {"file": text}}
    assert list(yaml.safe_load_all(as_yaml([manifest]))) == [manifest]


def test_a_restart_is_kept() -> None:
    asked = service(CASES["smallest"], annotations={"slipway.dev/restarted-at": "2026-01-01T00:00:00Z"})
    (deployment,) = [child for child in render(asked, SETTINGS) if child["kind"] == "Deployment"]
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"slipway.dev/restarted-at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("case", "settings", "namespace", "option"),
    [
        ("smallest", Settings(""), "team", "--image"),
        ("fetched", Settings("image"), "team", "--fetcher-image"),
        ("smallest", SETTINGS, None, "--namespace"),
        ("smallest", Settings("image", image_volumes=False), "team", "--fetcher-image"),
    ],
)
def test_what_is_missing_is_asked_for(case: str, settings: Settings, namespace: str | None, option: str) -> None:
    with pytest.raises(CannotRenderError) as refused:
        render(service(CASES[case], namespace), settings)
    assert refused.value.option == option


def test_a_server_of_its_own_needs_no_other() -> None:
    assert render(service(CASES["custom"]), Settings(""))
