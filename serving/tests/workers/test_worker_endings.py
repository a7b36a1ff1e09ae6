"""How worker processes end, and what everybody else notices of it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from worker_tools import (
    EMPTY,
    HELD,
    PATIENCE,
    SERVER,
    call,
    has_ended,
    only,
    run,
)

from slipway_serving.errors import (
    ModelLoadError,
    UnavailableError,
)
from slipway_serving.metrics import Metrics
from slipway_serving.runtimes.base import Inference
from slipway_serving.workers.supervisor import Backoff, Pool


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        (call("end", signal=9), r"was ended by signal 9 \(SIGKILL\)"),
        (call("end", signal=11), r"was ended by signal 11 \(SIGSEGV\)"),
        (call("leave"), "exited with status 3"),
        (call("garble"), "sent what is no message"),
        (call("cut"), "closed its connection"),
    ],
)
def test_who_has_a_worker_that_ends_is_told_once_and_the_next_call_works(workers, caplog, do, reason):
    caplog.set_level(logging.INFO)
    restarts = []
    runtime = workers(restarted=lambda: restarts.append(1))
    before = only(runtime.infer(call("process")))
    with pytest.raises(UnavailableError, match=f"worker process of model 'echo' {reason} while .* is being restarted"):
        runtime.infer(do)
    after = only(runtime.infer(call("process")))
    assert before != after
    assert restarts == [1]
    assert runtime.healthy
    assert has_ended(before[0])
    assert any(
        record.levelname == "ERROR" and "is started again in 0.1 s" in record.message for record in caplog.records
    )


def test_a_request_that_kills_again_and_again_costs_the_others_only_time_and_is_counted(workers):
    metrics = Metrics()
    runtime = workers(restarted=metrics.for_model("echo").worker_restarted)
    for _ in range(3):
        with pytest.raises(UnavailableError, match="SIGABRT"):
            runtime.infer(call("end", signal=6))
        assert runtime.infer(EMPTY) == {}
    counted = [line for line in metrics.render().decode().splitlines() if "worker_restarts_total{" in line]
    assert [line.split()[-1] for line in counted] == ["3.0"]


def test_a_kill_in_the_middle_is_one_error_and_who_waits_is_answered(held):
    runtime, entered, open_gate = held
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(runtime.infer, Inference({"x": np.array([1])}))
        pid = entered()
        second = threads.submit(runtime.infer, Inference({"x": np.array([2])}))
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(UnavailableError, match="signal 9"):
            first.result(PATIENCE)
        assert entered() != pid
        open_gate()
        assert only(second.result(PATIENCE)) == [2]
    assert not Path(f"/proc/{pid}").exists()


def test_a_worker_that_ends_between_calls_costs_nobody_anything(workers):
    runtime = workers(count=2)
    for _ in range(3):
        (pid,) = only(runtime.infer(call("process")))
        os.kill(pid, signal.SIGKILL)
        assert has_ended(pid)
        assert runtime.infer(EMPTY) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_for_everybody_are_the_servers_to_answer(held, number):
    runtime, entered, open_gate = held
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(runtime.infer, Inference({"x": np.array([1])}))
        pid = entered()
        os.kill(pid, number)
        assert os.getpgid(pid) == pid
        open_gate()
        assert only(answer.result(PATIENCE)) == [1]


def test_what_a_worker_has_started_ends_with_it(workers):
    runtime = workers("""
        import os, subprocess, sys, numpy as np

        class Model:
            def predict(self, inputs, parameters):
                if os.fork() == 0:
                    os.read(os.pipe()[0], 1)
                child = subprocess.Popen([sys.executable, "-c", "import os; os.read(os.pipe()[0], 1)"])
                return np.array([os.getpid(), child.pid])
    """)
    worker, child = only(runtime.infer(EMPTY))
    os.kill(worker, signal.SIGKILL)
    assert has_ended(child)


def test_what_a_worker_leaves_behind_is_reaped_where_the_server_is_process_1(python_model):
    """A subreaper gets the orphans of its descendants, as process 1 of a container does."""
    directory = python_model("""
        import os

        class Model:
            def predict(self, inputs, parameters):
                if parameters:
                    if os.fork() == 0:
                        os.read(os.pipe()[0], 1)
                    os.abort()
                return inputs
    """)
    program = """
try:
    runtime.infer(Inference({}, parameters={"end": True}))
except Exception as error:
    print(type(error).__name__)
runtime.infer(Inference({}))
print(sum(len(task.read_text().split()) for task in Path("/proc/self/task").glob("*/children")))
runtime.close()
"""
    done = run("import ctypes; ctypes.CDLL(None).prctl(36, 1)" + program, directory / "model.py")
    assert done.stdout.split() == ["UnavailableError", "1"]


def test_closing_lets_a_call_end_and_kills_what_takes_longer(held):
    runtime, entered, open_gate = held
    with ThreadPoolExecutor(3) as threads:
        answer = threads.submit(runtime.infer, Inference({"x": np.array([1])}))
        pid = entered()
        closing = threads.submit(runtime.close, PATIENCE)
        open_gate()
        assert only(answer.result(PATIENCE)) == [1]
        closing.result(PATIENCE)
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(UnavailableError, match="unloaded"):
        runtime.infer(EMPTY)


def test_closing_does_not_wait_for_ever(held):
    runtime, entered, _ = held
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(runtime.infer, Inference({"x": np.array([1])}))
        pid = entered()
        runtime.close(0)
        with pytest.raises(UnavailableError, match="signal 9"):
            answer.result(PATIENCE)
    assert not Path(f"/proc/{pid}").exists()


def test_workers_end_with_the_server_however_it_ends(python_model, tmp_path):
    directory = python_model(HELD)
    os.mkfifo(directory / "entered")
    os.mkfifo(directory / "gate")
    command = [sys.executable, "-c", SERVER + "runtime.infer(Inference({}))", directory / "model.py"]
    with subprocess.Popen(command) as server:
        worker = int((directory / "entered").read_text())
        server.kill()
    assert has_ended(worker)


# When they keep ending


def test_a_process_that_cannot_be_started_is_a_sentence(workers, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nothing/python")
    with pytest.raises(ModelLoadError, match="cannot be started: No such file or directory"):
        workers(count=2)


def test_a_model_that_cannot_be_started_again_is_not_healthy_until_it_can(workers, tmp_path, caplog):
    runtime = workers()
    file = tmp_path / "echo" / "model.py"
    good = file.read_text()
    file.write_text("1 / 0")
    with pytest.raises(UnavailableError, match="signal 9"):
        runtime.infer(call("end", signal=9))
    with pytest.raises(UnavailableError, match="no worker process of model 'echo' is running"):
        runtime.infer(EMPTY)
    assert not runtime.healthy
    assert "could not be started again: importing" in caplog.text
    file.write_text(good)
    pool = runtime._workers.pool
    with pool._changed:
        assert pool._changed.wait_for(lambda: runtime.healthy, PATIENCE)
    assert runtime.infer(EMPTY) == {}


def test_files_that_have_become_another_model_are_not_served_as_the_old_one(workers, tmp_path, caplog):
    runtime = workers()
    (tmp_path / "echo" / "model.yaml").write_text("{}")
    file = tmp_path / "echo" / "model.py"
    file.write_text(
        "class Model:\n    inputs = [{'name': 'new', 'datatype': 'BOOL'}]\n    def predict(self, inputs): ..."
    )
    with pytest.raises(UnavailableError, match="signal 9"):
        runtime.infer(call("end", signal=9))
    with pytest.raises(UnavailableError, match="is running"):
        runtime.infer(EMPTY)
    assert "its files have changed" in caplog.text


def test_the_wait_doubles_up_to_a_bound_and_starts_anew_after_a_while():
    backoff = Backoff(first=0.1, most=30, reset=10)
    waits = [backoff.after(1) for _ in range(100)]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert set(waits[9:]) == {30}
    assert backoff.after(9.9) == 30
    assert backoff.after(10) == 0.1


class Up:
    """A worker, as far as a pool knows it."""

    usable = True


def test_a_pool_is_healthy_while_one_is_up_or_may_soon_be():
    pool = Pool("m", 2)
    one, other = Up(), Up()
    pool.add(1, one)
    pool.add(2, other)
    pool.remove(one)
    pool.failing(1)
    pool.remove(other)
    assert pool.healthy
    pool.failing(2)
    assert not pool.healthy
    pool.add(1, one)
    assert pool.healthy
    assert pool.take() is one


def test_a_worker_that_is_ending_is_not_taken_again():
    pool = Pool("m", 1)
    worker = Up()
    pool.add(1, worker)
    taken = pool.take()
    taken.usable = False
    pool.give(taken)
    pool.failing(1)
    pool.remove(worker)
    with pytest.raises(UnavailableError):
        pool.take()
