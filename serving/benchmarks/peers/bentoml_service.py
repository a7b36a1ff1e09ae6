"""BentoML: a method a model; it does not speak V2, so it gets its own plain form, `{"x": [[…]]}`."""

from __future__ import annotations

from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.validators import DType
from loading import NAMES, batching, load

Rows = Annotated[np.ndarray, DType("float32")]
BATCHING: dict[str, Any] = {"batchable": True, "max_batch_size": 32} if batching() else {}


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 256}, metrics={"enabled": True})
class Models:
    """All five; the batcher of BentoML adapts itself, so that it gets no delay of ours."""

    def __init__(self) -> None:
        self.models = {name: load(name) for name in NAMES}

    @bentoml.api(**BATCHING)
    def iris(self, x: Rows) -> np.ndarray:
        return self.models["iris"](x)

    @bentoml.api(**BATCHING)
    def forest(self, x: Rows) -> np.ndarray:
        return self.models["forest"](x)

    @bentoml.api
    def boost(self, x: Rows) -> np.ndarray:
        return self.models["boost"](x)

    @bentoml.api
    def mlp(self, x: Rows) -> np.ndarray:
        return self.models["mlp"](x)

    @bentoml.api
    def sum(self, x: Rows) -> np.ndarray:
        return self.models["sum"](x)
