"""The first call of a model, before anybody's request: what is slow once is slow then."""

from __future__ import annotations

import logging

from slipway_serving.config import FILE_NAME
from slipway_serving.errors import ModelLoadError
from slipway_serving.runtimes.base import Inference, Runtime
from slipway_serving.runtimes.base import warm_up as call_once
from slipway_serving.runtimes.formats import reason

log = logging.getLogger("slipway_serving")


def warm_up(runtime: Runtime, name: str) -> None:
    """One call with the example. Only an example that a person gave must work; one made up from shapes need not fit."""
    signature = runtime.signature
    if not signature.inputs:
        return
    try:
        call_once(runtime, Inference(signature.example()))
    except Exception as error:
        said = reason(error)
        if all(spec.example is not None for spec in signature.inputs):
            raise ModelLoadError(f"the model failed on its own example: {said}") from error
        log.warning(
            "model '%s' did not take a made-up example (%s); give one in %s to warm it up", name, said, FILE_NAME
        )
