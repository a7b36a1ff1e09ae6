"""What a ModelService is made of, one module a kind of object. Pure: a decision in, a manifest out."""

from __future__ import annotations

from slipway.controllers.modelservice.children.configmap import build_config_map
from slipway.controllers.modelservice.children.deployment import build_deployment, revision_of
from slipway.controllers.modelservice.children.hpa import build_hpa
from slipway.controllers.modelservice.children.httproute import build_httproute
from slipway.controllers.modelservice.children.ingress import build_ingress
from slipway.controllers.modelservice.children.networkpolicy import build_network_policy
from slipway.controllers.modelservice.children.pdb import build_pdb
from slipway.controllers.modelservice.children.revision import build_revision
from slipway.controllers.modelservice.children.service import build_service
from slipway.controllers.modelservice.children.serviceaccount import build_service_account
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import Manifest

_BEFORE = (build_service_account, build_config_map, build_network_policy, build_service)
_AFTER = (build_hpa, build_pdb, build_httproute, build_ingress)


def build_children(decision: Decision) -> list[Manifest]:
    """All objects of one ModelService, in the order in which they are applied.

    What pods need comes before them; the record of a revision comes before the revision.
    """
    deployment = build_deployment(decision)
    record = build_revision(decision, revision_of(deployment))
    before = [build(decision) for build in _BEFORE]
    after = [build(decision) for build in _AFTER]
    return [child for child in (*before, record, deployment, *after) if child is not None]
