"""What the controller toolkit costs, beside kopf: CPU of an event, of a start, and memory of a cache.

    python benchmarks/kit.py [OBJECTS] [ROUNDS]

OBJECTS (default 5000) are Pods of about 5 kB that an API server in a process of its own has; each is listed, given to a
reconcile that does nothing, changed once and given to it again: as fast as they are taken (`event_cpu_us`), and one a
millisecond (`paced_event_cpu_us`), where each also costs a turn of the event loop and a read. For memory there are
twice as many, cached with a projection; kopf, which has no cache, fills a dictionary (its `index` was given up: 3 CPU
seconds for 1 000 objects, not done after 11 minutes for 10 000). Figures are CPU time and resident memory of the peer's
own process, medians of ROUNDS (default 5). A busy machine makes the same work dearer: the least disturbed round of each
figure is told beside (`least`). kopf is installed, pinned, into a virtual environment that is thrown away.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from provenance import keep

HERE = Path(__file__).parent
KOPF = "kopf==1.45.2"
BOUNDS = {"event_cpu_us": 150.0, "start_cpu_s_per_5000": 1.5, "cache_mb_per_10000": 40.0}
PACE = 0.001  # seconds between two changes
PATIENCE = 1800.0  # seconds

Measured = dict[str, float]


def install_kopf(directory: Path) -> tuple[Path, list[str]]:
    """A Python that has kopf, and the versions of all that came with it."""
    venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", KOPF], check=True)
    listed = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout
    return python, listed.split()


@contextmanager
def server(objects: int) -> Iterator[int]:
    """The API server; its port."""
    command = [sys.executable, HERE / "kit_server.py", str(objects)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def run(python: Path, peer: str, mode: str, objects: int, pause: float = 0.0) -> dict[str, Any]:
    """The marks of one run of a peer."""
    with server(objects) as port:
        command = [python, HERE / f"kit_peer_{peer}.py", mode, str(port), str(objects), str(objects), str(pause)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
    marks: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return marks


def measure(python: Path, peer: str, objects: int) -> Measured:
    """One round: events and start with `objects`, memory with twice as many."""
    events = run(python, peer, "events", objects)
    paced = run(python, peer, "events", objects, PACE)
    cache = run(python, peer, "cache", 2 * objects)
    start = events["listed"]["cpu_s"] - events["started"]["cpu_s"]
    memory = cache["listed"]["rss_mb"] - cache["started"]["rss_mb"]
    return {
        "event_cpu_us": event_cpu(events, objects),
        "paced_event_cpu_us": event_cpu(paced, objects),
        "start_cpu_s_per_5000": round(start * 5000 / objects, 3),
        "cache_mb_per_10000": round(memory * 5000 / objects, 1),
    }


def event_cpu(marks: dict[str, Any], objects: int) -> float:
    """Microseconds of CPU time that one change took."""
    return round((marks["changed"]["cpu_s"] - marks["quiet"]["cpu_s"]) / objects * 1e6, 1)


def summary(rounds: dict[str, list[Measured]]) -> dict[str, Any]:
    """Of each figure its median, what that is of the bound, and the least; and the ratio of the peers' medians."""
    ours, kopf = (_each(statistics.median, rounds[peer]) for peer in ("slipway", "kopf"))
    return {
        "slipway": ours,
        "kopf": kopf,
        "kopf_over_slipway": {name: round(kopf[name] / ours[name], 1) for name in ours},
        "bounds": BOUNDS,
        "of_the_bound": {name: round(ours[name] / bound, 2) for name, bound in BOUNDS.items()},
        "least": {peer: _each(min, measured) for peer, measured in rounds.items()},
    }


def _each(statistic: Callable[[list[float]], float], rounds: list[Measured]) -> Measured:
    return {name: statistic([values[name] for values in rounds]) for name in rounds[0]}


def main() -> None:
    objects = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 5  # noqa: PLR2004  # the second argument
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as directory:
        theirs, versions = install_kopf(Path(directory))
        rounds: dict[str, list[Measured]] = {"slipway": [], "kopf": []}
        for _ in range(count):  # by turns, so that both see the same machine
            rounds["slipway"].append(measure(Path(sys.executable), "slipway", objects))
            rounds["kopf"].append(measure(theirs, "kopf", objects))
    figures = {"objects": objects, **summary(rounds), "rounds": rounds, "versions": versions}
    keep("kit", figures)


if __name__ == "__main__":
    main()
