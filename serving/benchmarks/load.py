"""Load: wrk for REST, h2load for gRPC, both with one thread on the core of the load."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from processes import LOAD_CORE, Meter, Tree, Usage

HERE = Path(__file__).parent
PROGRAMS = {"wrk": "wrk", "h2load": "nghttp2-client", "taskset": "util-linux"}
"""Program and Debian's package."""
GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"
PATIENCE = 60
"""Seconds that an answer may take."""
_WARM_UP = 1.0
_TURNS = 10
_LONGEST = 15.0
"""A run is made longer, up to this, until each connection has had so many answers."""
_SETTLING = 50


class LoadError(Exception):
    """A server that answered wrongly, or a load generator that did not run."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: a file, to a URL; `answer_bytes` of an answer's message, gRPC only, tell good from bad ones."""

    url: str
    body: Path
    headers: tuple[tuple[str, str], ...] = ()
    grpc: bool = False
    answer_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run. Latencies in milliseconds."""

    requests: int
    rps: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Of the server's tree, for each request."""
    generator_share: float
    """Of its core; near 1 the load generator was the limit."""
    strangers_share: float
    """Cores that others kept busy."""


@dataclass(frozen=True, slots=True)
class _Result:
    """What a load generator says of one run."""

    count: int
    seconds: float
    p50_ms: float
    p99_ms: float


def missing_programs() -> list[str]:
    """Sentences about what has to be installed first."""
    absent = {program: package for program, package in PROGRAMS.items() if not shutil.which(program)}
    if not absent:
        return []
    packages = " ".join(sorted(set(absent.values())))
    return [f"{', '.join(absent)} missing; on Debian: apt-get install {packages}"]


def measure(tree: Tree, request: Request, concurrency: int, seconds: float) -> Measurement:
    """A warm-up, then one run. Raises LoadError where any answer was not a good one."""
    run = _h2load if request.grpc else _wrk
    warm = run(request, concurrency, _WARM_UP)
    settle(tree)
    meter = Meter(tree)
    result = run(request, concurrency, _long_enough(warm, concurrency, seconds))
    if not result.count:
        raise LoadError("not one answer came in time")
    return _measurement(result, meter.read())


def _long_enough(warm: _Result, concurrency: int, seconds: float) -> float:
    """What is under way at the end of a run is not counted, which would be unfair to the slow."""
    rate = max(warm.count, 1) / _WARM_UP
    return max(seconds, min(_LONGEST, _TURNS * concurrency / rate))


def settle(tree: Tree) -> None:
    """Waits, not for ever, until a server is done with what a load generator left behind."""
    for _ in range(_SETTLING):
        before = tree.cpu()
        time.sleep(0.1)
        if tree.cpu() - before <= 0.02:  # noqa: PLR2004  # two ticks
            return


def _measurement(result: _Result, usage: Usage) -> Measurement:
    return Measurement(
        requests=result.count,
        rps=round(result.count / result.seconds, 2),
        p50_ms=round(result.p50_ms, 3),
        p99_ms=round(result.p99_ms, 3),
        cpu_us=round(usage.server / result.count * 1e6, 1),
        generator_share=round(usage.generator / usage.wall, 2),
        strangers_share=round(usage.strangers_share, 2),
    )


def _run(command: Sequence[str], seconds: float) -> str:
    pinned = ["taskset", "-c", str(LOAD_CORE), *command]
    try:
        done = subprocess.run(pinned, capture_output=True, text=True, timeout=seconds + 2 * PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise LoadError(f"{command[0]} did not end: the server hangs") from None
    if done.returncode:
        raise LoadError(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def _wrk(request: Request, concurrency: int, seconds: float) -> _Result:
    duration = f"{max(1, round(seconds))}s"
    command = ["wrk", "-t1", f"-c{concurrency}", f"-d{duration}", f"--timeout={PATIENCE}s", "-s", str(HERE / "wrk.lua")]
    headers = [word for header in request.headers for word in header]
    printed = _run([*command, request.url, "--", str(request.body), *headers], seconds)
    found = json.loads(printed.strip().splitlines()[-1])
    if found["refused"] or found["broken"]:
        raise LoadError(
            f"of {found['requests']} answers {found['refused']} had a wrong status; {found['broken']} broke"
        )
    return _Result(found["requests"], found["seconds"], found["p50_ms"], found["p99_ms"])


def _h2load(request: Request, concurrency: int, seconds: float) -> _Result:
    """h2load sees statuses of HTTP only, which gRPC keeps at 200: an answer without a message is known by its size."""
    with tempfile.NamedTemporaryFile(prefix="slipway-bench-h2load-") as log:
        command = ["h2load", "-t1", f"-c{concurrency}", "-m1", f"-D{max(1, round(seconds))}", f"--log-file={log.name}"]
        headers = ["-Hcontent-type: application/grpc", "-Hte: trailers"]
        printed = _run([*command, *headers, f"-d{request.body}", request.url], seconds)
        rows = [row.split() for row in Path(log.name).read_text(encoding="ascii").splitlines()]
    times = sorted(int(row[2]) / 1000 for row in rows if row[1] == "200")
    cut = min(concurrency, sum(row[1] == "-1" for row in rows))  # streams that the end of the run met under way
    bad = len(rows) - len(times) - cut
    received = int(_figure(r"headers \(space savings [^)]*\), [^ ]+ \((\d+)\) data", printed))
    if bad or received < len(times) * request.answer_bytes * 0.99:
        raise LoadError(f"of {len(rows)} answers {bad} failed; {received} bytes of messages came")
    took = float(_figure(r"finished in ([0-9.]+)s", printed))
    return _Result(len(times), took, *((statistics.median(times), times[int(len(times) * 0.99)]) if times else (0, 0)))


def _figure(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if not found:
        raise LoadError(f"h2load printed what this program does not understand: {text[-300:]}")
    return found[1]
