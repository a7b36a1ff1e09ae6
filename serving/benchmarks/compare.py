"""slipway-serve beside KServe, MLServer, LitServe and BentoML: one run, one result.

    python serving/benchmarks/compare.py [--peers NAME,…] [--cases TEXT,…] [--rounds N] [--seconds N] [--quick]

README.md beside this file says what is measured, how, and what to know before believing it. Only a whole run (every
peer, every case, at least three rounds) replaces `results/peers.json`; anything less just prints.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import install
from cases import CASES, Case
from contenders import CONTENDERS, MODELS, V2, Contender, Place, distributions, environment
from figures import Figures
from load import GRPC_PATH, LoadError, Measurement, Request, measure, missing_programs
from processes import LOAD_CORE, SERVER_CORE, Tree, started
from report import keep, show

ROUNDS = 3
SECONDS = 4
STRANGERS_LIMIT = 0.3
"""Cores that others may keep busy before a run counts as disturbed."""
REPEATS = 2
_PATIENCE = 90.0
_TOLERANCE = 1e-3
_OVERHEAD = 1.6
"""Seconds that a run takes besides its own: warm-up and programs that start."""
_START = 12.0
"""Seconds that a server takes to start, to be checked and to stop; the slow ones."""
SETUPS = ("plain", "batching", "onnx")


@dataclass(slots=True)
class Bench:
    """One run of this program."""

    contenders: Sequence[Contender]
    cases: Sequence[Case]
    seconds: float
    directory: Path
    expected: dict[str, list[float]] = field(default_factory=dict)
    repeats: int = REPEATS
    figures: Figures = field(default_factory=lambda: Figures(STRANGERS_LIMIT))

    def prepare(self) -> None:
        program = [str(install.python("tools")), str(Path(__file__).parent / "models.py"), str(self.directory)]
        subprocess.run(program, check=True)
        self.expected = json.loads((self.directory / "requests" / "expected.json").read_text())

    def plan(self) -> list[tuple[str, Contender, list[Case]]]:
        """The starts of servers in one round; peers alternate within each setup."""
        starts = []
        for setup in SETUPS:
            for contender in self.contenders:
                cases = [case for case in self.cases if _fits(setup, contender, case)]
                if cases or setup != "batching":
                    starts.append((setup, contender, cases))
        return starts

    def round(self, number: int) -> None:
        """Every second round is in the opposite order, so that what drifts hits nobody more."""
        plan = self.plan()
        for setup, contender, cases in plan if number % 2 == 0 else reversed(plan):
            try:
                self._serve(setup, contender, cases)
            except LoadError as error:
                self.figures.failed(f"{contender.name}, {setup}", str(error))

    def _serve(self, setup: str, contender: Contender, cases: Sequence[Case]) -> None:
        with tempfile.TemporaryDirectory(dir=self.directory, prefix="server-") as work:
            place = self._place(setup, Path(work))
            command = contender.prepare(place)
            begun = time.monotonic()
            log = self.directory / f"{contender.name}-{setup}.log"
            with started(command, environment(place, contender.distribution), place.work, log) as tree:
                self._prediction(tree, contender, place, MODELS[0])
                start = {"start_s": time.monotonic() - begun}
                for model in MODELS:
                    self._prediction(tree, contender, place, model)
                start |= {"all_models_s": time.monotonic() - begun, "pss_mib": tree.pss_mib()}
                self.figures.footprint(contender.name, setup, start | {"processes": len(tree.members())})
                for case in cases:
                    self._run(tree, contender, place, case)

    def _place(self, setup: str, work: Path) -> Place:
        models = self.directory / ("onnx" if setup == "onnx" else "mixed")
        return Place(models, work, *free_ports(3), batching=setup == "batching")

    def _run(self, tree: Tree, contender: Contender, place: Place, case: Case) -> None:
        say(f"    {contender.name:20} {case.name}")
        try:
            request = self._request(contender, place, case)
            self.figures.measured(case.name, contender.name, self._undisturbed(tree, request, case.concurrency))
        except LoadError as error:
            self.figures.failed(f"{contender.name}, {case.name}", f"{error}\n{tree.tail()}")

    def _undisturbed(self, tree: Tree, request: Request, concurrency: int) -> Measurement:
        """A run during which nobody else computed much; after some attempts, the least disturbed one."""
        attempts: list[Measurement] = []
        while len(attempts) <= self.repeats:
            attempts.append(measure(tree, request, concurrency, self.seconds))
            if attempts[-1].strangers_share <= STRANGERS_LIMIT:
                break
            say(f"      disturbed: others kept {attempts[-1].strangers_share:.2f} cores busy")
        return min(attempts, key=lambda each: each.strangers_share)

    def _request(self, contender: Contender, place: Place, case: Case) -> Request:
        """What a case sends, after one such request was answered rightly."""
        requests = self.directory / "requests"
        base = f"http://127.0.0.1:{place.http_port}{contender.path(case.model)}"
        if case.protocol == "json":
            body = requests / f"{case.model}.{contender.rest}.json"
            return Request(base, body, (("Content-Type", "application/json"),))
        if case.protocol == "binary":
            length = (requests / "header.txt").read_text()
            headers = (("Content-Type", "application/octet-stream"), ("Inference-Header-Content-Length", length))
            request = Request(base, requests / "sum.binary", headers)
            compare(answer(request, contender), self.expected["sum"], f"{contender.name}: {case.name}")
            return request
        return self._grpc_request(contender, place, case)

    def _grpc_request(self, contender: Contender, place: Place, case: Case) -> Request:
        frame = self.directory / "requests" / "sum.grpc"
        address = f"127.0.0.1:{place.grpc_port}"
        program = [str(install.python("tools")), str(install.LISTS / "grpc_check.py"), address, str(frame)]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LoadError(f"gRPC does not answer: {done.stderr.strip()[-300:]}")
        found = json.loads(done.stdout)
        compare(found["values"], self.expected["sum"], f"{contender.name}: {case.name}")
        return Request(f"http://{address}{GRPC_PATH}", frame, grpc=True, answer_bytes=found["bytes"])

    def _check(self, contender: Contender, place: Place, model: str) -> None:
        request = self._request(contender, place, Case(model, "json", 1))
        compare(answer(request, contender), self.expected[model], f"{contender.name}: {model}")

    def _prediction(self, tree: Tree, contender: Contender, place: Place, model: str) -> None:
        """Waits until a model is answered rightly. Raises LoadError where the server ends or takes too long."""
        deadline = time.monotonic() + _PATIENCE
        last = "nothing listens"
        while time.monotonic() < deadline:
            if not tree.members():
                raise LoadError(f"the server ended by itself:\n{tree.tail()}")
            try:
                self._check(contender, place, model)
            except (LoadError, OSError) as error:
                last = str(error)
                time.sleep(0.01)
            else:
                return
        raise LoadError(f"no prediction of {model} within {_PATIENCE:.0f} s ({last}):\n{tree.tail()}")


def _fits(setup: str, contender: Contender, case: Case) -> bool:
    if setup == "onnx" or case.batching != (setup == "batching"):
        return False
    return case.protocol in contender.protocols and (contender.batches or not case.batching)


def answer(request: Request, contender: Contender) -> list[float]:
    """The values of one answer. Raises LoadError for any other status than 200."""
    address, _, path = request.url.removeprefix("http://").partition("/")
    connection = HTTPConnection(address, timeout=_PATIENCE)
    try:
        connection.request("POST", f"/{path}", request.body.read_bytes(), dict(request.headers))
        response = connection.getresponse()
        body = response.read()
    except HTTPException as error:
        raise LoadError(f"no answer in HTTP: {error!r}") from None
    finally:
        connection.close()
    if response.status != 200:  # noqa: PLR2004  # OK
        raise LoadError(f"{request.url} answered {response.status}: {body[:300]!r}")
    try:
        document = json.loads(body)
        return flat(document["outputs"][0]["data"] if contender.rest == V2 else document)
    except (ValueError, LookupError, TypeError):
        raise LoadError(f"{request.url} answered what is no prediction: {body[:300]!r}") from None


def flat(value: Any) -> list[float]:
    """Nested lists of numbers as one list."""
    if not isinstance(value, list):
        return [float(value)]
    return [number for item in value for number in flat(item)]


def compare(found: list[float], expected: list[float], where: str) -> None:
    """Raises LoadError where a server predicts something else than the model."""
    close = [math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) for a, b in zip(found, expected, strict=False)]
    if len(found) != len(expected) or not all(close):
        raise LoadError(f"{where} predicts {found[:5]}, the model itself {expected[:5]}")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(text, file=sys.stderr, flush=True)


def chosen(text: str, known: Collection[str], what: str) -> list[str]:
    """Names out of a list with commas; a word that is none stands for all that contain it."""
    found: set[str] = set()
    for word in text.split(","):
        names = {word} & set(known) or {name for name in known if word.strip() and word.strip() in name}
        if not names:
            raise SystemExit(f"no {what} is called {word!r}; there are: {'; '.join(known)}")
        found |= names
    return [name for name in known if name in found]


def arguments() -> argparse.Namespace:
    text = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(description=text[0], epilog=text[-1], allow_abbrev=False)
    parser.add_argument("--peers", default=",".join(CONTENDERS), metavar="NAME,…", help="servers (default: all)")
    parser.add_argument("--cases", default=",".join(CASES), metavar="TEXT,…", help="cases that contain a text")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default: {ROUNDS}")
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"of each run; default: {SECONDS}")
    parser.add_argument("--quick", action="store_true", help="one round of 2 s a case: does everything work?")
    parser.add_argument("--output", type=Path, help="write the result there instead of results/peers.json")
    parser.add_argument("--list", action="store_true", help="print the peers and cases, and do nothing")
    return parser.parse_args()


def pin() -> None:
    """Keeps this program, and what it starts but the servers, on the core of the load."""
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit(f"this needs the cores {SERVER_CORE} and {LOAD_CORE}; it may use {os.sched_getaffinity(0)}")
    os.sched_setaffinity(0, {LOAD_CORE})


def estimate(bench: Bench, rounds: int) -> str:
    starts = bench.plan()
    runs = sum(len(cases) for _, _, cases in starts)
    minutes = rounds * (runs * (bench.seconds + _OVERHEAD) + len(starts) * _START / 2) / 60
    return f"{rounds} rounds of {len(starts)} starts and {runs} runs: about {minutes:.0f} min"


def main() -> None:
    options = arguments()
    if options.list:
        print("peers:", *CONTENDERS, sep="\n  ")
        print("cases:", *CASES, sep="\n  ")
        return
    if problems := missing_programs():
        raise SystemExit("\n".join(problems))
    rounds, seconds, repeats = (1, 2, 0) if options.quick else (options.rounds, options.seconds, REPEATS)
    contenders = [CONTENDERS[name] for name in chosen(options.peers, CONTENDERS, "peer")]
    cases = [CASES[name] for name in chosen(options.cases, CASES, "case")]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM"))
    install.ensure(distributions(contenders))
    pin()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as directory:
        bench = Bench(contenders, cases, seconds, Path(directory), repeats=repeats)
        say(estimate(bench, rounds))
        bench.prepare()
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            bench.round(number)
    bench.figures.installs({each: install.record(each) for each in distributions(contenders) if each != "tools"})
    bench.figures.settings = {"rounds": rounds, "seconds": seconds, "strangers_limit": STRANGERS_LIMIT}
    show(bench.figures)
    whole = len(contenders) == len(CONTENDERS) and len(cases) == len(CASES) and rounds >= ROUNDS
    if options.output or whole:
        keep(bench.figures, options.output)
    else:
        say("not a whole run: nothing is written (--output FILE writes it)")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped by Ctrl-C; every server that was started has ended")
