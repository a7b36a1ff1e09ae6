"""Decisions, each over the whole of its domain."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slipway.api.modelservice import Routing, Scaling, Target
from slipway.api.quantity import parse_quantity
from slipway.api.server import Resources
from slipway.policies.disruption import needs_disruption_budget
from slipway.policies.model_source import ClaimModel, ImageModel, read_model_uri
from slipway.policies.resources import effective_resources
from slipway.policies.rollout import Rollout, grace_seconds
from slipway.policies.routing import RoutePlan, external_url, internal_url, plan_route
from slipway.policies.scaling import Autoscaled, FixedReplicas, handover, least_replicas, plan_scaling

counts = st.integers(1, 1000)
memory = st.builds(lambda number, unit: f"{number}{unit}", st.integers(1, 4096), st.sampled_from(["Mi", "Gi", "M"]))
plans = st.builds(FixedReplicas, counts) | st.builds(
    lambda low, more: Autoscaled(low, low + more, Target()), counts, st.integers(1, 100)
)


@given(counts, counts)
def test_there_is_an_autoscaler_exactly_when_there_is_a_range(one: int, other: int) -> None:
    low, high = sorted((one, other))
    plan = plan_scaling(Scaling(min=low, max=high))
    assert isinstance(plan, Autoscaled) == (low < high)
    assert least_replicas(plan) == low


def test_without_max_the_number_is_fixed_at_min() -> None:
    assert plan_scaling(Scaling()) == FixedReplicas(1)
    assert plan_scaling(Scaling(min=3)) == FixedReplicas(3)


def test_without_a_target_the_autoscaler_keeps_cpu_at_80_percent() -> None:
    assert plan_scaling(Scaling(max=2)) == Autoscaled(1, 2, Target(metric="cpu", value=80))


@given(plans, st.none() | st.integers(0, 2000), st.booleans())
@example(Autoscaled(2, 9, Target()), 0, True)
def test_replicas_are_handed_over_only_to_an_autoscaler_that_does_not_have_them(
    plan: FixedReplicas | Autoscaled, current: int | None, exists: bool
) -> None:
    replicas = handover(plan, current, autoscaler_exists=exists)
    made_right = current is None and least_replicas(plan) == 1
    if isinstance(plan, Autoscaled) and current == 0:
        assert replicas == plan.minimum  # an autoscaler does nothing at 0
    elif isinstance(plan, FixedReplicas) or exists or made_right:
        assert replicas is None
    else:
        assert replicas is not None
        assert plan.minimum <= replicas <= plan.maximum
        assert replicas == current or current is None or not plan.minimum <= current <= plan.maximum


@given(plans)
def test_a_budget_needs_a_replica_to_spare(plan: FixedReplicas | Autoscaled) -> None:
    assert needs_disruption_budget(plan) == (least_replicas(plan) >= 2)


@given(st.none() | memory, st.none() | memory)
def test_defaults_never_contradict_what_was_written(request: str | None, limit: str | None) -> None:
    if request and limit and parse_quantity(request) > parse_quantity(limit):
        request, limit = limit, request
    wanted = Resources(requests={"memory": request} if request else {}, limits={"memory": limit} if limit else {})
    made = effective_resources(wanted)
    assert parse_quantity(made["requests"]["memory"]) <= parse_quantity(made["limits"]["memory"])
    if request:
        assert parse_quantity(made["requests"]["memory"]) == parse_quantity(request)
    if limit:
        assert parse_quantity(made["limits"]["memory"]) == parse_quantity(limit)


def test_defaults_of_resources() -> None:
    made = effective_resources(Resources())
    assert made == {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
    lower = effective_resources(Resources(limits={"cpu": "50m", "nvidia.com/gpu": "1"}))
    assert lower["requests"]["cpu"] == "50m"
    assert lower["limits"] == {"memory": "1Gi", "cpu": "50m", "nvidia.com/gpu": "1"}


def test_routes() -> None:
    assert plan_route(Routing(), "team", "iris") == RoutePlan((), "/team/iris", rewrite=True, timeout="60s")
    own = plan_route(Routing(hostnames=["iris.example.com"], timeout="5s"), "team", "iris")
    assert own == RoutePlan(("iris.example.com",), "/", rewrite=False, timeout="5s")
    assert plan_route(Routing(hostnames=["a"], path="/v2"), "team", "iris").path == "/v2"


@pytest.mark.parametrize(
    ("routing", "gateway", "url"),
    [
        (Routing(), "http://10.0.0.1:30080", "http://10.0.0.1:30080/team/iris"),
        (Routing(), "http://10.0.0.1:30080/", "http://10.0.0.1:30080/team/iris"),
        (Routing(), None, None),
        (Routing(hostnames=["iris.example.com", "x"]), "https://10.0.0.1", "https://iris.example.com"),
        (Routing(hostnames=["a.b"], path="/v2/"), "http://10.0.0.1:30080", "http://a.b:30080/v2"),
        (Routing(hostnames=["a.b"]), "http://[fd00::1]", "http://a.b"),
    ],
)
def test_urls(routing: Routing, gateway: str | None, url: str | None) -> None:
    assert external_url(plan_route(routing, "team", "iris"), gateway) == url
    assert internal_url("team", "iris") == "http://iris.team.svc"


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("oci://r:5000/m/iris:1", ImageModel("r:5000/m/iris:1", None)),
        ("oci://r/m@sha256:ab", ImageModel("r/m@sha256:ab", "sha256:ab")),
        ("pvc://claim", ClaimModel("claim", "")),
        ("pvc://claim/a/b/", ClaimModel("claim", "a/b")),
    ],
)
def test_model_sources(uri: str, source: ImageModel | ClaimModel) -> None:
    assert read_model_uri(uri) == source


def test_other_schemes_are_no_source() -> None:
    with pytest.raises(ValueError, match="no scheme that is served"):
        read_model_uri("ftp://host/iris")


@pytest.mark.parametrize(("timeout", "grace"), [("1s", 60), ("60s", 60), ("61s", 71), ("10m", 610), ("0s", 60)])
def test_a_pod_may_stop_for_as_long_as_a_request_may_take(timeout: str, grace: int) -> None:
    assert grace_seconds(timeout) == grace


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.booleans())
def test_a_rollout_is_complete_only_when_nothing_old_or_missing_is_left(
    wanted: int, existing: int, updated: int, available: int, observed: bool
) -> None:
    rollout = Rollout(wanted, existing, updated, available, ready=available, observed=observed)
    assert rollout.serving == (available > 0)
    if rollout.complete:
        assert observed
        assert existing == updated == wanted <= available
