"""Where state and caches live."""

from __future__ import annotations

from pathlib import Path

from slipway.client.home import clusters, directory, home

__all__ = ["cache", "clusters", "home", "resource"]


def cache() -> Path:
    """What can be made again: `$SLIPWAY_CACHE`, else `slipway` in the user's cache directory."""
    return directory("SLIPWAY_CACHE", "XDG_CACHE_HOME", ".cache")


def resource(name: str) -> Path:
    """A directory that comes with the platform (`node`, `helm/slipway`, …): of the checkout, else of the wheel."""
    root = Path(__file__).resolve().parents[3]
    return root / name if (root / "node" / "go.mod").is_file() else Path(__file__).resolve().parents[1] / "_data" / name
