"""Documents that a model made itself, as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from slipway_serving.errors import ModelFailedError, NotRepresentableError

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def dumps(document: Any) -> bytes:
    """A document as JSON; arrays become lists.

    Raises NotRepresentableError for NaN and infinity, naming their place, and ModelFailedError for what is no JSON.
    """
    try:
        check_finite(document, "")
        return orjson.dumps(document, option=_OPTIONS)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise ModelFailedError(f"the model's answer cannot be written as JSON: {error}") from None


def check_finite(value: Any, where: str) -> None:
    """Raises NotRepresentableError for the first number that JSON has no form for."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_finite(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            check_finite(item, f"{where}[{index}]")
    elif isinstance(value, (float, np.floating)):
        if not math.isfinite(value):
            raise NotRepresentableError(f"the answer's {where} is {value}, which JSON cannot carry")
    elif isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
        raise NotRepresentableError(f"the answer's {where} has NaN or infinity, which JSON cannot carry")
