"""How long liveness takes while models compute: a quarter of a second a call, four calls at a time, for some seconds.

python serving/benchmarks/liveness.py [--seconds 10]      (in an environment that has slipway-serving)

`python` holds the interpreter's lock all the time, as pure Python does, once in a thread and once in a worker process;
`numpy` lets go of it. One core for the server, another for this program, where the machine has two.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BOUND_MS = 50.0
MODELS = {
    "python in a thread": ("", "while time.perf_counter() < end: sum(range(1000))"),
    "python in a process": ("execution: process", "while time.perf_counter() < end: sum(range(1000))"),
    "numpy in a thread": ("", "while time.perf_counter() < end: a @ a"),
}
CODE = """
import time
import numpy
a = numpy.ones((400, 400))

class Model:
    inputs = [{{"name": "x", "datatype": "INT64", "shape": [-1]}}]
    outputs = [{{"name": "y", "datatype": "INT64", "shape": [-1]}}]

    def predict(self, inputs):
        end = time.perf_counter() + 0.25
        {work}
        return inputs["x"]
"""
REQUEST = json.dumps({"inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": [1]}]})


def ask(port: int, method: str, path: str, body: str | None = None) -> float:
    """Milliseconds of one request on a connection of its own, as a kubelet's probe is. Raises where it is refused."""
    begun = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise SystemExit(f"{method} {path} was answered with {answer.status}")
    return (time.perf_counter() - begun) * 1000


def ready(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            ask(port, "GET", "/v2/health/ready")
        except (OSError, SystemExit):
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the server ended; its own words are above")


def probes(port: int, seconds: float) -> list[float]:
    """Liveness every 20 ms while four clients keep the model busy."""
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            ask(port, "POST", "/v2/models/busy/infer", REQUEST)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    time.sleep(0.5)
    end = time.perf_counter() + seconds
    taken = []
    while time.perf_counter() < end:
        taken.append(ask(port, "GET", "/v2/health/live"))
        time.sleep(0.02)
    stop.set()
    for each in clients:
        each.join()
    return sorted(taken)


def measure(settings: str, work: str, seconds: float, port: int) -> list[float]:
    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory) / "busy"
        model.mkdir()
        (model / "model.py").write_text(CODE.format(work=work), encoding="utf-8")
        (model / "model.yaml").write_text(settings, encoding="utf-8")
        options = ["--host", "127.0.0.1", "--http-port", str(port), "--grpc-port", "off", "--drain-window", "0s"]
        command = [sys.executable, "-m", "slipway_serving", str(model), *options]
        with subprocess.Popen(command, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}) as process:
            try:
                os.sched_setaffinity(process.pid, {0})
                ready(port, process)
                return probes(port, seconds)
            finally:
                process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=10, help="for each model (default: 10)")
    parser.add_argument("--port", type=int, default=18480, help="on the loopback interface (default: 18480)")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for name, (settings, work) in MODELS.items():
        taken = measure(settings, work, options.seconds, options.port)
        late = sum(each > BOUND_MS for each in taken)
        print(
            f"{name}: {len(taken)} probes, median {statistics.median(taken):.1f} ms, "
            f"p99 {taken[int(0.99 * len(taken))]:.1f} ms, longest {taken[-1]:.1f} ms, {late} above {BOUND_MS:.0f} ms"
        )


if __name__ == "__main__":
    main()
