"""How long a local cluster takes, phase by phase, on a machine that has its programs and images.

    python benchmarks/local_cluster.py [ROUNDS]

Prints medians of ROUNDS (default 3) beside the figures that we hold ourselves to.
"""

from __future__ import annotations

import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from provenance import keep

from slipway.cluster import binaries, cgroups, lifecycle
from slipway.progress import LineProgress

QUIET = LineProgress(io.StringIO())
BOUNDS = {
    "create_to_ready_s": 6.0,
    "create_to_first_pod_s": 12.0,
    "platform_and_model_s": 40.0,
    "delete_s": 2.0,
    "idle_memory_mib": 1500.0,
}
NAME = "bench"
PAUSE = "registry.slipway-system.svc:5000/slipway/pause:1"


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall clock."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def kubectl(*words: str) -> str:
    """Against the cluster of this benchmark."""
    program = binaries.directory(QUIET) / "kubectl"
    command = [program, f"--kubeconfig={lifecycle.find(NAME).kubeconfig}", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def first_pod() -> None:
    """From a cluster that is Ready to a pod that runs."""
    while "default" not in kubectl("get", "serviceaccounts", "-o", "name"):
        time.sleep(0.1)
    kubectl("run", "first", f"--image={PAUSE}", "--restart=Never")
    kubectl("wait", "--for=condition=Ready", "pod/first", "--timeout=60s")


def slipway(*words: str) -> None:
    """Runs the command as a person does."""
    subprocess.run(
        [sys.executable, "-m", "slipway", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def platform_and_model(model: Path) -> None:
    """The platform installed, a model deployed, and an answer through the gateway."""
    slipway("up", "--name", NAME)
    slipway("deploy", "iris", str(model))
    slipway("predict", "iris", "--via", "gateway")


def memory() -> float:
    """Resident memory of everything in the node, shared pages once, in MiB: proportional set sizes of its processes."""
    total = 0
    for pid in cgroups.processes(lifecycle.find(NAME).layout.control_plane.cgroup):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def one_round(model: Path) -> dict[str, float]:
    """A cluster from nothing to a model and away again."""
    ready = timed(lambda: lifecycle.create(NAME, 1, QUIET))
    pod = timed(first_pod)
    answering = timed(lambda: platform_and_model(model))
    time.sleep(30)
    idle = memory()
    gone = timed(lambda: lifecycle.delete(NAME, QUIET))
    values = (ready, ready + pod, answering, gone, idle)
    return dict(zip(BOUNDS, [round(value, 2) for value in values], strict=True))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    home = tempfile.mkdtemp(prefix="slipway-bench-", dir=Path.home())
    os.environ["SLIPWAY_HOME"] = home
    model = Path(home) / "iris"
    model.mkdir()
    train = Path(__file__).parents[1] / "examples" / "iris" / "train.py"
    subprocess.run([sys.executable, train, model], check=True, capture_output=True)
    binaries.directory(QUIET)
    measured = [one_round(model) for _ in range(rounds)]
    shutil.rmtree(home)
    medians = {name: statistics.median(values[name] for values in measured) for name in BOUNDS}
    ratios = {name: round(medians[name] / bound, 2) for name, bound in BOUNDS.items()}
    keep("local_cluster", {"medians": medians, "bounds": BOUNDS, "of_the_bound": ratios, "rounds": measured})


if __name__ == "__main__":
    main()
