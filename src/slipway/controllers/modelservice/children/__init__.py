"""What a ModelService is made of, one module a kind of object. Pure: a decision in, a manifest out."""

from __future__ import annotations

from slipway.controllers.modelservice.children.deployment import build_deployment
from slipway.controllers.modelservice.children.hpa import build_hpa
from slipway.controllers.modelservice.children.httproute import build_httproute
from slipway.controllers.modelservice.children.pdb import build_pdb
from slipway.controllers.modelservice.children.service import build_service
from slipway.controllers.modelservice.children.serviceaccount import build_service_account
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import Manifest

_BUILDERS = (build_service_account, build_service, build_deployment, build_hpa, build_pdb, build_httproute)


def build_children(decision: Decision) -> list[Manifest]:
    """All objects of one ModelService, in the order in which they are applied."""
    return [child for build in _BUILDERS if (child := build(decision)) is not None]
