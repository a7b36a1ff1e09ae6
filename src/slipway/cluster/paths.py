"""Where state and caches live."""

from __future__ import annotations

import os
from pathlib import Path


def _directory(variable: str, base_variable: str, base: str) -> Path:
    if chosen := os.environ.get(variable):
        return Path(chosen).absolute()
    return Path(os.environ.get(base_variable) or Path.home() / base).absolute() / "slipway"


def home() -> Path:
    """Clusters and settings: `$SLIPWAY_HOME`, else `slipway` in the user's data directory."""
    return _directory("SLIPWAY_HOME", "XDG_DATA_HOME", ".local/share")


def cache() -> Path:
    """What can be made again: `$SLIPWAY_CACHE`, else `slipway` in the user's cache directory."""
    return _directory("SLIPWAY_CACHE", "XDG_CACHE_HOME", ".cache")


def clusters() -> Path:
    """One directory a cluster."""
    return home() / "clusters"


def resource(name: str) -> Path:
    """A directory that comes with the platform (`node`, `helm/slipway`, …): of the checkout, else of the wheel."""
    root = Path(__file__).resolve().parents[3]
    return root / name if (root / "node" / "go.mod").is_file() else Path(__file__).resolve().parents[1] / "_data" / name
