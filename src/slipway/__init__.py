"""Slipway: models on Kubernetes. `Client` and `AsyncClient` are its Python client, see docs/client.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slipway.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    """Imports the client when it is asked for, so that importing the package costs nothing."""
    if name in __all__:
        from slipway import client  # noqa: PLC0415  # that is the point

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
