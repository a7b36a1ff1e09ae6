"""The Python client of the platform: what the command line does, for programs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slipway.client.client import AsyncClient
    from slipway.client.connection import Snapshot
    from slipway.client.errors import (
        ConflictError,
        FailedError,
        ForbiddenError,
        InvalidInputError,
        NotFoundError,
        PausedError,
        RefusedError,
        SlipwayError,
        UnreachableError,
        WaitTimeoutError,
    )
    from slipway.client.logs import Line
    from slipway.client.sync import Client
    from slipway.views.revisions import Revision

__all__ = [
    "AsyncClient",
    "Client",
    "ConflictError",
    "FailedError",
    "ForbiddenError",
    "InvalidInputError",
    "Line",
    "NotFoundError",
    "PausedError",
    "RefusedError",
    "Revision",
    "SlipwayError",
    "Snapshot",
    "UnreachableError",
    "WaitTimeoutError",
]

_MODULES = {
    "AsyncClient": "slipway.client.client",
    "Client": "slipway.client.sync",
    "Line": "slipway.client.logs",
    "Revision": "slipway.views.revisions",
    "Snapshot": "slipway.client.connection",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for: the HTTP library takes a tenth of a second, which not every command needs."""
    if name in __all__:
        return getattr(import_module(_MODULES.get(name, "slipway.client.errors")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
