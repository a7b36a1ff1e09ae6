"""The definition of each kind: generated, current, and within the rules of an API that people can rely on."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

from slipway.api import crd, reference
from slipway.api.base import ApiModel
from slipway.api.resource import Resource
from slipway.api.schema import SchemaError, structural_schema

ROOT = Path(__file__).parents[3]
RESOURCES = pytest.mark.parametrize("resource", crd.RESOURCES, ids=lambda resource: resource.kind)

Node = dict[str, Any]


def nodes(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from nodes(node["additionalProperties"], f"{path}{{}}")


def lint_node(path: str, node: Node) -> Iterator[str]:
    kind = node.get("type")
    if path in {"", ".apiVersion", ".kind", ".metadata"}:
        return
    if kind == "string" and "enum" not in node and "maxLength" not in node:
        yield f"{path}: a string without maxLength"
    if kind == "integer" and "minimum" not in node:
        yield f"{path}: a number without minimum"
    if kind == "boolean":
        yield f"{path}: a boolean cannot become a third thing later; use an enum"
    if kind == "array":
        yield from lint_list(path, node)
    if kind == "object" and not node.get("properties") and "additionalProperties" not in node:
        yield f"{path}: an object without fields is a hole"
    if "additionalProperties" in node and "maxProperties" not in node:
        yield f"{path}: a map without maxProperties"
    if not node.get("description") and not path.endswith(("[]", "{}")):
        yield f"{path}: says nothing"
    if "x-kubernetes-preserve-unknown-fields" in node or "nullable" in node:
        yield f"{path}: unstructured"


def lint_list(path: str, node: Node) -> Iterator[str]:
    if "maxItems" not in node:
        yield f"{path}: a list without maxItems"
    how = node.get("x-kubernetes-list-type")
    if how is None:
        yield f"{path}: a list without x-kubernetes-list-type"
    keys = node.get("x-kubernetes-list-map-keys", [])
    if how == "map" and not set(keys) <= set(node["items"].get("required", [])):
        yield f"{path}: a key of the list is not required"


def lint(definition: Node) -> list[str]:
    (version,) = definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    found = [problem for path, node in nodes(schema) for problem in lint_node(path, node)]
    status = schema["properties"]["status"]["properties"]
    if next(iter(status)) != "conditions":
        found.append(".status: conditions come first")
    if "phase" in status:
        found.append(".status.phase: a phase hides what conditions say")
    if version.get("subresources", {}).get("status") is None:
        found.append("no status subresource")
    columns = version["additionalPrinterColumns"]
    return found + [f"column {column['name']} says nothing" for column in columns if not column["description"]]


@RESOURCES
def test_definition_keeps_the_rules(resource: Resource) -> None:
    assert lint(crd.crd(resource)) == []


@pytest.mark.parametrize(
    ("path", "change", "problem"),
    [
        ("spec.model.uri", lambda node: node.pop("maxLength"), "a string without maxLength"),
        ("spec.scaling.min", lambda node: node.pop("minimum"), "a number without minimum"),
        ("spec.scaling.min", lambda node: node.update(type="boolean"), "a boolean"),
        ("spec.server.env", lambda node: node.pop("maxItems"), "a list without maxItems"),
        ("spec.server.env", lambda node: node.pop("x-kubernetes-list-type"), "without x-kubernetes-list-type"),
        ("spec.server.env", lambda node: node["items"].pop("required"), "is not required"),
        ("spec.server", lambda node: node.pop("properties"), "is a hole"),
        ("spec.server.resources.limits", lambda node: node.pop("maxProperties"), "a map without maxProperties"),
        ("spec.model", lambda node: node.pop("description"), "says nothing"),
        ("spec.model", lambda node: node.update(nullable=True), "unstructured"),
        ("status", lambda node: node["properties"].update(phase={"type": "string", "maxLength": 9}), "phase"),
        ("status", lambda node: node["properties"].update(conditions=node["properties"].pop("conditions")), "first"),
    ],
)
def test_each_rule_finds_what_breaks_it(path: str, change: Any, problem: str) -> None:
    definition = copy.deepcopy(crd.crd(crd.RESOURCES[0]))
    node = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for name in path.split("."):
        node = node["properties"][name]
    change(node)
    assert any(problem in found for found in lint(definition))


@RESOURCES
def test_file_in_the_chart_is_current(resource: Resource) -> None:
    written = (ROOT / "helm/slipway/files/crds" / crd.file_name(resource)).read_text(encoding="utf-8")
    assert written == crd.crd_yaml(resource), "run: python -m slipway.api.crd helm/slipway/files/crds"
    assert yaml.safe_load(written) == crd.crd(resource)


@RESOURCES
def test_reference_page_is_current(resource: Resource) -> None:
    written = (ROOT / "docs/reference" / f"{resource.kind.lower()}.md").read_text(encoding="utf-8")
    assert written == reference.page(resource), "run: python -m slipway.api.reference docs/reference"


def test_programs_write_what_the_functions_make(tmp_path: Path) -> None:
    crd.main([str(tmp_path / "crds")])
    reference.main([str(tmp_path / "pages")])
    assert {file.name for file in tmp_path.rglob("*.*")} == {"modelservices.slipway.dev.yaml", "modelservice.md"}


@RESOURCES
def test_patterns_in_rules_are_anchored(resource: Resource) -> None:
    """CEL's matches finds a pattern anywhere."""
    for _, node in nodes(crd.object_schema(resource)):
        for rule in node.get("x-kubernetes-validations", ()):
            for pattern in re.findall(r"matches\([\"'](.*?)[\"']\)", rule["rule"]):
                assert pattern.startswith("^")
                assert pattern.endswith("$")


class _Union(ApiModel):
    value: int | str


class _Tuple(ApiModel):
    value: tuple[int, str]


class _Open(ApiModel):
    value: dict[str, Any]


class _Exclusive(ApiModel):
    value: int = Field(gt=3)


@pytest.mark.parametrize("model", [_Union, _Tuple, _Open, _Exclusive])
def test_what_has_no_structural_form_is_refused_with_its_path(model: type[ApiModel]) -> None:
    with pytest.raises(SchemaError, match=f"^{model.__name__}.value"):
        structural_schema(model)
