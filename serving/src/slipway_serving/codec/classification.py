"""Triton's classification extension: an output's highest values, each as `value:index` in a string.

https://github.com/triton-inference-server/server (docs/protocol/extension_classification.md, src/classification.cc)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from slipway_serving.datatypes import Array, Tensors
from slipway_serving.errors import InvalidInputError
from slipway_serving.signature import Signature, count

CLASSIFICATION = "classification"
"""The parameter of a requested output: how many classes; 0 asks for the output itself."""


def class_count(value: object, where: str) -> int:
    """The parameter's value. Raises InvalidInputError."""
    if type(value) is not int or value < 0:
        raise InvalidInputError(f"{where}.parameters['{CLASSIFICATION}'] must be a whole number, got {value!r:.40}")
    return value


@dataclass(frozen=True, slots=True)
class Classes:
    """What a request wants classified: how many classes, by output."""

    counts: Mapping[str, int]
    by_row: bool
    """Whether the first dimension is a batch, of which each row is classified; else the whole tensor is."""

    def of(self, outputs: Tensors) -> Tensors:
        """The outputs, with what is to be classified as BYTES of shape [batch, classes] or [classes].

        The highest value comes first, of equal ones the lower index, and NaN last. There are no more classes than
        elements. Raises InvalidInputError for an output of other than integers, FP16, FP32 or FP64.
        """
        return {name: self._top(name, array) if name in self.counts else array for name, array in outputs.items()}

    def _top(self, name: str, array: Array) -> Array:
        kind = array.dtype.kind
        if kind not in "iuf":
            raise InvalidInputError(f"output '{name:.80}' cannot be classified: only integers, FP16, FP32 and FP64 can")
        lead, rest = (array.shape[:1], array.shape[1:]) if self.by_row else ((), array.shape)
        values = array.reshape(count(lead), count(rest)).astype(np.float64 if kind == "f" else array.dtype)
        order = np.argsort(-values if kind == "f" else ~values, axis=1, kind="stable")[:, : self.counts[name]]
        pairs = zip(np.take_along_axis(values, order, axis=1).ravel().tolist(), order.ravel().tolist(), strict=True)
        form = "%f:%d" if kind == "f" else "%d:%d"  # as std::to_string writes them
        return np.array([(form % pair).encode() for pair in pairs], dtype=np.object_).reshape(*lead, order.shape[1])


def classes(counts: Mapping[str, int], signature: Signature) -> Classes | None:
    """None where nothing is to be classified."""
    wanted = {name: wanted for name, wanted in counts.items() if wanted}
    return Classes(wanted, signature.is_batch) if wanted else None
