"""LightGBM models, as `Booster.save_model` writes them: text."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from slipway_serving.config import ModelConfig
from slipway_serving.cpus import available_cpus
from slipway_serving.datatypes import FP64, Array
from slipway_serving.errors import ModelLoadError
from slipway_serving.runtimes.boosting import BoostedTrees, Scores, Trees
from slipway_serving.runtimes.formats import reason

_Refusal = lightgbm.basic.LightGBMError
_SCORES = {
    "binary": Scores.BINARY,
    "multiclass": Scores.CLASSES,
    "multiclassova": Scores.CLASSES,
}
_HINT = "save it anew with booster.save_model('model.txt'), and copy it as it is (no line ends changed)"
_MADE_UP = re.compile(r"Column_\d+")


def load(path: Path, config: ModelConfig) -> BoostedTrees:
    lightgbm.register_logger(logging.getLogger("slipway_serving.lightgbm"))
    text = _read(path)
    threads = available_cpus()
    try:
        booster = lightgbm.Booster(model_str=text)
    except _Refusal as error:
        raise _unreadable(path, reason(error)) from error
    features = booster.num_feature()

    def score(data: Array) -> Any:
        return booster.predict(data, num_threads=threads)

    tail = score(np.full((1, features), np.nan)).shape[1:]
    scores = _SCORES.get(_header(text).get("objective", "").split(" ")[0], Scores.VALUES)
    return BoostedTrees(Trees(score, scores, tail, features, _columns(booster), FP64, _Refusal), config)


def _columns(booster: lightgbm.Booster) -> tuple[str, ...]:
    """The names of the features, unless the library made them up."""
    names = tuple(booster.feature_name())
    return () if all(_MADE_UP.fullmatch(name) for name in names) else names


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        text = content.decode()
    except OSError as error:
        raise ModelLoadError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not text") from None
    if not text.startswith("tree\n"):
        raise _unreadable(path, "it does not begin with a line 'tree'")
    _check_trees(path, content, _header(text).get("tree_sizes"))
    return text


def _header(text: str) -> dict[str, str]:
    lines = text[: text.find("\n\n")].splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _check_trees(path: Path, content: bytes, sizes: str | None) -> None:
    """Every tree where the header says. The library ends the whole process where a tree is cut off."""
    if sizes is None:
        raise _unreadable(path, "its header does not list its trees")
    position = content.find(b"\n\n") + 2
    for index, size in enumerate(sizes.split()):
        tree = content[position : position + int(size)] if size.isdigit() else b""
        if not tree.startswith(b"Tree=%d\n" % index) or b"\nleaf_value=" not in tree:
            raise _unreadable(path, f"tree {index} is not where its header says; the file is cut off or changed")
        position += len(tree)
    if not content.startswith(b"end of trees", position):
        raise _unreadable(path, "its trees do not end where its header says; the file is cut off or changed")


def _unreadable(path: Path, why: str) -> ModelLoadError:
    return ModelLoadError(f"{path} is not a model that LightGBM {lightgbm.__version__} reads: {why}", _HINT)
