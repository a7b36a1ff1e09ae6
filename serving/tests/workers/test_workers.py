"""Models in real worker processes: what they answer, what they are, and how they load."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from worker_tools import (
    EMPTY,
    call,
    only,
    run,
    said,
    source,
    worker_processes,
)

from slipway_serving.datatypes import DATATYPES
from slipway_serving.errors import (
    InvalidInputError,
    ModelFailedError,
    ModelLoadError,
    OverloadedError,
)
from slipway_serving.runtimes.base import AsyncRuntime, Inference
from slipway_serving.scheduling import ThreadScheduler
from slipway_serving.workers.process import RemoteError
from slipway_serving.workers.runtime import start_workers

BAD_EXAMPLE = """
    class Model:
        inputs = [{"name": "x", "datatype": "FP32", "shape": [1], "example": [1]}]

        def predict(self, inputs):
            raise ValueError("always")
"""


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


def test_an_exit_while_loading_is_an_exception_here(workers):
    with pytest.raises(RemoteError, match="nothing to see") as caught:
        workers("import sys\nsys.exit('nothing to see')")
    assert type(caught.value).__name__ == "SystemExit"
