"""A small, exact Open Inference Protocol server.

A Python model imports only `InvalidInputError` from here, where it refuses an input with a sentence of its own.
"""

from __future__ import annotations

from slipway_serving.errors import InvalidInputError

__all__ = ["InvalidInputError", "__version__"]

__version__ = "0.1.0"
