"""The definition of each kind: generated, and current."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field, StringConstraints, WithJsonSchema

from slipway.api import crd, reference
from slipway.api.base import ApiModel, Text
from slipway.api.resource import Resource
from slipway.api.schema import SchemaError, structural_schema

ROOT = Path(__file__).parents[3]
RESOURCES = pytest.mark.parametrize("resource", crd.RESOURCES, ids=lambda resource: resource.kind)


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


class _Union(ApiModel):
    value: int | str


class _Tuple(ApiModel):
    value: tuple[int, str]


class _Open(ApiModel):
    value: dict[str, Any]


class _Exclusive(ApiModel):
    value: int = Field(gt=3)


class _Keys(ApiModel):
    value: dict[Annotated[str, StringConstraints(pattern="^a$")], int]


@pytest.mark.parametrize("model", [_Union, _Tuple, _Open, _Exclusive, _Keys])
def test_what_has_no_structural_form_is_refused_with_its_path(model: type[ApiModel]) -> None:
    with pytest.raises(SchemaError, match=f"^{model.__name__}.value"):
        structural_schema(model)


class _Files(ApiModel):
    by_name: dict[Annotated[str, Text("[a-z]+", "is not the name of a file", most=9, hint="use a-z")], int]
    by_text: dict[Annotated[str, Text(most=5)], int]


def test_what_a_map_asks_of_its_keys_is_a_rule() -> None:
    schema = structural_schema(_Files)["properties"]
    assert schema["byName"]["x-kubernetes-validations"] == [
        {
            "rule": 'self.all(key, size(key) >= 1 && size(key) <= 9 && key.matches("^[a-z]+$"))',
            "message": "a key is not the name of a file; use a-z",
        }
    ]
    assert schema["byText"]["x-kubernetes-validations"] == [
        {
            "rule": "self.all(key, size(key) >= 1 && size(key) <= 5)",
            "message": "a key is too long; use at most 5 characters",
        }
    ]


class _Declared(ApiModel):
    value: Annotated[dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]


def test_a_hole_that_is_declared_stays_one() -> None:
    schema = structural_schema(_Declared)["properties"]["value"]
    assert schema == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
