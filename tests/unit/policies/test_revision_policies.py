"""Revisions, start-up times, references and sources, each over the whole of its domain."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.modelservice import Model
from slipway.api.server import Gpu, NameRef, Resources
from slipway.policies.model_source import ClaimModel, FetchedModel, ImageModel, plan_source
from slipway.policies.references import content_hash, references
from slipway.policies.resources import device_of, effective_resources
from slipway.policies.revisions import Inputs, Revision, forgettable, number_of, recall
from slipway.policies.routing import IngressPlan, ingress_url
from slipway.policies.startup import LEAST_SECONDS, MOST_SECONDS, startup_budget, startup_seconds

names = st.sampled_from(["a", "b", "c", "d"])
inputs = st.builds(lambda name: Inputs({"uri": name}, {}), names)
histories = st.lists(st.tuples(names, inputs), max_size=8, unique_by=lambda pair: pair[0]).map(
    lambda pairs: [Revision(name, number, made) for number, (name, made) in enumerate(pairs, 1)]
)
DIGEST = f"sha256:{'a' * 64}"


@given(histories, names)
def test_a_revision_that_is_rolled_out_has_the_highest_number(history: list[Revision], name: str) -> None:
    number = number_of(name, history)
    others = [revision.number for revision in history if revision.name != name]
    assert all(number > other for other in others)
    assert number >= 1
    if history and history[-1].name == name:
        assert number == history[-1].number


@given(histories, inputs)
def test_what_is_recalled_was_made_from_the_same_and_nothing_newer_was(history: list[Revision], made: Inputs) -> None:
    found = recall(history, made)
    same = [revision for revision in history if revision.inputs == made]
    assert (found is None) == (not same)
    if found:
        assert found.inputs == made
        assert all(found.number >= revision.number for revision in same)


@given(histories, names, st.integers(0, 5))
def test_the_newest_are_kept_and_the_current_one_always(history: list[Revision], current: str, limit: int) -> None:
    gone = forgettable(history, current, limit)
    kept = [revision for revision in history if revision not in gone and revision.name != current]
    assert current not in {revision.name for revision in gone}
    assert len(kept) <= limit
    assert not gone or len(kept) == limit
    assert all(old.number < new.number for old in gone for new in kept)


@given(st.none() | st.integers(0, 10_000))
def test_the_time_to_start_is_within_its_bounds_and_five_times_what_was_measured(measured: int | None) -> None:
    seconds = startup_seconds(None, measured)
    assert LEAST_SECONDS <= seconds <= MOST_SECONDS
    assert seconds == MOST_SECONDS or seconds >= 5 * (measured or 0)
    assert startup_seconds("90s", measured) == 90


@given(st.integers(1, 100_000))
def test_a_probe_waits_for_as_long_as_it_may_and_hardly_longer(seconds: int) -> None:
    budget = startup_budget(seconds)
    assert seconds <= budget.seconds < seconds + budget.period
    assert budget.failures <= 600
    assert (budget.period == 1) == (seconds <= 600)


def test_references_are_found_wherever_a_server_reads() -> None:
    spec: dict[str, Any] = {
        "server": {
            "envFrom": [{"configMapRef": {"name": "one"}}, {"secretRef": {"name": "two"}}],
            "env": [
                {"name": "A", "value": "x"},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "three", "key": "k"}}},
                {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "one", "key": "k"}}},
            ],
            "podTemplate": {
                "volumes": [
                    {"name": "x", "configMap": {"name": "four"}},
                    {"name": "y", "secret": {"secretName": "five"}},
                    {"name": "z", "emptyDir": {}},
                ]
            },
        }
    }
    assert references(spec) == [
        ("ConfigMap", "four"),
        ("ConfigMap", "one"),
        ("Secret", "five"),
        ("Secret", "three"),
        ("Secret", "two"),
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["server", "env", "envFrom", "valueFrom", "secretRef", "name"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_a_wrong_spec_has_no_references_and_breaks_nothing(spec: Any) -> None:
    assert all(isinstance(name, str) and name for _, name in references(spec))


@given(st.dictionaries(st.tuples(st.sampled_from(["ConfigMap", "Secret"]), names), st.text(max_size=3), max_size=4))
def test_the_content_hash_changes_with_each_content(contents: dict[Any, str]) -> None:
    wanted = sorted(contents)
    before = content_hash(wanted, contents.get)
    assert bool(before) == bool(wanted)
    for reference in wanted:
        assert content_hash(wanted, (contents | {reference: contents[reference] + "x"}).get) != before
        assert content_hash(wanted, {key: contents[key] for key in wanted if key != reference}.get) != before


@pytest.mark.parametrize(
    ("model", "mounts", "source"),
    [
        (Model(uri="oci://r/m:1"), True, ImageModel(f"r/m:1@{DIGEST}", DIGEST)),
        (Model(uri=f"oci://r/m@{DIGEST}"), True, ImageModel(f"r/m@{DIGEST}", DIGEST)),
        (Model(uri="oci://r/m:1"), False, FetchedModel(f"oci://r/m:1@{DIGEST}", None, 1800, None)),
        (Model(uri="pvc://claim/a"), False, ClaimModel("claim", "a")),
        (
            Model(uri="hf://org/repo@main", secret_ref=NameRef(name="hub"), fetch_timeout="90s"),
            True,
            FetchedModel("hf://org/repo@main", None, 90, "hub"),
        ),
    ],
)
def test_how_a_model_gets_into_a_pod(model: Model, mounts: bool, source: Any) -> None:
    assert plan_source(model, DIGEST, image_volumes=mounts) == source


def test_devices() -> None:
    assert device_of(Gpu()) == "nvidia.com/gpu"
    assert device_of(Gpu(profile="mig-1g.10gb")) == "nvidia.com/mig-1g.10gb"
    assert device_of(Gpu(resource="amd.com/gpu")) == "amd.com/gpu"
    assert effective_resources(Resources(), Gpu(count=2))["limits"]["nvidia.com/gpu"] == "2"


def test_urls_of_ingresses() -> None:
    assert ingress_url(IngressPlan(("a.b", "c"), "/", None)) == "http://a.b"
    assert ingress_url(IngressPlan(("a.b",), "/v2/", "cert")) == "https://a.b/v2"
