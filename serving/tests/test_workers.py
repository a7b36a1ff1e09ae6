"""Models in real worker processes: what they answer, how they end, and what everybody else notices of it."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from slipway_serving.config import read_config
from slipway_serving.datatypes import DATATYPES
from slipway_serving.errors import (
    InvalidInputError,
    ModelFailedError,
    ModelLoadError,
    OverloadedError,
    UnavailableError,
)
from slipway_serving.metrics import Metrics
from slipway_serving.runtimes.base import AsyncRuntime, Inference
from slipway_serving.scheduling import ThreadScheduler
from slipway_serving.workers.process import RemoteError
from slipway_serving.workers.runtime import start_workers
from slipway_serving.workers.supervisor import Backoff, Pool
from slipway_serving.workers.worker import require_plain

PATIENCE = 60.0
EMPTY = Inference({})

MODEL = """
    import os, signal, sys, numpy as np
    from slipway_serving import InvalidInputError
    from slipway_serving.errors import BodyTooLargeError, OverloadedError

    class Own(InvalidInputError):
        pass

    class Model:
        def predict(self, inputs, parameters):
            return getattr(self, parameters.get("do", "echo"))(inputs, parameters)

        def echo(self, inputs, parameters):
            return inputs

        def process(self, inputs, parameters):
            return np.array([os.getpid()])

        def told(self, inputs, parameters):
            return np.array([repr(parameters)])

        def variables(self, inputs, parameters):
            return np.array([os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "SLIPWAY_SERVE_WORKER_CPUS")])

        def modules(self, inputs, parameters):
            return np.array(sorted(sys.modules))

        def end(self, inputs, parameters):
            os.kill(os.getpid(), parameters["signal"])

        def leave(self, inputs, parameters):
            os._exit(3)

        def exit(self, inputs, parameters):
            sys.exit("no")

        def garble(self, inputs, parameters):
            for number in map(int, os.listdir("/proc/self/fd")):
                if number > 2 and os.path.realpath(f"/proc/self/fd/{number}").endswith("]"):
                    os.write(number, b"print() of a library that writes anywhere")

        def cut(self, inputs, parameters):
            os.closerange(3, 256)
            signal.pause()

        def refuse(self, inputs, parameters):
            raise {"own": Own, "full": OverloadedError, "large": BodyTooLargeError}[parameters["how"]]("not this one")

        def fail(self, inputs, parameters):
            return 1 / 0

        def complex(self, inputs, parameters):
            return np.ones(1, complex)
"""
HELD = """
    import os

    class Model:
        def load(self, directory):
            self.directory = directory

        def predict(self, inputs):
            entered = os.open(self.directory / "entered", os.O_WRONLY)
            os.write(entered, f"{os.getpid()}\\n".encode())
            os.close(entered)
            with open(self.directory / "gate"):
                return inputs
"""

BAD_EXAMPLE = """
    class Model:
        inputs = [{"name": "x", "datatype": "FP32", "shape": [1], "example": [1]}]

        def predict(self, inputs):
            raise ValueError("always")
"""

SERVER = """
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from slipway_serving.config import ModelConfig
from slipway_serving.runtimes.base import Inference
from slipway_serving.workers.runtime import start_workers
runtime = start_workers(SimpleNamespace(path=Path(sys.argv[1]), config=ModelConfig(), name="echo"), 1)
"""
"""The begin of a program that is a server, as far as its workers know."""


def source(file: Path) -> SimpleNamespace:
    return SimpleNamespace(path=file, config=read_config(file.parent), name="echo")


def run(program: str, file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SERVER + program, file]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def call(do: str, **parameters) -> Inference:
    return Inference({}, parameters={"do": do, **parameters})


def only(outputs):
    (array,) = outputs.values()
    return array.tolist()


def said(item: bytes | str) -> str:
    return item.decode() if isinstance(item, bytes) else item


@pytest.fixture
def workers(python_model):
    """Starts the workers of a Python model; they have ended when the test has."""
    started = []

    def start(text=MODEL, settings="", count=1, restarted=lambda: None):
        started.append(start_workers(source(python_model(text, settings) / "model.py"), count, restarted))
        return started[-1]

    yield start
    for runtime in started:
        runtime.close()


@pytest.fixture
def held(workers, tmp_path):
    """A model whose call says its process id, and waits for a gate."""
    directory = tmp_path / "echo"
    directory.mkdir()
    os.mkfifo(directory / "entered")
    os.mkfifo(directory / "gate")
    runtime = workers(HELD)

    def entered() -> int:
        return int((directory / "entered").read_text())

    def open_gate() -> None:
        (directory / "gate").write_text("")

    return runtime, entered, open_gate


def has_ended(pid: int) -> bool:
    """Whether a process ends within the patience; it need not be a child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], PATIENCE)[0])
    finally:
        os.close(descriptor)


def worker_processes() -> list[str]:
    """The workers, zombies included, that this process has."""
    children = [pid for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()]
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, command in commands.items() if not command or b"slipway_serving.workers" in command]


# What they answer


@pytest.mark.parametrize("datatype", DATATYPES.values(), ids=str)
def test_every_datatype_comes_back_as_it_went(workers, datatype):
    runtime = workers()
    values = [b"a", b""] if datatype.name == "BYTES" else [0, 1]
    array = np.array([values, values, values], dtype=datatype.dtype)
    given = {
        "x": array,
        "turned": array.T,
        "some": array[::2, ::-1],
        "none": array[:0],
        "scalar": array[:1, 1:].reshape(()),
    }
    answer = runtime.infer(Inference(given))
    assert list(answer) == list(given)
    for name, expected in given.items():
        assert (answer[name].dtype, answer[name].shape) == (expected.dtype, expected.shape)
        assert answer[name].tolist() == expected.tolist()


def test_an_onnx_model_answers_what_is_asked_and_the_server_never_imports_its_library(iris):
    program = """
inputs = {"x": np.array([[5.1, 3.5, 1.4, 0.2]], dtype=np.float32)}
print(runtime.infer(Inference(inputs))["label"].tolist(), list(runtime.infer(Inference(inputs, ("probabilities",)))))
print([spec.metadata() for spec in runtime.signature.inputs], runtime.signature.is_batch, "onnxruntime" in sys.modules)
runtime.close()
"""
    done = run(program, iris / "model.onnx")
    assert done.stdout.splitlines() == [
        "[b'setosa'] ['probabilities']",
        "[{'name': 'x', 'datatype': 'FP32', 'shape': [-1, 4]}] True False",
    ]


def test_parameters_arrive(workers):
    parameters = {"do": "told", "a": 1, "b": 0.1, "c": True, "d": "é", "e": float("inf"), "f": 2**63}
    assert said(only(workers().infer(Inference({}, parameters=parameters)))[0]) == repr(parameters)


@pytest.mark.parametrize(("how", "kind"), [("own", InvalidInputError), ("full", OverloadedError)])
def test_what_a_model_refuses_is_the_same_error_here(workers, how, kind):
    with pytest.raises(kind, match=r"^not this one$") as caught:
        workers().infer(call("refuse", how=how))
    assert type(caught.value) is kind
    assert caught.value.status == kind.status


def test_any_other_exception_has_its_name_and_its_traceback(workers):
    runtime = workers()
    with pytest.raises(RemoteError, match="division by zero") as caught:
        runtime.infer(call("fail"))
    assert type(caught.value).__name__ == "ZeroDivisionError"
    assert "return 1 / 0" in "".join(caught.value.__notes__)
    with pytest.raises(RemoteError) as caught:
        runtime.infer(call("exit"))
    assert type(caught.value).__name__ == "SystemExit"
    with pytest.raises(ModelFailedError, match="output 'output': numpy's complex128 has no datatype"):
        runtime.infer(call("complex"))
    assert runtime.infer(EMPTY) == {}


def test_an_async_model_answers_and_says_that_it_runs_one_at_a_time(workers, caplog):
    runtime = workers("""
        import asyncio

        class Model:
            async def predict(self, inputs):
                await asyncio.sleep(0)
                return {"y": inputs["x"] + 1}
    """)
    assert "async predict" in caplog.text
    assert not isinstance(runtime, AsyncRuntime)
    with ThreadPoolExecutor(4) as threads:
        requests = [Inference({"x": np.array([index])}) for index in range(20)]
        assert [only(answer) for answer in threads.map(runtime.infer, requests)] == [[index + 1] for index in range(20)]


async def test_a_model_that_holds_the_interpreters_lock_leaves_the_event_loop_alone(workers, tmp_path):
    """The model waits, its lock held, for a byte that only the event loop of this process will write."""
    directory = tmp_path / "echo"
    directory.mkdir()
    for name in ("entered", "gate"):
        os.mkfifo(directory / name)
    gate = os.open(directory / "gate", os.O_RDWR)
    runtime = workers("""
        import ctypes, os

        class Model:
            def load(self, directory):
                self.directory = directory
                self.read = ctypes.PyDLL(None).read

            def predict(self, inputs):
                gate = os.open(self.directory / "gate", os.O_RDWR)
                (self.directory / "entered").write_text("now")
                self.read(gate, ctypes.create_string_buffer(1), 1)
                return inputs
    """)
    scheduler = ThreadScheduler(runtime, lambda *_: None)
    future = scheduler.submit(Inference({"x": np.ones(2)}))
    assert await asyncio.to_thread((directory / "entered").read_text) == "now"
    assert not future.done()
    os.write(gate, b"!")
    assert only(await future) == [1, 1]
    scheduler.close()
    os.close(gate)


def test_several_workers_run_side_by_side(workers, tmp_path):
    """Each call waits until the other's process is there too."""
    runtime = workers(
        """
        import os, numpy as np

        class Model:
            def load(self, directory):
                self.directory = directory

            def predict(self, inputs, parameters):
                with open(self.directory / "meeting", parameters["mode"]):
                    return np.array([os.getpid()])
        """,
        count=2,
    )
    os.mkfifo(tmp_path / "echo" / "meeting")
    with ThreadPoolExecutor(2) as threads:
        requests = [Inference({}, parameters={"mode": mode}) for mode in ("r", "w")]
        pids = [only(answer)[0] for answer in threads.map(runtime.infer, requests)]
    assert len(set(pids)) == 2


# What they are


def test_a_worker_imports_nothing_of_the_server(workers):
    modules = {said(name).split(".")[0] for name in only(workers().infer(call("modules")))}
    assert "slipway_serving" in modules
    strangers = {"uvicorn", "httptools", "uvloop", "grpc", "prometheus_client", "orjson", "multiprocessing"}
    assert not modules & strangers


def test_processors_are_shared_among_the_workers_unless_the_environment_says_otherwise(workers, monkeypatch):
    monkeypatch.setenv("SLIPWAY_SERVE_WORKER_CPUS", "7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert list(map(said, only(workers(count=3).infer(call("variables"))))) == ["2", "2"]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert list(map(said, only(workers(count=2).infer(call("variables"))))) == ["5", "3"]


def test_what_a_model_prints_and_logs_goes_where_the_servers_goes(python_model):
    directory = python_model("""
        import logging

        class Model:
            def load(self):
                print("printed")
                logging.getLogger("mine").warning("logged")

            def predict(self, inputs):
                return inputs
    """)
    done = run("runtime.close()", directory / "model.py")
    assert done.stdout == "printed\n"
    assert "WARNING [worker " in done.stderr
    assert done.stderr.endswith("logged\n")


# Loading


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("class Modell:\n    def predict(self, inputs): ...", "", "has no class 'Model'"),
        ("class Model:\n    def load(self): 1 / 0\n    def predict(self, inputs): ...", "", "raised ZeroDivisionError"),
        (
            BAD_EXAMPLE,
            "",
            "failed on its own example: ValueError: always",
        ),
        (
            "import os\nclass Model:\n    def load(self): os.kill(os.getpid(), 11)\n    def predict(self, inputs): ...",
            "",
            r"the worker process of model 'echo' was ended by signal 11 \(SIGSEGV\) while it loaded",
        ),
        (
            "import os\nclass Model:\n    def load(self): os._exit(7)\n    def predict(self, inputs): ...",
            "",
            "exited with status 7 while it loaded",
        ),
    ],
)
def test_a_model_that_cannot_be_loaded_says_so_here_and_leaves_no_process(workers, text, settings, message):
    with pytest.raises(ModelLoadError, match=message):
        workers(text, settings, count=2)
    assert worker_processes() == []


def test_hints_and_settings_pass_through(tmp_path, workers):
    (tmp_path / "model.pkl").write_bytes(b"")
    with pytest.raises(ModelLoadError) as caught:
        start_workers(source(tmp_path / "model.pkl"), 1)
    assert "skops.io.dump" in caught.value.hint
    runtime = workers(settings="inputs: [{name: x, datatype: FP32, shape: [-1]}]\nwarmUp: false")
    assert runtime.signature.inputs[0].datatype is DATATYPES["FP32"]


def test_what_a_worker_cannot_offer_is_refused_instead_of_missing():
    class Plain:
        operations = frozenset()

    class More(Plain):
        operations = frozenset({"embeddings", "completions"})

        def stream(self, request): ...

    require_plain(Plain(), "m")
    with pytest.raises(ModelLoadError, match="model 'm' has completions, embeddings, a predict that yields, which"):
        require_plain(More(), "m")


def test_an_exit_while_loading_is_an_exception_here(workers):
    with pytest.raises(RemoteError, match="nothing to see") as caught:
        workers("import sys\nsys.exit('nothing to see')")
    assert type(caught.value).__name__ == "SystemExit"


# How they end


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
    with runtime._pool._changed:
        assert runtime._pool._changed.wait_for(lambda: runtime.healthy, PATIENCE)
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
