"""Whether evictions need a limit."""

from __future__ import annotations

from slipway.policies.scaling import ScalingPlan, least_replicas


def needs_disruption_budget(plan: ScalingPlan) -> bool:
    """Only where a replica can be spared: a budget over a single one would block every drain of its node for ever."""
    return least_replicas(plan) > 1
