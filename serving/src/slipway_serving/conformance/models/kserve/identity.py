"""The identity for KServe's Python server: gives back every tensor that it gets, in the form that is asked for."""

from __future__ import annotations

from typing import Any

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelRepository, ModelServer, model_server
from kserve.errors import InvalidInput
from kserve.utils.utils import generate_uuid


class Identity(Model):
    """Does what KServe leaves to the author of a model: ids, requested outputs over gRPC, and binary outputs."""

    def load(self) -> bool:
        self.ready = True
        return self.ready

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:  # noqa: ARG002
        if not isinstance(payload, InferRequest):
            return {"predictions": payload["instances"]}
        outputs = {each.name: _output(each) for each in payload.inputs}
        for wanted in payload.request_outputs or ():
            if wanted.name not in outputs:
                raise InvalidInput(f"the model has no output '{wanted.name}'")
        if payload.from_grpc and payload.request_outputs:
            outputs = {each.name: outputs[each.name] for each in payload.request_outputs}
        return InferResponse(
            payload.id or generate_uuid(),
            self.name,
            list(outputs.values()),
            requested_outputs=payload.request_outputs,
            use_binary_outputs=payload.use_binary_outputs,
            from_grpc=payload.from_grpc,
        )


class Repository(ModelRepository):
    """Loads the model again after it was unloaded, which KServe's own cannot."""

    def load(self, name: str) -> bool:
        if name != "identity":
            return False
        made = Identity(name)
        made.load()
        self.update(made)
        return made.ready


def _output(tensor: Any) -> InferOutput:
    # Lists, because KServe 0.21 fails where raw gRPC outputs are arrays ("truth value … is ambiguous").
    return InferOutput(tensor.name, list(tensor.shape), tensor.datatype, tensor.as_numpy().ravel().tolist())


if __name__ == "__main__":
    model_server.parser.parse_args()  # --http_port, --grpc_port and more, which ModelServer reads
    model = Identity("identity")
    model.load()
    ModelServer(registered_models=Repository()).start([model])
