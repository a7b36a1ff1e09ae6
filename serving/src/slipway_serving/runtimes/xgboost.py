"""XGBoost models, as `save_model` writes them: UBJSON or JSON."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import xgboost

from slipway_serving.config import ModelConfig
from slipway_serving.cpus import available_cpus
from slipway_serving.datatypes import FP32, Array
from slipway_serving.errors import ModelLoadError
from slipway_serving.runtimes.boosting import BoostedTrees, Scores, Trees
from slipway_serving.runtimes.formats import reason
from slipway_serving.runtimes.ubjson import check_ubjson

_Refusal = xgboost.core.XGBoostError
_SCORES = {
    "binary:logistic": Scores.BINARY,
    "binary:hinge": Scores.LABELS,
    "multi:softprob": Scores.CLASSES,
}
_HINT = "save it with model.save_model('model.ubj'), by the version of XGBoost that can still read it"


def load(path: Path, config: ModelConfig) -> BoostedTrees:
    booster = _read(path)
    features = booster.num_features()
    try:
        objective = _configure(booster)
        score = _score(booster)
        tail = score(np.full((1, features), np.nan, np.float32)).shape[1:]
    except (ValueError, KeyError) as error:
        raise ModelLoadError(f"{path} cannot predict: {reason(error)}", _HINT) from error
    scores = _SCORES.get(objective, Scores.VALUES)
    trees = Trees(score, scores, tail, features, tuple(booster.feature_names or ()), FP32, _Refusal)
    return BoostedTrees(trees, config)


def _read(path: Path) -> xgboost.Booster:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelLoadError(f"{path} cannot be read: {error.strerror}") from None
    booster = xgboost.Booster()
    try:
        booster.load_model(_whole(content))
    except ValueError as error:  # as the library's own errors are
        raise _unreadable(path, reason(error)) from error
    return booster


def _whole(content: bytes) -> bytearray:
    """The document, if it is whole: the library ends the process where one is empty or cut off. Raises ValueError."""
    if not content.startswith(b"{"):
        raise ValueError("it is neither JSON nor UBJSON")
    if content[1:2].isalpha():
        check_ubjson(content)
    else:
        orjson.loads(content)
    return bytearray(b"{" + content[1:].lstrip())  # by its second byte the library tells JSON


def _unreadable(path: Path, why: str) -> ModelLoadError:
    return ModelLoadError(f"{path} is not a model that XGBoost {xgboost.__version__} reads: {why}", _HINT)


def _configure(booster: xgboost.Booster) -> str:
    """Sets the threads, and returns the objective; a model that says only the class is made to say probabilities."""
    booster.set_param({"nthread": available_cpus()})
    objective = str(json.loads(booster.save_config())["learner"]["objective"]["name"])
    if objective == "multi:softmax":
        objective = "multi:softprob"
        booster.set_param({"objective": objective})
    return objective


def _score(booster: xgboost.Booster) -> Callable[[Array], Any]:
    rounds = _rounds(booster)
    if json.loads(booster.save_config())["learner"]["gradient_booster"]["name"] != "gblinear":

        def score(data: Array) -> Any:
            return booster.inplace_predict(data, iteration_range=rounds, validate_features=False)

        return score

    lock = threading.Lock()  # only trees may be asked by several threads at once

    def score_linear(data: Array) -> Any:
        with lock:
            return booster.predict(xgboost.DMatrix(data), validate_features=False)

    return score_linear


def _rounds(booster: xgboost.Booster) -> tuple[int, int]:
    """The trees that count. After early stopping scikit-learn's interface uses the best ones, the Booster all."""
    best = booster.attr("best_iteration")
    return (0, int(best) + 1) if best is not None and booster.attr("scikit_learn") is not None else (0, 0)
