"""KServe: a `kserve.Model` each, answered by its own `get_predict_response`; without logs. HTTP_PORT GRPC_PORT."""

from __future__ import annotations

import logging
import sys
from typing import Any

ports = sys.argv[1:3]
sys.argv[1:] = []  # kserve reads the command line at import

import kserve  # noqa: E402
from kserve.utils.utils import get_predict_response  # noqa: E402
from loading import NAMES, Predict, load  # noqa: E402


class Adapter(kserve.Model):
    """`predict` is no coroutine: KServe then calls it at once, which is its cheapest way."""

    def __init__(self, name: str, predict: Predict) -> None:
        super().__init__(name)
        self._predict = predict
        self.ready = True

    def predict(self, payload: kserve.InferRequest, _headers: Any = None, _response_headers: Any = None) -> Any:
        return get_predict_response(payload, self._predict(payload.inputs[0].as_numpy()), self.name)


def without_logs() -> None:
    """Several lines a request otherwise."""
    for name in ("kserve", "kserve.trace", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()] if name == "kserve" else []
        logger.propagate = False
        logger.setLevel(logging.ERROR)


if __name__ == "__main__":
    without_logs()
    server = kserve.ModelServer(
        http_port=int(ports[0]), grpc_port=int(ports[1]), workers=1, enable_latency_logging=False
    )
    server.start([Adapter(name, load(name)) for name in NAMES])
