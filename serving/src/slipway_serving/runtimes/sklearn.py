"""scikit-learn models: skops files; joblib and pickle only where a person has allowed them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]  # it has no types
import numpy as np

from slipway_serving.config import ModelConfig
from slipway_serving.datatypes import BOOL, BYTES, FP32, FP64, INT64, NUMERIC, Array, Datatype, Tensors, datatype_of
from slipway_serving.errors import InvalidInputError, ModelLoadError
from slipway_serving.runtimes.base import Inference
from slipway_serving.runtimes.tensors import conform, declared_specs, text_array
from slipway_serving.signature import Signature, TensorSpec

INPUT = "x"
_BINARY = 2
_METHODS = ("predict", "predict_proba", "decision_function", "transform")


class SklearnRuntime:
    """A fitted estimator. Each output is a method of it; `predict` by default, the others when asked for."""

    def __init__(self, estimator: Any, signature: Signature) -> None:
        self.signature = signature
        self._estimator = estimator
        self._input = signature.inputs[0]
        self._specs = {spec.name: spec for spec in signature.all_outputs}
        self._defaults = tuple(spec.name for spec in signature.outputs)

    def infer(self, request: Inference) -> Tensors:
        data = request.inputs[self._input.name]
        data = text_array(data) if data.dtype == np.object_ else data.astype(self._input.datatype.dtype, copy=False)
        outputs: Tensors = {}
        for name in request.outputs or self._defaults:
            outputs[name] = self._call(name, data)
        return outputs

    def _call(self, method: str, data: Array) -> Array:
        try:
            result = getattr(self._estimator, method)(data)
        except ValueError as error:
            first = str(error).strip().splitlines()[0][:300]
            raise InvalidInputError(f"the model refused the input: {first}") from error
        return conform(result.toarray() if hasattr(result, "toarray") else result, self._specs[method])

    def close(self) -> None:
        del self._estimator


def load(path: Path, config: ModelConfig) -> SklearnRuntime:
    # Arrays never carry column names, and saying so at every call would be slow and not safe between threads.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    estimator = _read(path, config)
    methods = [method for method in _METHODS if hasattr(estimator, method)]
    if not methods:
        raise ModelLoadError(f"{path} holds a {type(estimator).__name__}, which can neither predict nor transform")
    outputs = tuple(_output(estimator, method) for method in methods)
    inputs = declared_specs((_input(estimator, config),), config.inputs, "input")
    outputs = declared_specs(outputs, config.outputs, "output")
    return SklearnRuntime(estimator, Signature(inputs, outputs[:1], outputs[1:]))


def _read(path: Path, config: ModelConfig) -> Any:
    try:
        if path.suffix == ".skops":
            return _read_skops(path, config)
        _check_pickle(path, config)
        return joblib.load(path)
    except ModelLoadError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise ModelLoadError(
            f"{path} cannot be loaded: {reason}", "was it saved with the same version of scikit-learn that is here?"
        ) from error


def _read_skops(path: Path, config: ModelConfig) -> Any:
    # Imported only for such a file: skops looks through all of scikit-learn and scipy, a third of a second.
    try:
        from skops import io as skops  # type: ignore[import-untyped]  # noqa: PLC0415  # it has no types
    except ModuleNotFoundError as error:
        raise ModelLoadError(
            f"{path} needs the package '{error.name}', which is not installed",
            "install it with: pip install 'slipway-serving[sklearn]'",
        ) from None
    strangers = [name for name in skops.get_untrusted_types(file=path) if name not in config.trusted_types]
    if strangers:
        raise ModelLoadError(
            f"{path} holds types that skops does not know to be harmless: {', '.join(strangers)[:300]}",
            "if you trust them, list them in model.yaml under trustedTypes",
        )
    return skops.load(path, trusted=list(config.trusted_types))


def _check_pickle(path: Path, config: ModelConfig) -> None:
    if not config.allow_pickle:
        raise ModelLoadError(
            f"{path} is a pickle: loading it runs whatever code its author put into it, so it is refused",
            "save the model with skops.io.dump(model, 'model.skops'), or, if you trust the file, say --allow-pickle "
            "or allowPickle: true in model.yaml",
        )


def _input(estimator: Any, config: ModelConfig) -> TensorSpec:
    names = getattr(estimator, "feature_names_in_", ())
    columns = tuple(str(name) for name in names)
    width = int(getattr(estimator, "n_features_in_", -1))
    declared = config.inputs[0] if len(config.inputs) == 1 else None
    name = declared.name if declared else INPUT
    if declared and declared.datatype is BYTES:
        return TensorSpec(name, BYTES, (-1, width), columns=columns)
    if width == -1 and not hasattr(estimator, "n_features_in_"):
        return TensorSpec(name, declared.datatype if declared and declared.datatype else FP64, None, NUMERIC)
    # Clustering runs on exactly the type that it was fitted with, everything else takes FP64.
    centers = getattr(estimator, "cluster_centers_", None)
    datatype = FP32 if isinstance(centers, np.ndarray) and centers.dtype == np.float32 else FP64
    return TensorSpec(name, datatype, (-1, width), NUMERIC | {BOOL}, columns)


def _output(estimator: Any, method: str) -> TensorSpec:
    classes = getattr(estimator, "classes_", None)
    if method == "decision_function" and (classes is None or len(classes) <= _BINARY):
        return TensorSpec(method, FP64, (-1,))
    if method != "predict":
        return TensorSpec(method, FP64, (-1, -1))
    datatype: Datatype = FP64
    if isinstance(classes, np.ndarray):
        datatype = datatype_of(classes) if classes.dtype != np.object_ else BYTES
    elif hasattr(estimator, "cluster_centers_"):
        datatype = INT64
    return TensorSpec(method, datatype, (-1, *_target_shape(estimator)))


def _target_shape(estimator: Any) -> tuple[int, ...]:
    targets = getattr(estimator, "n_outputs_", 1)
    return (int(targets),) if isinstance(targets, (int, np.integer)) and targets > 1 else ()
