"""What was released keeps its meaning; and the comparison that says so finds what does not."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, assume, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from slipway.api.compatibility import check, compare, facts, main, text
from slipway.api.crd import RESOURCES, crd, file_name

RELEASED = Path(__file__).parent / "released"
Facts = dict[str, Any]
NOW = facts(crd(RESOURCES[0]))


def wider(old: str, new: str) -> bool:
    """Whether no text that matches `old` can be found that `new` does not match."""
    try:
        find(
            st.from_regex(old, fullmatch=True),
            lambda made: not re.fullmatch(new, made),
            settings=settings(max_examples=200, database=None, derandomize=True, phases=[Phase.generate]),
        )
    except NoSuchExample:
        return True
    return False


def test_what_was_released_means_what_it_meant() -> None:
    assert check(RELEASED, wider) == []


def test_every_kind_of_the_first_release_is_kept() -> None:
    assert {file.name for file in RELEASED.glob("0.1.0/*")} == {"modelservices.slipway.dev.yaml"}
    for file in RELEASED.glob("*/*"):
        written = file.read_text(encoding="utf-8")
        assert text(yaml.safe_load(written), file.parent.name) == written, f"{file} was changed by hand"


def changed(path: str, **said: Any) -> Facts:
    """The present facts with others at one path; None takes one away."""
    now = copy.deepcopy(NOW)
    fact = now["fields"]["ModelService" + path]
    fact.update(said)
    for key, value in said.items():
        if value is None:
            del fact[key]
    return now


def added(path: str, **said: Any) -> Facts:
    now = copy.deepcopy(NOW)
    now["fields"]["ModelService" + path] = {"type": "string"} | said
    return now


def renamed(old: str, new: str) -> Facts:
    now = copy.deepcopy(NOW)
    now["fields"]["ModelService" + new] = now["fields"].pop("ModelService" + old)
    return now


def named(**names: Any) -> Facts:
    return NOW | {"names": NOW["names"] | names}


URI = 'self.matches("^oci://[a-z]+$")'
REPORTED: list[tuple[Facts, str]] = [
    (renamed(".spec.scaling.min", ".status.min"), ".spec.scaling.min: is no longer there"),
    (
        renamed(".spec.scaling.min", ".spec.scaling.least"),
        ".spec.scaling.min: is no longer there; it looks as if it were renamed to ModelService.spec.scaling.least",
    ),
    (changed(".spec.scaling.min", type="string"), ".spec.scaling.min: its type was integer and is string"),
    (changed(".spec.scaling.max", required=True), ".spec.scaling.max: is required now; objects without it are refused"),
    (added(".spec.zone", required=True), ".spec.zone: is new and required; objects without it are refused"),
    (changed(".spec.model.format", enum=["onnx"]), ".spec.model.format: no longer takes sklearn"),
    (changed(".spec.server.image", enum=["a"]), '.spec.server.image: takes only ["a"] now'),
    (
        changed(".spec.scaling.min", maximum=9),
        ".spec.scaling.min: its maximum was 1000 and is 9; what was accepted is refused",
    ),
    (
        changed(".spec.scaling.min", minimum=2),
        ".spec.scaling.min: its minimum was 1 and is 2; what was accepted is refused",
    ),
    (
        changed(".status.replicas", maximum=9),
        ".status.replicas: its maximum was none and is 9; what was accepted is refused",
    ),
    (
        changed(".spec.server.env", maxItems=1),
        ".spec.server.env: its maxItems was 64 and is 1; what was accepted is refused",
    ),
    (
        changed(".spec.scaling.min", default=2),
        ".spec.scaling.min: its default was 1 and is 2; objects that leave it out change",
    ),
    (
        changed(".spec.scaling.min", default=None),
        ".spec.scaling.min: its default was 1 and is none; objects that leave it out change",
    ),
    (
        changed(".spec.scaling.max", default=2),
        ".spec.scaling.max: its default was none and is 2; objects that leave it out change",
    ),
    (
        changed(".spec.server.env", list="atomic", keys=None),
        ".spec.server.env: its list type: map before, atomic now; who owns what changes",
    ),
    (
        changed(".spec.server.env", keys=["value"]),
        '.spec.server.env: its list keys: ["name"] before, ["value"] now; who owns what changes',
    ),
    (changed(".spec.scaling", rules=["self.min < 5"]), ".spec.scaling: has a rule that it did not have: self.min < 5"),
    (
        changed(".spec.scaling", rules=["!has(self.max) || self.min < 5"]),
        ".spec.scaling: has a rule that it did not have: !has(self.max) || self.min < 5",
    ),
    (
        changed(".spec.scaling", rules=["!has(self.new) || true ? false : true"]),
        ".spec.scaling: has a rule that it did not have: !has(self.new) || true ? false : true",
    ),
    (changed(".spec.model.uri", rules=[URI]), f".spec.model.uri: has a rule that it did not have: {URI}"),
    (
        changed(".spec.server.resources.limits{}", pattern="^[0-9]+$"),
        ".spec.server.resources.limits{}: its pattern was",
    ),
    (changed(".status.conditions[].reason", required=None), ".status.conditions[].reason: is no longer required"),
    (named(plural="services"), ": its plural was modelservices and is services"),
    (named(shortNames=["mod"]), ': its shortNames was ["ms"] and is ["mod"]'),
    (named(version="v1"), ": its version was v1alpha1 and is v1"),
]


@pytest.mark.parametrize(("now", "sentence"), REPORTED, ids=[sentence for _, sentence in REPORTED])
def test_a_change_of_meaning_is_reported(now: Facts, sentence: str) -> None:
    assert any(found.startswith(f"ModelService{sentence}") for found in compare(NOW, now, wider))


def test_what_is_no_longer_open_is_reported() -> None:
    before = changed(".spec.model", open=True)
    assert compare(before, NOW) == ["ModelService.spec.model: no longer takes any field"]


@pytest.mark.parametrize(
    "now",
    [
        added(".spec.zone"),
        added(".spec.zone", default="a"),
        added(".spec.zone.name", required=True),
        changed(".spec.scaling.min", maximum=2000, minimum=0),
        changed(".spec.scaling.min", maximum=None),
        changed(".spec.model.format", enum=[*NOW["fields"]["ModelService.spec.model.format"]["enum"], "xgboost"]),
        changed(".spec.model.format", enum=None),
        changed(".spec.model.uri", required=None),
        changed(".spec.model.uri", rules=None),
        changed(".spec.scaling", rules=["!has(self.new) || self.new > self.min"]),
        changed(".spec.server.image", rules=['self.matches("^[a-zA-Z0-9][a-zA-Z0-9._:/@+-]*$")']),
        named(shortNames=["ms", "svc"]),
    ],
)
def test_accepting_more_is_fine(now: Facts) -> None:
    assert compare(NOW, now, wider) == []


def test_a_kind_that_went_away_is_reported(tmp_path: Path) -> None:
    release = tmp_path / "0.0.9"
    release.mkdir()
    (release / "things.slipway.dev.yaml").write_text(text(named(kind="Thing"), "0.0.9"))
    assert check(tmp_path) == ["0.0.9: Thing: is no longer served"]


def test_the_program_writes_a_release_once_and_prints_sentences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("write", tmp_path / "0.2.0") == 0
    assert main("check", tmp_path) == 0
    with pytest.raises(FileExistsError):
        main("write", tmp_path / "0.2.0")
    file = tmp_path / "0.2.0" / file_name(RESOURCES[0])
    file.write_text(file.read_text().replace('"maximum": 1000', '"maximum": 2000'))
    assert main("check", tmp_path) == 1
    assert capsys.readouterr().out.startswith("0.2.0: ModelService.spec.scaling.min: its maximum was 2000 and is 1000;")


parents = st.sampled_from(sorted(path for path, fact in NOW["fields"].items() if fact["type"] == "object"))
optional = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "array", "object"])},
    optional={"default": st.just("x"), "maxLength": st.integers(1, 9), "rules": st.just(["self > 1"])},
)


@settings(deadline=None)  # how fast the machine is, is not what is tested
@given(st.dictionaries(st.tuples(parents, st.from_regex("[a-z]{1,4}[A-Z][a-z]", fullmatch=True)), optional, max_size=5))
def test_adding_optional_fields_is_never_reported(new: dict[tuple[str, str], Facts]) -> None:
    fields = {f"{parent}.{name}": fact for (parent, name), fact in new.items()}
    assume(not fields.keys() & NOW["fields"].keys())
    assert compare(NOW, NOW | {"fields": NOW["fields"] | fields}) == []


def is_at_or_below(path: str, other: str) -> bool:
    return path == other or path.startswith((f"{other}.", f"{other}[", f"{other}{{"))


@settings(deadline=None)  # how fast the machine is, is not what is tested
@given(st.sets(st.sampled_from(sorted(NOW["fields"].keys() - {"ModelService"})), min_size=1, max_size=4))
def test_removing_any_field_is_always_reported(gone: set[str]) -> None:
    kept = {
        path: fact for path, fact in NOW["fields"].items() if not any(is_at_or_below(path, other) for other in gone)
    }
    reported = {sentence.partition(": ")[0] for sentence in compare(NOW, NOW | {"fields": kept})}
    assert reported <= gone
    assert all(any(is_at_or_below(path, other) for other in reported) for path in gone)


NUMBERS = [(path, key) for path, fact in NOW["fields"].items() for key in fact if key.startswith(("min", "max"))]


@settings(deadline=None)  # how fast the machine is, is not what is tested
@given(st.sampled_from(NUMBERS), st.integers(1, 10**6))
def test_bounds_are_reported_exactly_when_they_are_tighter(bound: tuple[str, str], by: int) -> None:
    path, key = bound
    sign = 1 if key.startswith("min") else -1
    value = NOW["fields"][path][key]
    tighter = changed(path.removeprefix("ModelService"), **{key: value + sign * by})
    looser = changed(path.removeprefix("ModelService"), **{key: value - sign * by})
    assert len(compare(NOW, tighter)) == 1
    assert compare(NOW, looser) == []
