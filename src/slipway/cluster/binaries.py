"""Where the local cluster's programs come from: named by hand, a wheel, the cache, official releases, or a build.

The directory has every program under its upstream name (`kube-apiserver`, `etcd`, `containerd`, …) and, in
`charts/gateway-helm`, the chart of Envoy Gateway.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.cluster import build, releases
from slipway.cluster.errors import ClusterError
from slipway.cluster.paths import cache, resource
from slipway.progress import Progress

PROGRAMS = (
    *build.NODE_COMMANDS,
    "containerd",
    "containerd-shim-runc-v2",
    "bridge",
    "host-local",
    "loopback",
    "portmap",
    "registry",
    "envoy-gateway",
    "pause",
)
CHART = "charts/gateway-helm/Chart.yaml"


def directory(progress: Progress) -> Path:
    """The directory of all programs; obtains them first where this machine has none yet.

    Raises `ClusterError` when they can be neither downloaded nor built.
    """
    for place in _installed():
        if complete(place):
            return place
    place = _cached()
    if complete(place):
        return place
    with _only_one(place):
        if not complete(place):
            _obtain(place, progress)
    return place


def complete(place: Path) -> bool:
    """Whether every program is there."""
    return (place / CHART).is_file() and all((place / name).exists() for name in PROGRAMS)


def _installed() -> Iterator[Path]:
    if chosen := os.environ.get("SLIPWAY_NODE_BINARIES"):
        place = Path(chosen).absolute()
        if not complete(place):
            missing = [name for name in (*PROGRAMS, CHART) if not (place / name).exists()]
            raise ClusterError(
                f"SLIPWAY_NODE_BINARIES={chosen} lacks {', '.join(missing)}.", "Unset it, or complete it."
            )
        yield place
    if found := importlib.util.find_spec("slipway_node"):
        for location in found.submodule_search_locations or []:
            yield _linked(Path(location) / "bin")


def _linked(wheel: Path) -> Path:
    """A directory of links into an installed wheel, which has the one binary once and none of its other names."""
    place = cache() / "node" / f"wheel-{hashlib.sha256(str(wheel).encode()).hexdigest()[:16]}"
    place.mkdir(parents=True, exist_ok=True)
    names = {path.name: path for path in wheel.iterdir()}
    names |= dict.fromkeys(build.NODE_COMMANDS, wheel / build.NODE_BINARY)
    for name, target in names.items():
        link = place / name
        if not link.is_symlink() or link.readlink() != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    return place


def _cached() -> Path:
    """A directory that changes with the bill of materials and the recipe, and with nothing else."""
    inputs = hashlib.sha256(repr((build.STEPS, build.LINKER_FLAGS)).encode())
    for name in build.SOURCES:
        inputs.update(resource("node").joinpath(name).read_bytes())
    return cache() / "node" / inputs.hexdigest()[:16]


@contextmanager
def _only_one(place: Path) -> Iterator[None]:
    """Two commands at once obtain the programs once."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f"{place.name}.lock").open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _obtain(place: Path, progress: Progress) -> None:
    """Into a directory beside, which takes the name when it is complete; what an interrupted run had is used again."""
    beside = place.with_suffix(".partial")
    beside.mkdir(exist_ok=True)
    if releases.reachable():
        releases.download(beside, progress)
    else:
        progress.note(
            "The official releases are out of reach: building the cluster's programs from their Go modules, once."
        )
        build.build(beside, progress)
    if not complete(beside):
        missing = [name for name in (*PROGRAMS, CHART) if not (beside / name).exists()]
        raise ClusterError(
            f"After download or build these are missing: {', '.join(missing)}.", f"Delete {beside} and try again."
        )
    shutil.rmtree(place, ignore_errors=True)
    beside.rename(place)
