"""MLServer has no runtime for ONNX on the index: this is a small one. Scikit-learn models run in its own."""

from __future__ import annotations

from pathlib import Path

from loading import load_onnx
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri


class OnnxModel(MLModel):
    """One session."""

    async def load(self) -> bool:
        self._predict = load_onnx(Path(await get_model_uri(self._settings)))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        result = self._predict(self.decode(payload.inputs[0], default_codec=NumpyCodec))
        output = NumpyCodec.encode_output("predict", result)
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])
