"""The identity as a custom runtime of MLServer: gives back every tensor that it gets."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput


class Identity(MLModel):
    """Does what MLServer leaves to the author of a runtime: requested outputs, and decoding."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = {tensor.name: _output(tensor) for tensor in payload.inputs}
        if payload.outputs:
            for wanted in payload.outputs:
                if wanted.name not in outputs:
                    raise InferenceError(f"the model has no output '{wanted.name}'")
            outputs = {wanted.name: outputs[wanted.name] for wanted in payload.outputs}
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=list(outputs.values()))


def _output(tensor: RequestInput) -> ResponseOutput:
    """Numbers through MLServer's codec for arrays, as models do; strings as they are, because it changes them."""
    if tensor.datatype == "BYTES":
        return ResponseOutput(name=tensor.name, shape=tensor.shape, datatype=tensor.datatype, data=tensor.data)
    array = NumpyCodec.decode_input(tensor)
    encoded = NumpyCodec.encode_output(tensor.name, array)
    encoded.shape = list(array.shape)  # the codec makes [2] of it [2, 1]
    return encoded
