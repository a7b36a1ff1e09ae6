"""ONNX models, run by ONNX Runtime."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

# The official builds report to their maker otherwise, and keep a device id in the home directory; read at import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort  # type: ignore[import-untyped]  # it has no types

from slipway_serving.config import ModelConfig
from slipway_serving.cpus import available_cpus
from slipway_serving.datatypes import BYTES, DATATYPES, FP32, Datatype, Tensors
from slipway_serving.errors import InvalidInputError, ModelLoadError
from slipway_serving.runtimes.base import Inference
from slipway_serving.runtimes.tensors import declared_specs, text_array
from slipway_serving.signature import Signature, TensorSpec

_ONNX_NAMES = {
    "bool": "BOOL",
    "string": "BYTES",
    "float16": "FP16",
    "float": "FP32",
    "double": "FP64",
    **{name.lower(): name for name in DATATYPES if "INT" in name},
}
_CLASS_SCORES = re.compile(r"seq\(map\(.+,tensor\(float\)\)\)")
_REFUSALS = ("InvalidArgument", "INVALID_ARGUMENT")


class OnnxRuntime:
    """One session; ONNX Runtime lets several threads call it."""

    def __init__(self, session: ort.InferenceSession, signature: Signature) -> None:
        self.signature = signature
        self._session = session
        self._texts = frozenset(spec.name for spec in signature.inputs if spec.datatype is BYTES)
        self._defaults = [spec.name for spec in signature.outputs]

    def infer(self, request: Inference) -> Tensors:
        names = list(request.outputs) or self._defaults
        inputs = request.inputs
        if self._texts:
            inputs = {name: text_array(a) if name in self._texts else a for name, a in inputs.items()}
        try:
            values = self._session.run(names, inputs)
        except Exception as error:
            if type(error).__name__ in _REFUSALS:
                raise InvalidInputError(f"the model refused the input: {_first_line(error)}") from error
            raise
        return {name: _tensor(value) for name, value in zip(names, values, strict=True)}

    def close(self) -> None:
        del self._session


def load(path: Path, config: ModelConfig) -> OnnxRuntime:
    options = ort.SessionOptions()
    options.intra_op_num_threads = available_cpus()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(path), options, providers=_providers())
    except Exception as error:
        raise ModelLoadError(
            f"{path} is not an ONNX model that ONNX Runtime {ort.__version__} can run: {_first_line(error)}",
            "export the model again, or install an onnxruntime that knows its opset",
        ) from error
    inputs = declared_specs(tuple(map(_spec, session.get_inputs())), config.inputs, "input")
    outputs = declared_specs(tuple(map(_spec, session.get_outputs())), config.outputs, "output")
    return OnnxRuntime(session, Signature(inputs, outputs))


def _providers() -> list[str]:
    """Every accelerator that this build of ONNX Runtime can use on this machine, the processor last."""
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    available = ort.get_available_providers()
    return [name for name in wanted if name in available]


def _spec(node: Any) -> TensorSpec:
    if _CLASS_SCORES.fullmatch(node.type):
        return TensorSpec(node.name, FP32, (-1, -1))
    datatype = _datatype(node)
    if node.shape is None:
        return TensorSpec(node.name, datatype)
    return TensorSpec(node.name, datatype, tuple(n if isinstance(n, int) and n >= 0 else -1 for n in node.shape))


def _datatype(node: Any) -> Datatype:
    inner = re.fullmatch(r"tensor\((.+)\)", node.type)
    name = _ONNX_NAMES.get(inner.group(1)) if inner else None
    if name is None:
        raise ModelLoadError(
            f"the model's tensor '{node.name}' is {node.type}, which the Open Inference Protocol cannot carry",
            "export the model with plain tensors of numbers, booleans or strings",
        )
    return DATATYPES[name]


def _tensor(value: Any) -> Any:
    """A tensor; class scores as scikit-learn converters write them (one map a row) become a matrix."""
    if isinstance(value, list):
        return np.array([list(row.values()) for row in value], dtype=np.float32)
    return value


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
