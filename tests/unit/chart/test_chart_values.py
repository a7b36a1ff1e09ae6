"""The chart as files; what Helm renders from it is tested where Helm is."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.cluster.chart import page

CHART = Path(__file__).resolve().parents[3] / "helm" / "slipway"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def nodes(node: dict[str, Any], path: str = "values") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")


def test_every_value_is_described_and_every_name_that_is_not_a_value_is_refused() -> None:
    for path, node in nodes(SCHEMA):
        assert node.get("description"), path
        if "properties" in node:
            assert node["additionalProperties"] is False, path


def names(node: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    if isinstance(node, dict) and "properties" in schema:
        for name, child in node.items():
            yield f"{path}.{name}"
            yield from names(child, schema["properties"].get(name, {}), f"{path}.{name}")


def test_schema_and_defaults_name_the_same_values() -> None:
    described = {path for path, _ in nodes(SCHEMA)} - {"values", "values.global"}
    assert set(names(VALUES, SCHEMA, "values")) == described


def test_every_value_that_a_template_reads_exists() -> None:
    described = {path for path, _ in nodes(SCHEMA)}
    for file in sorted(path for path in (CHART / "templates").rglob("*") if path.is_file()):
        for used in re.findall(r"\.Values((?:\.\w+)+)", file.read_text()):
            assert f"values{used}" in described, f"{file.name}: .Values{used}"


@pytest.mark.parametrize("stage", ["dev", "staging", "prod"])
def test_values_of_a_stage_are_values_with_reasons(stage: str) -> None:
    text = (CHART / f"values-{stage}.yaml").read_text()
    assert set(names(yaml.safe_load(text), SCHEMA, "values")) <= set(names(VALUES, SCHEMA, "values"))
    blocks = text.split("\n\n", 1)[1].split("\n")
    groups = [line for line in blocks if re.match(r"\w", line)]
    assert groups
    assert text.startswith("# ")
    assert text.count(" # ") >= len(groups) - 1, "a value without a reason"


def test_production_differs_from_staging_in_size_only() -> None:
    staging, prod = (yaml.safe_load((CHART / f"values-{stage}.yaml").read_text()) for stage in ("staging", "prod"))
    sizes = {"replicas", "resources", "podDisruptionBudget", "test"}
    assert {name: prod[name] for name in prod.keys() - sizes} == {
        name: staging[name] for name in staging.keys() - sizes
    }


def test_the_page_is_made_from_the_schema() -> None:
    made = page(CHART)
    assert (CHART / "README.md").read_text() == made, "python -m slipway.cluster.chart helm/slipway"


def test_the_chart_has_the_version_of_the_platform() -> None:
    project = tomllib.loads((CHART.parents[1] / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == project["version"]


def test_no_right_is_a_wildcard() -> None:
    for file in sorted(path for path in (CHART / "templates").rglob("*.yaml") if "rbac" in path.read_text()):
        assert not re.search(r"(apiGroups|resources|verbs): .*\*", file.read_text()), file.name


def test_definitions_stay_when_the_release_goes() -> None:
    files = sorted((CHART / "files" / "crds").glob("*.yaml"))
    assert files
    for file in files:
        document = yaml.safe_load(file.read_text())
        assert document["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep", file.name
