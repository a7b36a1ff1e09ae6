"""Models of every format: what they say about themselves, what they answer, and how they are refused."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
from skl2onnx import to_onnx
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression, LogisticRegression

from slipway_serving.config import ModelConfig, parse_config
from slipway_serving.datatypes import DATATYPES
from slipway_serving.errors import InvalidInputError, ModelFailedError, ModelLoadError
from slipway_serving.runtimes.base import Inference, load_runtime

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 5)
Y = np.array([0, 0, 1, 1] * 5)


def described(specs):
    return [(spec.name, spec.datatype.name, spec.shape) for spec in specs]


def test_onnx_says_what_it_takes_and_answers_with_text_and_numbers(iris):
    runtime = load_runtime(iris / "model.onnx", ModelConfig())
    assert described(runtime.signature.inputs) == [("x", "FP32", (-1, 4))]
    assert described(runtime.signature.outputs) == [("label", "BYTES", (-1,)), ("probabilities", "FP32", (-1, 3))]
    request = Inference({"x": np.array([[5.1, 3.5, 1.4, 0.2]], dtype=np.float32)})
    assert runtime.infer(request)["label"].tolist() == ["setosa"]
    only = runtime.infer(dataclasses.replace(request, outputs=("probabilities",)))
    assert list(only) == ["probabilities"]


def test_class_scores_as_converters_write_them_by_default_become_a_matrix(tmp_path):
    model = LogisticRegression().fit(X, Y)
    path = tmp_path / "model.onnx"
    path.write_bytes(to_onnx(model, X[:1].astype(np.float32)).SerializeToString())
    runtime = load_runtime(path, ModelConfig())
    outputs = runtime.infer(Inference({"X": X[:3].astype(np.float32)}))
    assert described(runtime.signature.outputs)[1] == ("output_probability", "FP32", (-1, -1))
    assert outputs["output_probability"].shape == (3, 2)


def test_a_broken_onnx_file_is_a_sentence(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelLoadError, match="is not an ONNX model that ONNX Runtime"):
        load_runtime(path, ModelConfig())


@pytest.fixture
def classifier(tmp_path) -> Path:
    path = tmp_path / "model.skops"
    skops.io.dump(LogisticRegression().fit(X, np.array(["no", "yes"])[Y]), path)
    return path


def test_sklearn_takes_any_numbers_and_computes_what_is_asked(classifier):
    runtime = load_runtime(classifier, ModelConfig())
    spec = runtime.signature.inputs[0]
    assert (spec.name, spec.datatype.name, spec.shape) == ("x", "FP64", (-1, 2))
    spec.check(DATATYPES["FP32"], (3, 2))
    assert described(runtime.signature.outputs) == [("predict", "BYTES", (-1,))]
    assert runtime.infer(Inference({"x": X[:3]}))["predict"].tolist() == ["no", "no", "yes"]
    both = runtime.infer(Inference({"x": X[:3]}, outputs=("predict", "predict_proba")))
    assert both["predict_proba"].shape == (3, 2)
    assert runtime.signature.is_batch


@pytest.mark.parametrize(("model", "datatype"), [(LinearRegression(), "FP64"), (KMeans(2, random_state=0), "INT64")])
def test_other_estimators_say_their_datatype(tmp_path, model, datatype):
    path = tmp_path / "model.skops"
    skops.io.dump(model.fit(X, Y), path)
    runtime = load_runtime(path, ModelConfig())
    assert described(runtime.signature.outputs) == [("predict", datatype, (-1,))]
    answer = runtime.infer(Inference({"x": X.astype(np.float32)}))["predict"]
    assert answer.dtype == DATATYPES[datatype].dtype


def test_what_sklearn_cannot_use_is_the_clients_mistake(classifier):
    runtime = load_runtime(classifier, ModelConfig())
    with pytest.raises(InvalidInputError, match="the model refused the input: Input X contains NaN"):
        runtime.infer(Inference({"x": np.full((1, 2), np.nan)}))


@pytest.mark.parametrize("suffix", [".joblib", ".pkl", ".pickle"])
def test_pickles_are_refused_with_the_reason_and_run_when_allowed(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    joblib.dump(LogisticRegression().fit(X, Y), path)
    with pytest.raises(ModelLoadError, match="is a pickle: loading it runs whatever code") as caught:
        load_runtime(path, ModelConfig())
    assert "skops.io.dump" in caught.value.hint
    assert "--allow-pickle" in caught.value.hint
    allowed = load_runtime(path, ModelConfig(allow_pickle=True))
    assert allowed.infer(Inference({"x": X[:1]}))["predict"].tolist() == [0]


class Stranger(LogisticRegression):
    """A type that skops does not know."""


def test_types_unknown_to_skops_are_refused_unless_listed(tmp_path):
    path = tmp_path / "model.skops"
    skops.io.dump(Stranger().fit(X, Y), path)
    with pytest.raises(ModelLoadError, match=r"does not know to be harmless: .*Stranger"):
        load_runtime(path, ModelConfig())
    trusted = ModelConfig(trusted_types=tuple(skops.io.get_untrusted_types(file=path)))
    assert load_runtime(path, trusted).infer(Inference({"x": X[:1]}))["predict"].tolist() == [0]


PYTHON = """
    import numpy as np
    from slipway_serving import InvalidInputError

    class Model:
        inputs = [{"name": "x", "datatype": "FP32", "shape": [-1]}]
        outputs = [{"name": "y", "datatype": "FP32", "shape": [-1]}]

        def load(self, directory, parameters):
            self.factor = float((directory / "factor.txt").read_text()) * parameters.get("times", 1)

        def predict(self, inputs, parameters):
            if parameters.get("refuse"):
                raise InvalidInputError("not this one")
            return inputs["x"].astype("float64") * self.factor
"""


def test_a_python_model_gets_its_directory_and_parameters(python_model):
    directory = python_model(PYTHON)
    (directory / "factor.txt").write_text("3")
    runtime = load_runtime(directory / "model.py", ModelConfig(parameters={"times": 2}))
    outputs = runtime.infer(Inference({"x": np.ones(2, np.float32)}))
    assert outputs["y"].tolist() == [6, 6]
    assert outputs["y"].dtype == np.float32
    with pytest.raises(InvalidInputError, match="not this one"):
        runtime.infer(Inference({"x": np.ones(1, np.float32)}, parameters={"refuse": True}))


def test_an_async_python_model_runs_on_its_own_loop(python_model):
    directory = python_model("""
        import asyncio

        class Model:
            async def load(self):
                self.loop = asyncio.get_running_loop()

            async def predict(self, inputs):
                assert self.loop is asyncio.get_running_loop()
                return {"y": inputs["x"] + 1}
    """)
    runtime = load_runtime(directory / "model.py", ModelConfig())
    started = [runtime.start(Inference({"x": np.array([index])})) for index in range(3)]
    assert [future.result()["y"].item() for future in started] == [1, 2, 3]
    runtime.close()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nothing_of_that_name", "raised ModuleNotFoundError: .*nothing_of_that_name"),
        ("class Modell:\n    def predict(self, inputs): ...", "has no class 'Model'"),
        ("class Model: ...", "has no method predict"),
        (
            "class Model:\n    def __init__(self): 1 / 0\n    def predict(self, inputs): ...",
            r"ZeroDivisionError.*model.py:2",
        ),
        (
            "class Model:\n    def load(self): 1 / 0\n    def predict(self, inputs): ...",
            r"load\(\) .*ZeroDivisionError",
        ),
        ("class Model:\n    inputs = [{}]\n    def predict(self, inputs): ...", r"inputs\[0\].name is missing"),
    ],
)
def test_a_python_model_that_cannot_be_loaded_is_a_sentence(python_model, source, message):
    directory = python_model(source)
    with pytest.raises(ModelLoadError, match=message):
        load_runtime(directory / "model.py", ModelConfig())


@pytest.mark.parametrize(
    ("returns", "message"),
    [
        ("{'z': 1}", "did not return output 'y'"),
        ("['a']", "output 'y' is not FP32"),
        ("None", "returned None"),
    ],
)
def test_an_answer_that_is_not_what_was_declared_is_the_models_failure(python_model, returns, message):
    directory = python_model(f"""
        class Model:
            outputs = [{{"name": "y", "datatype": "FP32"}}]

            def predict(self, inputs):
                return {returns}
    """)
    runtime = load_runtime(directory / "model.py", ModelConfig())
    with pytest.raises(ModelFailedError, match=message):
        runtime.infer(Inference({}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": [{"name": "y"}]}, "declares input 'y', which the model does not have; known: x"),
        ({"inputs": [{"name": "x", "datatype": "FP64"}]}, "says input 'x' is FP64; the model: FP32"),
        ({"inputs": [{"name": "x", "shape": [-1, 5]}]}, "a shape that the model's own does not allow"),
        ({"inputs": [{"name": "x", "columns": ["a"]}]}, "has 1 columns, but its last dimension is 4"),
        ({"inputs": [{"name": "x", "example": [[1, 2]]}]}, "the example of input 'x' does not fit"),
        ({"inputs": [{"name": "x", "example": "four"}]}, "the example of input 'x' does not fit"),
    ],
)
def test_settings_that_contradict_the_model_are_refused(iris, settings, message):
    with pytest.raises(ModelLoadError, match=message):
        load_runtime(iris / "model.onnx", parse_config(settings))


def test_nothing_is_imported_that_the_model_does_not_need():
    program = (
        "import sys, slipway_serving.server; "
        "print(sorted({'onnxruntime', 'sklearn', 'skops', 'xgboost', 'lightgbm', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_skops_is_imported_for_its_own_files_only(tmp_path):
    joblib.dump(LogisticRegression().fit(X, Y), tmp_path / "model.joblib")
    program = (
        "import sys; from pathlib import Path; from slipway_serving.config import ModelConfig; "
        "from slipway_serving.runtimes.sklearn import load; "
        "load(Path(sys.argv[1]), ModelConfig(allow_pickle=True)); print('skops' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "model.joblib")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_onnx_runtime_sends_nothing_home_and_writes_nothing(iris, tmp_path):
    program = (
        "import sys; from pathlib import Path; from slipway_serving.config import ModelConfig; "
        "from slipway_serving.runtimes.onnx import load; load(Path(sys.argv[1]), ModelConfig())"
    )
    environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", program, str(iris / "model.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    assert list(tmp_path.rglob("*")) == []
