"""The older protocol V1, as TensorFlow Serving and KServe have it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from slipway_serving.conformance.checks import Group, expect
from slipway_serving.conformance.client import Answer
from slipway_serving.conformance.suite.metadata import expect_error
from slipway_serving.conformance.suite.repository import offered
from slipway_serving.conformance.target import Target

V1 = Group("v1", "V1, Predict")


def _path(target: Target, suffix: str = "") -> str:
    return f"/v1/models/{quote(target.model, safe='')}{suffix}"


def _require(target: Target) -> Answer:
    return offered(target.client.get(_path(target)))


@V1.extension("model", "GET /v1/models/M answers its name and that it is ready", "V1, Model Ready")
def model(target: Target) -> str:
    answer = _require(target)
    document = answer.object()
    # TensorFlow Serving answers model_version_status instead.
    known = document.get("name") == target.model or "model_version_status" in document
    expect(answer.status == 200 and known, answer.seen)
    return answer.seen


@V1.extension("models", "GET /v1/models lists the models", "V1, List Models")
def models(target: Target) -> str:
    _require(target)
    answer = target.client.get("/v1/models")
    expect(answer.status == 200, answer.seen)
    document = answer.object()
    names = document.get("models", document.get("data"))
    expect(isinstance(names, list) and target.model in repr(names), answer.seen)
    return answer.seen


def _instances(target: Target) -> list[Any]:
    if target.echoes:
        return [[1.5, 2.5], [3.5, 4.5]]
    first = target.example()[0]
    return [_nested(first["data"], first["shape"][1:])]


def _nested(data: list[Any], shape: list[int]) -> Any:
    if not shape:
        return data[0]
    size = len(data) // shape[0] if shape[0] else 0
    return [_nested(data[at : at + size], shape[1:]) for at in range(0, len(data), size or 1)]


@V1.extension("predict", 'POST /v1/models/M:predict with {"instances": […]} answers {"predictions": […]}')
def predict(target: Target) -> str:
    _require(target)
    answer = target.client.post(_path(target, ":predict"), {"instances": _instances(target)})
    expect(answer.status == 200, answer.seen)
    expect(isinstance(answer.object().get("predictions"), (list, dict)), answer.seen)
    return answer.seen


@V1.extension("no-instances", 'a request without instances is a 4xx with {"error": string}')
def no_instances(target: Target) -> str:
    _require(target)
    answer = target.client.post(_path(target, ":predict"), b'{"instances": 7}')
    expect(400 <= answer.status < 500, answer.seen)
    return expect_error(answer)


@V1.extension("malformed", 'half a document is a 4xx with {"error": string}')
def malformed(target: Target) -> str:
    _require(target)
    answer = target.client.post(_path(target, ":predict"), b'{"instances": [')
    expect(400 <= answer.status < 500, answer.seen)
    return expect_error(answer)


@V1.extension("unknown-model", 'a model that is not there is a 404 with {"error": string}')
def unknown_model(target: Target) -> str:
    _require(target)
    answer = target.client.post("/v1/models/no-such-model-a7f3:predict", {"instances": [[1]]})
    expect(answer.status == 404, answer.seen)
    return expect_error(answer)


@V1.extension("explain", ":explain answers, or says with 501 that the model has none", "V1, Explain")
def explain(target: Target) -> str:
    _require(target)
    answer = target.client.post(_path(target, ":explain"), {"instances": _instances(target)})
    expect(answer.status in (200, 501), answer.seen)
    return answer.seen
