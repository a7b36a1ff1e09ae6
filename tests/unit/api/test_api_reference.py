"""The reference page: complete, with examples that can be applied and links that lead somewhere."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
import yaml

from slipway.api import reference
from slipway.api.crd import RESOURCES, object_schema
from slipway.api.lint import places
from slipway.api.resource import Resource
from slipway.api.samples import samples
from slipway.api.validation import validate

page = functools.cache(reference.page)
KINDS = pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.kind)


def examples(resource: Resource) -> list[Any]:
    return [yaml.safe_load(text) for text in re.findall("```yaml\n(.*?)```", page(resource), re.DOTALL)]


@KINDS
def test_every_field_has_its_row(resource: Resource) -> None:
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page(resource), re.DOTALL | re.MULTILINE))
    for place in places(object_schema(resource), ""):
        if place.name and place.path.count(".") > 1:
            parent = place.path.removeprefix(".").rpartition(".")[0]
            called = re.escape(parent.rpartition(".")[2])
            (text,) = [
                text
                for title, text in sections.items()
                if title.startswith(f"`{parent}`")
                or (title.startswith(f"`{parent.rpartition('.')[0]}.") and re.search(f", `{called}`", title))
            ]
            assert f"| `{place.name}`" in text
            assert place.node["description"].replace("|", "\\|") in text


@KINDS
def test_links_lead_to_headings_that_differ(resource: Resource) -> None:
    headings = re.findall("^## (.+)$", page(resource), re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\(#(.+?)\)", page(resource))) <= set(anchors)


@KINDS
def test_the_smallest_example_can_be_applied(resource: Resource) -> None:
    smallest, *_ = examples(resource)
    assert validate(smallest) == []


def is_within(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and is_within(part[key], whole[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(is_within(item, other) for other in whole) for item in part)
    return bool(part == whole)


@KINDS
def test_the_other_examples_are_parts_of_the_samples(resource: Resource) -> None:
    _, *others = examples(resource)
    assert len(others) == page(resource).count("| Field | Type")
    for example in others:
        assert any(is_within(example, sample) for sample in samples(resource.kind))


@KINDS
def test_the_refusals_shown_are_what_is_said(resource: Resource) -> None:
    (shown,) = re.findall("```text\n(.*?)```", page(resource), re.DOTALL)
    assert "did you mean model?" in shown
    assert all(": " in line for line in shown.splitlines())
