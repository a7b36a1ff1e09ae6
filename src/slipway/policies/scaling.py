"""Who sets the number of replicas: the operator, or an autoscaler. Never both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from slipway.api.modelservice import Scaling, Target

_DEFAULT: Final = 1  # replicas, of a Deployment that does not say (apps/v1)


@dataclass(frozen=True, slots=True)
class FixedReplicas:
    """The operator writes the number."""

    replicas: int


@dataclass(frozen=True, slots=True)
class Autoscaled:
    """A HorizontalPodAutoscaler writes the number, between `minimum` and `maximum`."""

    minimum: int
    maximum: int
    target: Target


ScalingPlan = FixedReplicas | Autoscaled


def plan_scaling(wanted: Scaling) -> ScalingPlan:
    """Fixed where there is no range to scale in."""
    most = wanted.max if wanted.max is not None else wanted.min
    if most == wanted.min:
        return FixedReplicas(wanted.min)
    return Autoscaled(wanted.min, most, wanted.target or Target())


def handover(plan: ScalingPlan, current: int | None, *, autoscaler_exists: bool) -> int | None:
    """The number of replicas to leave behind when the operator gives the field up to an autoscaler, or None.

    A field that its last manager stops applying falls back to its default, one replica. So before the operator stops,
    the number is written once in another manager's name. `current` is the number now, None without a Deployment, which
    is then made with the default. At 0 an autoscaler is switched off: somebody has to wake it.
    """
    if isinstance(plan, Autoscaled) and current == 0:
        return plan.minimum
    if isinstance(plan, FixedReplicas) or autoscaler_exists or (current is None and plan.minimum == _DEFAULT):
        return None
    return min(max(current or plan.minimum, plan.minimum), plan.maximum)


def least_replicas(plan: ScalingPlan) -> int:
    """The number of replicas that there always are."""
    return plan.replicas if isinstance(plan, FixedReplicas) else plan.minimum
