"""Packs built programs into a platform wheel: `SLIPWAY_NODE_BINARIES=DIRECTORY python -m build --wheel node`.

A wheel has no symbolic links: the one binary that is ten commands goes in once, and Slipway links its other names.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Programs(BuildHookInterface[Any]):
    """Adds every program and chart of the directory, and the tag of the platform that they run on."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version
        source = Path(os.environ["SLIPWAY_NODE_BINARIES"])
        files = (path for path in source.rglob("*") if path.is_file() and not path.is_symlink())
        build_data["force_include"] = {
            str(path): f"slipway_node/bin/{path.relative_to(source)}" for path in sorted(files)
        }
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-manylinux_2_17_x86_64"  # static programs: any C library does
