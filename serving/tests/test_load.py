"""Open-loop load on a real process: requests come at their own pace, and every one of them is accounted for.

Each test is bounded in requests and in time, and sends to the loopback interface only.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from processes import INFER, TENSOR, Process, in_flight, ready, until

SLOW = """
    import time

    class Model:
        def predict(self, inputs):
            time.sleep(0.25)
            return inputs
"""
NUMBERED = """
class Model:
    inputs = [{"name": "x", "datatype": "INT64", "shape": [-1]}]
    outputs = [{"name": "y", "datatype": "INT64", "shape": [-1]}]

    def predict(self, inputs):
        return inputs["x"] * 0 + %d
"""
PID = """
import os, time

class Model:
    inputs = [{"name": "x", "datatype": "INT64", "shape": [-1]}]
    outputs = [{"name": "y", "datatype": "INT64", "shape": [-1]}]

    def predict(self, inputs):
        time.sleep(0.002)
        return inputs["x"] * 0 + os.getpid()
"""
LOOP = """
import sys

class Model:
    inputs = [{"name": "x", "datatype": "INT64", "shape": [-1]}]
    outputs = [{"name": "y", "datatype": "BOOL", "shape": [-1]}]

    def predict(self, inputs):
        return inputs["x"] != 0 if "uvloop" in sys.modules else inputs["x"] == 0
"""
INTERVAL = 0.004


class Load:
    """Sends a request every `INTERVAL` whatever becomes of those before, and keeps what became of each."""

    def __init__(self, client: httpx2.AsyncClient):
        self.client = client
        self.sent: list[asyncio.Task[httpx2.Response]] = []
        self._going = True

    async def run(self, most: int = 5000) -> None:
        clock = asyncio.get_running_loop().time
        begin = clock()
        for number in itertools.count():
            if not self._going or number == most:
                return
            await asyncio.sleep(max(0.0, begin + number * INTERVAL - clock()))
            self.sent.append(asyncio.create_task(self.client.post(INFER, json=TENSOR | {"id": str(number)})))

    def stop(self) -> None:
        self._going = False

    async def outcomes(self) -> list[httpx2.Response | BaseException]:
        return await asyncio.gather(*self.sent, return_exceptions=True)


@asynccontextmanager
async def load_on(process: Process) -> AsyncIterator[Load]:
    limits = httpx2.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{process.port}", timeout=60, limits=limits) as client:
        load = Load(client)
        running = asyncio.create_task(load.run())
        yield load
        load.stop()
        await running
        await load.outcomes()


def counted(outcomes: list[httpx2.Response | BaseException]) -> Counter[object]:
    return Counter(each.status_code if isinstance(each, httpx2.Response) else repr(each) for each in outcomes)


async def test_sigterm_with_sixteen_slow_requests_in_flight_answers_all(start, python_model):
    process = start(python_model(SLOW, "instances: 4"), "--drain-window", "500ms")
    async with ready(process) as client:
        flying = [asyncio.create_task(client.post(INFER, json=TENSOR | {"id": str(index)})) for index in range(16)]

        async def all_arrived():
            return await in_flight(client) == 16

        await until(all_arrived)
        process.popen.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*flying)
    assert [answer.status_code for answer in answers] == [200] * 16
    assert process.end()[0] == 0


async def test_a_model_is_changed_under_load_and_nobody_notices(start, tmp_path):
    directory = tmp_path / "echo"
    directory.mkdir()
    write(directory, 1)
    process = start(directory, "--model-control-mode", "poll", "--poll-interval", "50ms", "--drain-window", "0")
    async with ready(process), load_on(process) as load:
        for number in (2, 3):
            write(directory, number)
            await until(answers_with(load, number))
        (directory / "model.py").write_text("raise RuntimeError('broken')")
        before = len(load.sent)
        await until(sent_more(load, before + 100))
        load.stop()
        outcomes = await load.outcomes()
    assert counted(outcomes) == {200: len(outcomes)}
    seen = [answer.json()["outputs"][0]["data"][0] for answer in outcomes]
    assert set(seen) == {1, 2, 3}
    assert seen[-1] == 3
    process.popen.send_signal(signal.SIGTERM)
    code, _, err = process.end()
    assert code == 0
    assert "does not load; the old one goes on" in err


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_sigterm_under_load_drops_nothing_on_either_loop(start, python_model, tmp_path, loop):
    environment = {}
    if loop == "asyncio":
        (tmp_path / "without" / "uvloop").mkdir(parents=True)
        (tmp_path / "without" / "uvloop" / "__init__.py").write_text("raise ModuleNotFoundError('uvloop')")
        environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "without"), *sys.path])
    process = start(python_model(LOOP), "--drain-window", "4s", environment=environment)
    async with ready(process), load_on(process) as load:
        await until(sent_more(load, 100))
        process.popen.send_signal(signal.SIGTERM)
        await until(sent_more(load, len(load.sent) + 100))
        load.stop()
        outcomes = await load.outcomes()
    assert counted(outcomes) == {200: len(outcomes)}
    assert {answer.json()["outputs"][0]["data"][0] for answer in outcomes} == {loop == "uvloop"}
    assert process.end()[0] == 0


async def test_a_killed_worker_takes_only_what_it_held_and_that_is_a_clean_503(start, python_model):
    process = start(python_model(PID, "execution: process\ninstances: 2"), "--drain-window", "0")
    async with ready(process), load_on(process) as load:
        for _ in range(3):
            await until(sent_more(load, len(load.sent) + 50))
            os.kill(children(process.popen.pid)[0], signal.SIGKILL)
        await until(answered_by(load, 3))
        load.stop()
        outcomes = await load.outcomes()
    lost = [each for each in outcomes if each.status_code != 200]
    assert len(lost) <= 3
    assert {(each.status_code, "ended" in each.json()["error"]) for each in lost} <= {(503, True)}
    process.popen.send_signal(signal.SIGTERM)
    assert process.end()[0] == 0


def children(parent: int) -> list[int]:
    """Processes that any thread of a process has started, and that live."""
    lists = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(pid) for each in lists for pid in each.read_text().split()]


def write(directory: Path, number: int) -> None:
    new = directory / "model.new"
    new.write_text(NUMBERED % number)
    new.replace(directory / "model.py")


def answers_with(load: Load, number: int) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        done = [task for task in load.sent[-200:] if task.done() and not task.exception()]
        return any(task.result().json()["outputs"][0]["data"][0] == number for task in done)

    return condition


def answered_by(load: Load, count: int) -> Callable[[], Awaitable[bool]]:
    """So many workers have answered: at least one of them is a new one."""

    async def condition() -> bool:
        done = [task.result() for task in load.sent if task.done() and not task.exception()]
        return len({each.json()["outputs"][0]["data"][0] for each in done if each.status_code == 200}) >= count

    return condition


def sent_more(load: Load, count: int) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return len(load.sent) >= count

    return condition
