"""The server under test and the model that drives it: known from its metadata, and from what it echoes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from slipway_serving.conformance.checks import CheckFailed, NotTested, expect
from slipway_serving.conformance.client import Answer, Client
from slipway_serving.conformance.tensors import DATATYPES, SAMPLES, expect_same

DEFAULT_MODEL = "identity"
_OK = 200
_SHAPE = [2, 2]
_NO_ECHO = "the model does not echo {}; serve the model `identity` (conformance --write-models DIRECTORY)"

Tensor = dict[str, Any]


@dataclass(slots=True)
class Target:
    """A server, and what is known of the model before the first check."""

    client: Client
    model: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Of the model; empty where the server did not tell."""
    extensions: frozenset[str] = frozenset()
    echoes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Input and output by datatype, of those that the model gives back as it gets them."""
    several: bool = False
    """Whether the model echoes any number of tensors under the names that they have."""
    grpc: str = ""
    """HOST:PORT; empty where gRPC is not to be tested."""
    unload: bool = False
    """Whether the model may be unloaded and loaded again."""

    def describe(self) -> str:
        """What the model is good for here, for people."""
        if self.several:
            return "it echoes any tensors, so all checks can be made"
        if self.echoes:
            return f"it echoes {', '.join(self.echoes)}; checks of other datatypes cannot be made"
        if self.declared:
            return "it gives back other values than it gets; the checks are made as far as its metadata allows"
        return "its metadata tells nothing, and it does not echo; serve the model `identity` to check more"

    def path(self, suffix: str = "", version: str = "") -> str:
        versions = f"/versions/{quote(version, safe='')}" if version else ""
        return f"/v2/models/{quote(self.model, safe='')}{versions}{suffix}"

    @property
    def versions(self) -> list[str]:
        found = self.metadata.get("versions")
        return [str(version) for version in found] if isinstance(found, list) else []

    @property
    def declared(self) -> list[Mapping[str, Any]]:
        """The inputs of the model's metadata, those that make sense."""
        inputs = self.metadata.get("inputs")
        found = inputs if isinstance(inputs, list) else []
        return [each for each in found if isinstance(each, dict) and each.get("datatype") in {*DATATYPES, "BF16"}]

    def tensor(self, datatype: str, shape: Sequence[int] = (), **changes: Any) -> Tensor:
        """An input of four known values that the model gives back. Raises NotTested where it does not."""
        if datatype not in self.echoes:
            raise NotTested(_NO_ECHO.format(datatype))
        name = self.echoes[datatype][0]
        made = {"name": name, "shape": list(shape or _SHAPE), "datatype": datatype, "data": SAMPLES[datatype]}
        return {key: value for key, value in (made | changes).items() if value is not None}

    def any_tensor(self) -> str:
        """A datatype with a JSON form that the model echoes. Raises NotTested."""
        for datatype in ("INT32", "FP32", *self.echoes):
            if datatype in self.echoes:
                return datatype
        raise NotTested(_NO_ECHO.format("any datatype"))

    def example(self) -> list[Tensor]:
        """Inputs that the model should be able to answer. Raises NotTested where nobody can tell."""
        if self.echoes:
            return [self.tensor(self.any_tensor())]
        if not self.declared:
            raise NotTested("the model's metadata does not tell what it takes")
        return [_example(each) for each in self.declared]

    def infer(self, document: Any = None, headers: Mapping[str, str] | None = None, **keys: Any) -> Answer:
        """Posts an inference request: the document, else the model's example with further keys."""
        if document is None:
            document = {"inputs": self.example(), **keys}
        return self.client.post(self.path("/infer"), document, headers)

    def echoed(self, datatype: str, document: Mapping[str, Any]) -> Tensor:
        """The output of an answer that gives back the input of a datatype. Raises CheckFailed."""
        name = self.echoes[datatype][1]
        for output in document.get("outputs", []):
            if isinstance(output, dict) and output.get("name") == name:
                return output
        raise CheckFailed(f"the answer has no output '{name}': {document!r:.200}")


def _example(declared: Mapping[str, Any]) -> Tensor:
    datatype = declared["datatype"]
    shape = [1 if length < 0 else length for length in declared.get("shape", [])]
    element: Any = {"BOOL": True, "BYTES": "a"}.get(datatype, 1)
    return {"name": declared["name"], "shape": shape, "datatype": datatype, "data": [element] * math.prod(shape)}


def discover(client: Client, model: str, *, grpc: str = "", unload: bool = False) -> Target:
    """What the server says of itself and the model, and what the model echoes. Raises OSError, HTTPException."""
    extensions = _document(client.get("/v2")).get("extensions")
    target = Target(client, model, grpc=grpc, unload=unload)
    target.extensions = frozenset(extensions if isinstance(extensions, list) else [])
    target.metadata = _document(client.get(target.path()))
    if not target.declared:
        target.echoes = dict.fromkeys(SAMPLES, ("x", "x"))
        target.several = _echoes(target, "INT32")
        if not target.several:
            target.echoes = {}
        return target
    outputs = target.metadata.get("outputs")
    if len(target.declared) == 1 and isinstance(outputs, list) and len(outputs) == 1:
        datatype = target.declared[0]["datatype"]
        target.echoes = {datatype: (target.declared[0]["name"], str(outputs[0].get("name")))}
        if not _echoes(target, datatype):
            target.echoes = {}
    return target


def _document(answer: Answer) -> dict[str, Any]:
    try:
        return answer.object() if answer.status == _OK else {}
    except CheckFailed:
        return {}


def _echoes(target: Target, datatype: str) -> bool:
    shape = _SHAPE
    declared = target.declared
    if declared and len(declared[0].get("shape", [])) != len(shape):
        return False
    try:
        answer = target.infer({"inputs": [target.tensor(datatype)]})
        expect(answer.status == _OK, answer.seen)
        output = target.echoed(datatype, answer.object())
        expect_same(datatype, SAMPLES[datatype], output.get("data"), answer.seen)
    except (CheckFailed, OSError, HTTPException):
        return False
    return True
