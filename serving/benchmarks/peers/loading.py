"""The models as functions from an array to an array: what KServe, LitServe, BentoML and MLServer's ONNX run here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Predict = Callable[[Any], Any]
NAMES = ("iris", "forest", "boost", "mlp", "sum")


def batching() -> bool:
    """Whether this run is one with batching: 32 rows, 5 ms."""
    return os.environ["BENCHMARK_BATCHING"] == "1"


def load(name: str) -> Predict:
    """The model of this name in $BENCHMARK_MODELS."""
    (file,) = (Path(os.environ["BENCHMARK_MODELS"]) / name).glob("model.*")
    return load_onnx(file) if file.suffix == ".onnx" else load_joblib(file)


def load_joblib(file: Path) -> Predict:
    import joblib  # noqa: PLC0415  # not where all models are ONNX: its memory would be counted

    predict: Predict = joblib.load(file).predict
    return predict


def load_onnx(file: Path) -> Predict:
    """One thread without spinning, as slipway-serve has it."""
    import onnxruntime  # noqa: PLC0415  # as above

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    outputs = [session.get_outputs()[0].name]
    return lambda array: session.run(outputs, {"x": array})[0]
