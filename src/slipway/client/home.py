"""Where Slipway keeps what it has on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def directory(variable: str, base_variable: str, base: str) -> Path:
    """`$VARIABLE`, else `slipway` in `$BASE_VARIABLE`, else in `base` below the user's home."""
    if chosen := os.environ.get(variable):
        return Path(chosen).absolute()
    return Path(os.environ.get(base_variable) or Path.home() / base).absolute() / "slipway"


def home() -> Path:
    """Clusters, and the cluster in use: `$SLIPWAY_HOME`, else `slipway` in the user's data directory."""
    return directory("SLIPWAY_HOME", "XDG_DATA_HOME", ".local/share")


def clusters() -> Path:
    """One directory a cluster."""
    return home() / "clusters"
