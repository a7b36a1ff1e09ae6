"""LitServe: an API a model; it does not speak V2, so the adapter does. PORT."""

from __future__ import annotations

import sys
from typing import Any

import litserve
import numpy as np
from loading import NAMES, batching, load


class Adapter(litserve.LitAPI):
    """V2 JSON of one FP32 input."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(api_path=f"/v2/models/{name}/infer", **options)
        self.name = name

    def setup(self, _device: str) -> None:
        self.model = load(self.name)

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  # LitServe reads the types
        tensor = request["inputs"][0]
        return np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"])

    def batch(self, inputs: list[Any]) -> Any:
        return np.concatenate(inputs)

    def predict(self, inputs: Any) -> Any:
        return self.model(inputs)

    def unbatch(self, output: Any) -> list[Any]:
        return [output[row : row + 1] for row in range(len(output))]

    def encode_response(self, output: Any) -> dict[str, Any]:
        datatype = {"int64": "INT64", "float64": "FP64", "float32": "FP32"}[output.dtype.name]
        tensor = {"name": "y", "datatype": datatype, "shape": list(output.shape), "data": output.ravel().tolist()}
        return {"model_name": self.name, "outputs": [tensor]}


if __name__ == "__main__":
    options = {"max_batch_size": 32, "batch_timeout": 0.005} if batching() else {}
    server = litserve.LitServer([Adapter(name, **options) for name in NAMES], accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        log_level="error",
        access_log=False,
        generate_client_file=False,
    )
