"""The chart as files; what Helm renders from it is tested where Helm is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

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


def test_schema_and_defaults_name_the_same_values() -> None:
    def names(node: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
        if isinstance(node, dict) and "properties" in schema:
            for name, child in node.items():
                yield f"{path}.{name}"
                yield from names(child, schema["properties"].get(name, {}), f"{path}.{name}")

    described = {path for path, _ in nodes(SCHEMA)} - {"values", "values.global"}
    assert set(names(VALUES, SCHEMA, "values")) == described


def test_every_value_that_a_template_reads_exists() -> None:
    described = {path for path, _ in nodes(SCHEMA)}
    for file in sorted((CHART / "templates").iterdir()):
        for used in re.findall(r"\.Values((?:\.\w+)+)", file.read_text()):
            assert f"values{used}" in described, f"{file.name}: .Values{used}"


def test_definitions_stay_when_the_release_goes() -> None:
    files = sorted((CHART / "files" / "crds").glob("*.yaml"))
    assert files
    for file in files:
        document = yaml.safe_load(file.read_text())
        assert document["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep", file.name
