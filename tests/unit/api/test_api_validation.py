"""Manifests as wholes: what is missing, what counts as absent, and that everything is told at once."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from slipway.api.problem import Problem, path_of
from slipway.api.samples import samples, steps
from slipway.api.validation import validate

from .refusals import NULLS

GOOD: dict[str, Any] = samples("ModelService")[0]


def test_status_is_left_to_the_api_server() -> None:
    assert validate(GOOD | {"status": {"anything": "is not applied"}}) == []


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        (None, "manifest: must be an object, not nothing; begin with apiVersion, kind, metadata and spec"),
        ([], "manifest: must be an object, not a list"),
        ({}, "apiVersion: is missing; write slipway.dev/v1alpha1"),
        (GOOD | {"apiVersion": ["v1"]}, "apiVersion: a list is not served; write slipway.dev/v1alpha1"),
        ({"apiVersion": "slipway.dev/v1alpha1", "kind": ["x"]}, "is no kind of"),
        ({key: GOOD[key] for key in ("apiVersion", "kind", "spec")}, "metadata: is missing; metadata.name is needed"),
        ({key: GOOD[key] for key in ("apiVersion", "kind", "metadata")}, "spec: is missing"),
        (GOOD | {"spec": {}}, "spec.model: is missing; Which model is served"),
        (GOOD | {"spec": "x"}, "spec: must be an object, not a string"),
        (
            GOOD | {"spec": {"model": {"uri": "oci://r/m", "format": "custom"}}},
            "spec: model.format custom needs server.image",
        ),
        (GOOD | {"sepc": {}}, "sepc: unknown field; did you mean spec?"),
    ],
)
def test_refused_as_a_whole(manifest: Any, sentence: str) -> None:
    problems = validate(manifest)
    assert len(problems) == 1
    assert sentence in str(problems[0])


def test_all_problems_are_told_at_once() -> None:
    manifest = copy.deepcopy(GOOD)
    manifest["metadata"]["lables"] = {}
    manifest["spec"]["model"]["format"] = "x"
    manifest["spec"]["scaling"] = {"min": 0, 1: 2}
    assert [problem.path for problem in validate(manifest)] == [
        "metadata.lables",
        "spec.scaling",
        "spec.model.format",
        "spec.scaling.min",
    ]


@pytest.mark.parametrize("change", NULLS)
def test_null_counts_as_absent_as_for_the_api_server(change: dict[str, Any]) -> None:
    assert validate(GOOD | {"spec": GOOD["spec"] | change}) == []


def test_null_in_a_list_is_something() -> None:
    manifest = GOOD | {"spec": {"model": {"uri": "oci://r/m"}, "server": {"env": [None]}}}
    assert [str(problem) for problem in validate(manifest)] == [
        "spec.server.env[0]: must be an object, not nothing; fields here: name, value, valueFrom"
    ]


def test_nothing_of_a_long_value_is_repeated_at_length() -> None:
    manifest = copy.deepcopy(GOOD)
    manifest["spec"]["model"]["format"] = "x" * 10**6
    manifest["spec"]["server"]["resources"]["limits"] = {"y" * 10**6: 1}
    manifest["spec"]["z" * 10**6] = 1
    problems = validate(manifest)
    assert len(problems) == 3
    assert all(len(str(problem)) < 700 for problem in problems)


def test_a_value_that_may_be_secret_is_not_repeated() -> None:
    manifest = copy.deepcopy(GOOD)
    manifest["spec"]["server"]["env"] = [{"name": "PASSWORD", "value": 271828}]
    (problem,) = validate(manifest)
    assert "271828" not in str(problem)


def test_how_deep_a_wrong_value_is_does_not_matter() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    (problem,) = validate(GOOD | {"spec": {"model": {"uri": "oci://r/m"}, "depth": deep}})
    assert problem.path == "spec.depth"
    while deep:
        deep = deep["a"]  # else Python would take it apart in a recursion of its own


def test_a_problem_without_a_hint_is_one_sentence() -> None:
    assert str(Problem("spec", "is wrong")) == "spec: is wrong"


@pytest.mark.parametrize(
    ("location", "path"),
    [
        (("spec", "env", 0, "name"), "spec.env[0].name"),
        (("limits", "nvidia.com/gpu"), 'limits["nvidia.com/gpu"]'),
        (("files", "a b"), 'files["a b"]'),
        ((), ""),
    ],
)
def test_paths_are_written_and_read(location: tuple[str | int, ...], path: str) -> None:
    assert path_of(location) == path
    assert steps(path) == location
