"""The Python client of the platform: what the command line does, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slipway.client.client import AsyncClient, Snapshot

__all__ = ["AsyncClient", "Snapshot"]


def __getattr__(name: str) -> Any:
    """Imports what is asked for: the HTTP library takes a tenth of a second, which not every command needs."""
    if name in __all__:
        from slipway.client import client  # noqa: PLC0415  # that is the point

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
