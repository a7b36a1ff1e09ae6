"""How long each phase of `scripts/demo` takes.

    python benchmarks/demo_phases.py cold|warm|second

`cold`: empty home and caches, as on a new machine, those of compilers included. `warm`: the caches of
this machine, no cluster. `second`: the cluster of the first run is there. Run it from a clean clone for `cold`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from provenance import keep

ROOT = Path(__file__).parents[1]


def environment(kind: str, directory: Path) -> dict[str, str]:
    """What a phase of the demo finds of this machine."""
    changed = {"SLIPWAY_PHASES": str(directory / "phases"), "SLIPWAY_HOME": str(directory / "state")}
    if kind == "cold":
        changed |= {
            "HOME": str(directory),
            "XDG_CACHE_HOME": str(directory / "cache"),
            "XDG_DATA_HOME": str(directory / "data"),
        }
        changed |= {"GOCACHE": str(directory / "go-build"), "GOMODCACHE": str(directory / "go-mod")}
    return {**os.environ, **changed}


def phases(file: Path) -> dict[str, float]:
    """What the demo wrote: a line a phase."""
    rows = (line.split("\t") for line in file.read_text(encoding="utf-8").splitlines())
    return {name: float(seconds) for name, seconds in rows}


def main() -> None:
    kind = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="slipway-demo-", dir=Path.home()) as name:
        directory = Path(name)
        surroundings = environment(kind, directory)
        runs = 2 if kind == "second" else 1
        for _ in range(runs):
            started = time.monotonic()
            subprocess.run([ROOT / "scripts" / "demo"], check=True, env=surroundings, stdout=subprocess.DEVNULL)
            total = time.monotonic() - started
        figures = {"phases_s": phases(directory / "phases"), "total_s": round(total, 1)}
        subprocess.run([ROOT / ".venv/bin/slipway", "cluster", "delete", "slipway"], check=True, env=surroundings)
        subprocess.run(["chmod", "-R", "u+w", directory], check=False)  # Go's module cache is read-only
    keep(f"demo_{kind}", figures)


if __name__ == "__main__":
    main()
