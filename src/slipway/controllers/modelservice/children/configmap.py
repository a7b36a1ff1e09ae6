"""The files of the server."""

from __future__ import annotations

from slipway.controllers.modelservice.children.common import child
from slipway.controllers.modelservice.decide import Decision
from slipway.kit.objects import CONFIG_MAP, Manifest


def files_name(decision: Decision) -> str:
    """The name of the ConfigMap."""
    return f"{decision.name}-files"


def build_config_map(decision: Decision) -> Manifest | None:
    """The ConfigMap, None where the server has no files."""
    files = decision.spec.server.files
    return child(CONFIG_MAP, decision, files_name(decision), data=dict(files)) if files else None
