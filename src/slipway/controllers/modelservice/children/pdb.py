"""How many replicas an eviction may take away."""

from __future__ import annotations

from slipway.controllers.modelservice.children.common import child, selector
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import PDB, Manifest


def build_pdb(decision: Decision) -> Manifest | None:
    """The PodDisruptionBudget, None where one replica may be all there is. Unready pods may always be evicted."""
    if not decision.disruption_budget:
        return None
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": selector(decision)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return child(PDB, decision, spec=spec)
