"""A small, exact Open Inference Protocol server.

A Python model imports only `InvalidInputError` from here, where it refuses an input with a sentence of its own. A
package that brings a format of its own (`slipway_serving.runtimes.formats` says how) writes a `Runtime` with the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from slipway_serving.errors import InvalidInputError, ModelLoadError

if TYPE_CHECKING:
    from slipway_serving.config import ModelConfig
    from slipway_serving.datatypes import DATATYPES, Datatype, Tensors
    from slipway_serving.runtimes.base import (
        AsyncRuntime,
        Inference,
        OperationsRuntime,
        Runtime,
        Stream,
        StreamingRuntime,
    )
    from slipway_serving.runtimes.tensors import declared_specs
    from slipway_serving.signature import Signature, TensorSpec

__all__ = [
    "DATATYPES",
    "AsyncRuntime",
    "Datatype",
    "Inference",
    "InvalidInputError",
    "ModelConfig",
    "ModelLoadError",
    "OperationsRuntime",
    "Runtime",
    "Signature",
    "Stream",
    "StreamingRuntime",
    "TensorSpec",
    "Tensors",
    "__version__",
    "declared_specs",
]

__version__ = "0.1.0"

# Imported when first used: the command has to set its signal handlers before anything that takes long to import.
_PLACES = {
    "config": ("ModelConfig",),
    "datatypes": ("DATATYPES", "Datatype", "Tensors"),
    "runtimes.base": ("AsyncRuntime", "Inference", "OperationsRuntime", "Runtime", "Stream", "StreamingRuntime"),
    "runtimes.tensors": ("declared_specs",),
    "signature": ("Signature", "TensorSpec"),
}


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
