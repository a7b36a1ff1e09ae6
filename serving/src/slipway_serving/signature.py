"""What a model takes and gives: names, datatypes and shapes of its tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slipway_serving.datatypes import BYTES, Array, Datatype, Tensors
from slipway_serving.errors import InvalidInputError, did_you_mean

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output. In `shape`, -1 is any length; a shape of None is any shape."""

    name: str
    datatype: Datatype
    shape: Shape | None = None
    accepts: frozenset[Datatype] = frozenset()
    """Datatypes taken besides `datatype` (the model converts them itself)."""
    columns: tuple[str, ...] = ()
    """Names of the entries of the last dimension, for records by column name."""
    example: Any = None
    """A usable value, nested lists as in JSON; None where nobody gave one."""

    @property
    def is_batch(self) -> bool:
        """Whether the first dimension counts independent rows."""
        return self.shape is not None and len(self.shape) > 0 and self.shape[0] == -1

    def metadata(self) -> dict[str, Any]:
        """As in the metadata of V2; an unknown shape is `[-1]`, the protocol has no word for it."""
        return {
            "name": self.name,
            "datatype": self.datatype.name,
            "shape": [-1] if self.shape is None else list(self.shape),
        }

    def check(self, datatype: Datatype, shape: Sequence[int]) -> None:
        """Raises InvalidInputError where a tensor of this datatype and shape is not what the model takes."""
        if datatype is not self.datatype and datatype not in self.accepts:
            raise InvalidInputError(f"input '{self.name}' has datatype {datatype}, but the model takes {self.datatype}")
        wanted = self.shape
        if wanted is None or tuple(shape) == wanted:
            return
        if len(shape) != len(wanted) or any(want not in (-1, got) for want, got in zip(wanted, shape, strict=True)):
            raise InvalidInputError(
                f"input '{self.name}' has shape {list(shape)}, but the model takes {list(wanted)} (-1 is any length)"
            )

    def example_array(self) -> Array:
        """The example, or ones (for strings, the word "text") with every free dimension 1."""
        shape = [1 if length == -1 else length for length in self.shape or ()]
        if self.example is not None:
            array = np.array(self.example, dtype=self.datatype.dtype)
            return as_bytes(array) if self.datatype is BYTES else array
        return np.full(shape, b"text" if self.datatype is BYTES else 1, dtype=self.datatype.dtype)


@dataclass(frozen=True, slots=True)
class Signature:
    """The tensors of a model. No inputs (or outputs) means that it did not declare any, and anything goes."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    optional_outputs: tuple[TensorSpec, ...] = ()
    """Computed only where a request asks for them."""
    _inputs: dict[str, TensorSpec] = field(init=False, repr=False, compare=False)
    _outputs: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_inputs", {spec.name: spec for spec in self.inputs})
        object.__setattr__(self, "_outputs", frozenset(spec.name for spec in self.all_outputs))

    @property
    def all_outputs(self) -> tuple[TensorSpec, ...]:
        return self.outputs + self.optional_outputs

    @property
    def is_batch(self) -> bool:
        """Whether rows of several requests may share one call of the model."""
        tensors = self.inputs + self.all_outputs
        return bool(self.inputs and self.outputs) and all(spec.is_batch for spec in tensors)

    def input(self, name: str) -> TensorSpec | None:
        """The input of this name; None where the model declared none. Raises InvalidInputError for any other name."""
        spec = self._inputs.get(name)
        if spec is None and self._inputs:
            raise InvalidInputError(f"the model has no input '{name:.80}'; {did_you_mean(name, self._inputs)}")
        return spec

    def check_complete(self, given: Mapping[str, Any]) -> None:
        """Raises InvalidInputError naming the inputs that a request lacks."""
        if len(given) < len(self._inputs):
            missing = [name for name in self._inputs if name not in given]
            raise InvalidInputError(
                f"missing input {', '.join(map(repr, missing))}; the model takes {self._described()}"
            )

    def check_outputs(self, names: Sequence[str]) -> None:
        """Raises InvalidInputError for a requested output that the model does not have."""
        for name in names:
            if self._outputs and name not in self._outputs:
                raise InvalidInputError(f"the model has no output '{name:.80}'; {did_you_mean(name, self._outputs)}")

    def example(self) -> Tensors:
        """A request that the model should be able to answer; empty where it declared no inputs."""
        return {spec.name: spec.example_array() for spec in self.inputs}

    def _described(self) -> str:
        return ", ".join(f"'{spec.name}' ({spec.datatype} {list(spec.shape or ())})" for spec in self.inputs)


def as_bytes(array: Array) -> Array:
    """An array of strings (str, bytes or numpy's own kinds) as an object array of bytes."""
    flat = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()]
    result = np.empty(len(flat), dtype=np.object_)
    result[:] = flat
    return result.reshape(array.shape)


def count(shape: Sequence[int]) -> int:
    """How many elements a tensor of this shape has; 1 for a scalar."""
    return math.prod(shape)
