"""The five models of the benchmark, the requests that are sent to them and what each must answer; fixed seeds.

python serving/benchmarks/models.py DIRECTORY      (runs in the environment `tools`)

DIRECTORY/mixed/NAME/model.joblib|onnx     the models, as most people have them
DIRECTORY/onnx/NAME/model.onnx             the same, all as ONNX
DIRECTORY/requests/NAME.v2.json            V2, JSON
DIRECTORY/requests/NAME.plain.json         {"x": [[…]]}, for servers that do not speak V2
DIRECTORY/requests/sum.binary              V2 with the binary tensor extension; header.txt: length of its JSON
DIRECTORY/requests/sum.grpc                a gRPC frame: ModelInfer with raw contents
DIRECTORY/requests/expected.json           by name, the values of the answer
"""

from __future__ import annotations

import itertools
import json
import struct
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from tritonclient.grpc import service_pb2

SEED = 20260101
OPSET = 17
IR_VERSION = 8
FLOATS = 262_144
"""Of the large tensor: 1 MiB of FP32."""
LAYERS = (784, 2048, 2048, 10)
"""Of the perceptron: 23 MB of weights."""


def estimators() -> dict[str, Any]:
    """Fitted scikit-learn models, by name."""
    iris = load_iris()
    sugar = load_diabetes()
    generator = np.random.default_rng(SEED)
    features = generator.normal(size=(2000, 10))
    labels = (features[:, 0] + features[:, 1] * features[:, 2] > 0).astype(np.int64)
    return {
        "iris": LogisticRegression(max_iter=1000).fit(iris.data, iris.target),
        "forest": RandomForestClassifier(n_estimators=100, random_state=SEED).fit(features, labels),
        "boost": GradientBoostingRegressor(n_estimators=100, random_state=SEED).fit(sugar.data, sugar.target),
    }


def converted(estimator: Any) -> onnx.ModelProto:
    """A scikit-learn model as ONNX; its first output is what `predict` gives."""
    classifies = hasattr(estimator, "classes_")
    options = {id(estimator): {"zipmap": False}} if classifies else None
    inputs = [("x", FloatTensorType([None, estimator.n_features_in_]))]
    return to_onnx(estimator, initial_types=inputs, options=options, target_opset=OPSET)


def perceptron() -> onnx.ModelProto:
    """Three dense layers with relu between them."""
    generator = np.random.default_rng(SEED)
    nodes, weights, last = [], [], "x"
    for index, (width, height) in enumerate(itertools.pairwise(LAYERS)):
        matrix = generator.normal(scale=width**-0.5, size=(width, height)).astype(np.float32)
        weights.append(numpy_helper.from_array(matrix, f"w{index}"))
        final = index == len(LAYERS) - 2  # one matrix fewer than layers
        product = "y" if final else f"m{index}"
        nodes.append(helper.make_node("MatMul", [last, f"w{index}"], [product]))
        if not final:
            last = f"r{index}"
            nodes.append(helper.make_node("Relu", [product], [last]))
    return _model(nodes, weights, [None, LAYERS[0]], [None, LAYERS[-1]])


def summing() -> onnx.ModelProto:
    """The sum of each row: next to no computing, so that what is left is the way of 1 MiB to the model."""
    axes = numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
    return _model([node], [axes], [None, FLOATS], [None])


def _model(nodes: list[Any], weights: list[Any], takes: list[Any], gives: list[Any]) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, takes)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, gives)
    graph = helper.make_graph(nodes, "benchmark", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def samples() -> dict[str, Any]:
    """One row for each model; decimals are few, as in data that people send."""
    generator = np.random.default_rng(SEED + 1)
    rows = {
        "iris": load_iris().data[120],
        "forest": np.abs(generator.normal(size=10)).round(3),
        "boost": load_diabetes().data[7].round(4),
        "mlp": generator.random(LAYERS[0]).round(3),
        "sum": generator.random(FLOATS).round(7),
    }
    return {name: row.astype(np.float32).reshape(1, -1) for name, row in rows.items()}


def write_models(directory: Path) -> None:
    fitted = estimators()
    graphs = {name: converted(estimator) for name, estimator in fitted.items()}
    plain = {"mlp": perceptron(), "sum": summing()}
    for name, estimator in fitted.items():
        joblib.dump(estimator, _place(directory / "mixed" / name) / "model.joblib")
    for kind, models in (("mixed", plain), ("onnx", graphs | plain)):
        for name, model in models.items():
            (_place(directory / kind / name) / "model.onnx").write_bytes(model.SerializeToString())


def _place(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def write_requests(directory: Path) -> None:
    requests = _place(directory / "requests")
    expected = {}
    for name, array in samples().items():
        values = [float(str(value)) for value in array.ravel()]  # the shortest text that reads back as the same FP32
        tensor: dict[str, Any] = {"name": "x", "shape": list(array.shape), "datatype": "FP32"}
        (requests / f"{name}.v2.json").write_text(_json({"inputs": [tensor | {"data": values}]}))
        (requests / f"{name}.plain.json").write_text(_json({"x": [values]}))
        expected[name] = _answer(directory / "mixed" / name, array)
    write_binary(requests, samples()["sum"])
    (requests / "expected.json").write_text(json.dumps(expected))


def write_binary(requests: Path, array: Any) -> None:
    """The large tensor, with the binary extension on REST and as raw contents on gRPC."""
    parameters = {"binary_data_size": array.nbytes}
    tensor = {"name": "x", "shape": list(array.shape), "datatype": "FP32", "parameters": parameters}
    head = _json({"inputs": [tensor]}).encode()
    (requests / "header.txt").write_text(str(len(head)))
    (requests / "sum.binary").write_bytes(head + array.tobytes())
    message = service_pb2.ModelInferRequest(model_name="sum", raw_input_contents=[array.tobytes()])
    message.inputs.add(name="x", datatype="FP32", shape=array.shape)
    data = message.SerializeToString()
    (requests / "sum.grpc").write_bytes(struct.pack(">BI", 0, len(data)) + data)


def _json(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))


def _answer(directory: Path, array: Any) -> list[float]:
    """What the model itself says, without a server."""
    (file,) = directory.iterdir()
    if file.suffix == ".joblib":
        return [float(value) for value in joblib.load(file).predict(array)]
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return [float(value) for value in session.run(None, {"x": array})[0].ravel()]


if __name__ == "__main__":
    write_models(Path(sys.argv[1]))
    write_requests(Path(sys.argv[1]))
