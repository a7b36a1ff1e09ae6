"""The example model: adds up each row."""

from __future__ import annotations

from slipway_serving.datatypes import Array, Tensors


class Model:
    """As `runtimes/python.py` describes it."""

    def predict(self, inputs: Tensors) -> Array:
        """One sum a row."""
        sums: Array = inputs["x"].sum(axis=1)
        return sums
