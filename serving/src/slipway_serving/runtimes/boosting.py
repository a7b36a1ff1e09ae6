"""What gradient-boosted trees of any library have in common: rows of numbers in, labels or values out.

The output `predict` is what scikit-learn calls by this name: the class, as a number from 0, or the value. A classifier
also has `predict_proba`, computed where a request asks for it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from slipway_serving.config import ModelConfig
from slipway_serving.datatypes import BOOL, INT64, NUMERIC, Array, Datatype, Tensors
from slipway_serving.errors import InvalidInputError
from slipway_serving.runtimes.base import Inference
from slipway_serving.runtimes.formats import reason
from slipway_serving.runtimes.tensors import declared_specs
from slipway_serving.signature import Shape, Signature, TensorSpec

INPUT = "x"
PREDICT = "predict"
PROBABILITIES = "predict_proba"
_THRESHOLD = 0.5


class Scores(enum.Enum):
    """What the scores of a model are."""

    VALUES = "values"
    LABELS = "the classes themselves"
    BINARY = "the probability of class 1, of one target or of several"
    CLASSES = "one probability for each class"


@dataclass(frozen=True, slots=True)
class Trees:
    """What was read out of a model."""

    score: Callable[[Array], Any]
    """The library's own prediction for n rows of features: an array of the shape (n, *tail)."""
    scores: Scores
    tail: Shape
    features: int
    columns: tuple[str, ...]
    datatype: Datatype
    """What the library computes with."""
    refusal: type[Exception]
    """What it raises for an input that it does not take."""

    def signature(self, config: ModelConfig) -> Signature:
        """Completed by `model.yaml`. Raises ModelLoadError where the two disagree."""
        name = config.inputs[0].name if len(config.inputs) == 1 else INPUT
        rows = TensorSpec(name, self.datatype, (-1, self.features), NUMERIC | {BOOL}, self.columns)
        inputs = declared_specs((rows,), config.inputs, "input")
        outputs = declared_specs(self._outputs(), config.outputs, "output")
        return Signature(inputs, outputs[:1], outputs[1:])

    def _outputs(self) -> tuple[TensorSpec, ...]:
        if self.scores is Scores.VALUES:
            return (TensorSpec(PREDICT, self.datatype, (-1, *self.tail)),)
        label = TensorSpec(PREDICT, INT64, (-1,) if self.scores is Scores.CLASSES else (-1, *self.tail))
        if self.scores is Scores.LABELS:
            return (label,)
        return label, TensorSpec(PROBABILITIES, self.datatype, (-1, *(self.tail or (2,))))


class BoostedTrees:
    """The runtime of such a model."""

    def __init__(self, trees: Trees, config: ModelConfig) -> None:
        self.signature = trees.signature(config)
        self._trees = trees
        self._input = self.signature.inputs[0].name

    def infer(self, request: Inference) -> Tensors:
        with np.errstate(over="ignore"):  # what is beyond the datatype is infinite, for the library too
            data = request.inputs[self._input].astype(self._trees.datatype.dtype, copy=False)
        scores = self._score(data)
        return {name: self._output(name, scores) for name in request.outputs or (PREDICT,)}

    def _score(self, data: Array) -> Array:
        if not len(data):
            return np.empty((0, *self._trees.tail), data.dtype)
        try:
            return np.asarray(self._trees.score(data))
        except self._trees.refusal as error:
            raise InvalidInputError(f"the model refused the input: {reason(error)}") from error

    def _output(self, name: str, scores: Array) -> Array:
        if name == PROBABILITIES:
            return np.stack([1 - scores, scores], axis=1) if scores.ndim == 1 else scores
        if self._trees.scores is Scores.CLASSES:
            classes: Array = scores.argmax(axis=1)
            return classes
        if self._trees.scores is Scores.BINARY:
            return (scores > _THRESHOLD).astype(np.int64)
        return scores.astype(np.int64) if self._trees.scores is Scores.LABELS else scores

    def close(self) -> None:
        del self._trees
