"""What a person reads who wrote a field wrongly: each field has its sentence, each name its near miss."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from slipway.api.crd import RESOURCES, object_schema
from slipway.api.lint import STATUS, places
from slipway.api.metadata import FIELDS
from slipway.api.modelservice import RESOURCE
from slipway.api.problem import Problem
from slipway.api.samples import concrete, samples, steps
from slipway.api.validation import problems_of, validate

from .refusals import MODEL_SERVICE, Wrong, misspelled, put

MISSPELLED = list(misspelled(RESOURCE))


def problems(manifest: dict[str, Any], path: str) -> list[Problem]:
    """What is said about a manifest; about its status, which only the operator writes, where that is the wrong part."""
    if steps(path)[0] != STATUS:
        return validate(manifest)
    try:
        RESOURCE.model.model_validate(
            {part: manifest[part] for part in ("spec", STATUS) if part in manifest}, by_name=False
        )
    except ValidationError as error:
        return problems_of(error, RESOURCE)
    return []


@pytest.mark.parametrize("wrong", MODEL_SERVICE, ids=[f"{wrong.path}={wrong.value!r:.20}" for wrong in MODEL_SERVICE])
def test_a_wrong_value_is_refused(wrong: Wrong) -> None:
    assert [str(problem) for problem in problems(wrong.manifest, wrong.path)] == [wrong.sentence]


@pytest.mark.parametrize("wrong", MISSPELLED, ids=[wrong.path for wrong in MISSPELLED])
def test_a_misspelled_field_is_answered_with_the_nearest(wrong: Wrong) -> None:
    assert wrong.sentence in [str(problem) for problem in problems(wrong.manifest, wrong.path)]


@functools.cache
def known_paths() -> frozenset[str]:
    return frozenset(place.path.removeprefix(".") for place in places(object_schema(RESOURCE), ""))


def schema_path(path: str) -> str:
    """`spec.env[0].name` as the schema has it: `spec.env[].name`; a value of a map as `{}`."""
    known = known_paths()
    written = ""
    for step in steps(path):
        below = f"{written}.{step}".removeprefix(".")
        written = f"{written}[]" if isinstance(step, int) else below if below in known else f"{written}{{}}"
    return written


def test_every_field_has_its_sentence() -> None:
    fields = known_paths() - {""}
    wanted = fields | {"apiVersion", "kind", "metadata"} | {f"metadata.{name}" for name in FIELDS}
    written = {wrong.path for wrong in MODEL_SERVICE} | {schema_path(wrong.path) for wrong in MODEL_SERVICE}
    assert sorted(wanted - written) == [], "add them to tests/unit/api/refusals.py"


def test_the_samples_have_every_field() -> None:
    for place in places(object_schema(RESOURCE), ""):
        assert concrete(RESOURCE.kind, place.path) is not None


@pytest.mark.parametrize("kind", [resource.kind for resource in RESOURCES])
def test_the_samples_are_right(kind: str) -> None:
    for manifest in samples(kind):
        assert validate(manifest) == []
        assert problems(manifest, STATUS) == []


def test_what_a_sample_lacks_is_said() -> None:
    with pytest.raises(LookupError, match=r"no sample has spec\.modle"):
        put("spec.modle.uri", "x")
    with pytest.raises(LookupError, match=r"no sample has spec\.modle"):
        concrete(RESOURCE.kind, "spec.modle")


NAMES_OF_A_LANGUAGE = (
    "Input should",
    "NoneType",
    "dict",
    "<class",
    "Traceback",
    "object at 0x",
    "str ",
    "None",
    "True",
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates() | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
PLACES = sorted({wrong.path for wrong in MODEL_SERVICE if steps(wrong.path)[0] != STATUS})


@settings(deadline=None)  # how fast the machine is, is not what is tested
@given(st.sampled_from(PLACES), values)
def test_any_value_anywhere_is_accepted_or_refused_in_words(path: str, value: Any) -> None:
    for problem in validate(put(path, value)):
        said = str(problem)
        assert len(said) < 800
        assert not any(name in problem.message.split("'")[0] for name in NAMES_OF_A_LANGUAGE)
        assert not problem.message.startswith(("Value error", "Assertion"))
