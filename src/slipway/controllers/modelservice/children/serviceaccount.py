"""The identity of the model pods. It has no rights and its token is not mounted."""

from __future__ import annotations

from slipway.controllers.modelservice.children.common import child
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import SERVICE_ACCOUNT, Manifest


def build_service_account(decision: Decision) -> Manifest:
    """The ServiceAccount."""
    return child(SERVICE_ACCOUNT, decision, automountServiceAccountToken=False)
