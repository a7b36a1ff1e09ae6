"""Virtual environments: one a peer, made from its pinned list, and what a bare install of each weighs.

    python serving/benchmarks/install.py [PEER …]

They are kept in the user's cache and made anew when their list changes (Slipway's: when its sources do).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SERVING = HERE.parent
LISTS = HERE / "peers"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "slipway" / "serving-peers"
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Distribution:
    """A server to install: `bare` is what its documentation says, `whole` also brings what the models here need."""

    name: str
    bare: tuple[str, ...]
    whole: tuple[str, ...]
    constraints: Path | None = None


def _peer(name: str, *bare: str) -> Distribution:
    pinned = LISTS / f"{name}.txt"
    return Distribution(name, bare, ("-r", str(pinned)), pinned)


DISTRIBUTIONS = {
    each.name: each
    for each in (
        Distribution("slipway", (str(SERVING),), (f"{SERVING}[onnx,sklearn]",), LISTS / "models.in"),
        _peer("kserve", "kserve"),
        _peer("mlserver", "mlserver"),
        _peer("litserve", "litserve"),
        _peer("bentoml", "bentoml"),
        Distribution("tools", (), ("-r", str(LISTS / "tools.txt"))),
    )
}


def python(name: str) -> Path:
    """The interpreter that has a distribution."""
    return CACHE / name / "bin" / "python"


def record(name: str) -> dict[str, Any]:
    """What was found out while it was installed: `bare_mib`, `bare_distributions`, `whole_mib`, …, `versions`."""
    document: dict[str, Any] = json.loads((CACHE / name / "record.json").read_text(encoding="utf-8"))
    return document


def ensure(names: Iterable[str]) -> None:
    """Installs what is missing or out of date."""
    for name in names:
        distribution = DISTRIBUTIONS[name]
        stamp = _stamp(distribution)
        try:
            current = record(name)["stamp"] == stamp
        except (OSError, ValueError, KeyError):
            current = False
        if not current:
            print(f"installing {name} into {CACHE / name} …", file=sys.stderr, flush=True)
            _install(distribution, stamp)


def _install(distribution: Distribution, stamp: str) -> None:
    directory = CACHE / distribution.name
    shutil.rmtree(directory, ignore_errors=True)
    venv.create(directory, with_pip=True)
    found: dict[str, Any] = {"stamp": stamp}
    if distribution.bare:
        _pip(distribution, "install", "--quiet", *distribution.bare)
        found |= _weight(distribution, "bare")
    _pip(distribution, "install", "--quiet", *distribution.whole)
    _pip(distribution, "check")
    found |= _weight(distribution, "whole")
    found["versions"] = _pip(distribution, "list", "--format=freeze").split()
    (directory / "record.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _pip(distribution: Distribution, command: str, *words: str) -> str:
    """Runs pip. Nothing of the caller's own Python may be taken for installed."""
    constraints = ["--constraint", str(distribution.constraints)] if distribution.constraints else []
    pip = [python(distribution.name), "-m", "pip", "--disable-pip-version-check", command]
    if command == "install":
        pip += constraints
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run([*pip, *words], env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{distribution.name} could not be installed; pip's own words are above\n{done.stdout}")
    return done.stdout


def _weight(distribution: Distribution, state: str) -> dict[str, float]:
    """Of the whole environment, pip and setuptools counted; sizes are of blocks on disk."""
    size = sum(path.lstat().st_blocks * 512 for path in (CACHE / distribution.name).rglob("*"))
    listed = _pip(distribution, "list", "--format=freeze").split()
    return {f"{state}_mib": round(size / MIB, 1), f"{state}_distributions": len(listed)}


def _stamp(distribution: Distribution) -> str:
    """Changes when what would be installed does."""
    digest = hashlib.sha256(f"{sys.version} {distribution.bare} {distribution.whole}".encode())
    files = [distribution.constraints or Path(distribution.whole[-1])]
    if distribution.name == "slipway":
        sources = (SERVING / "src").rglob("*")
        files += [SERVING / "pyproject.toml", *sorted(path for path in sources if path.suffix in (".py", ".html"))]
    for path in files:
        digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    chosen = sys.argv[1:] or list(DISTRIBUTIONS)
    unknown = [name for name in chosen if name not in DISTRIBUTIONS]
    if unknown:
        raise SystemExit(f"no peer is called {', '.join(unknown)}; there are {', '.join(DISTRIBUTIONS)}")
    ensure(chosen)
    for name in chosen:
        print(name, {key: value for key, value in record(name).items() if key.endswith(("_mib", "_distributions"))})
