"""Versions of a model, which the protocol leaves to the server."""

from __future__ import annotations

from slipway_serving.conformance.checks import Group, NotSupported, expect
from slipway_serving.conformance.suite.inference import expect_outputs
from slipway_serving.conformance.suite.metadata import expect_error
from slipway_serving.conformance.target import Target

VERSIONS = Group("versions", "REST, paths with [/versions/V]")
_UNKNOWN = "987654321"


def _version(target: Target) -> str:
    if not target.versions:
        raise NotSupported("the model's metadata names no versions")
    return target.versions[-1]


@VERSIONS.extension("metadata", "a version that the metadata names has metadata of its own")
def metadata(target: Target) -> str:
    answer = target.client.get(target.path(version=_version(target)))
    expect(answer.status == 200 and answer.object().get("name") == target.model, answer.seen)
    return answer.seen


@VERSIONS.extension("ready", "it is ready under its own path")
def ready(target: Target) -> str:
    answer = target.client.get(target.path("/ready", _version(target)))
    expect(answer.status == 200, answer.seen)
    return answer.seen


@VERSIONS.extension("infer", "it answers inference under its own path, and says so in model_version")
def infer(target: Target) -> str:
    version = _version(target)
    answer = target.client.post(target.path("/infer", version), {"inputs": target.example()})
    expect(expect_outputs(answer).get("model_version") == version, answer.seen)
    return answer.seen


@VERSIONS.required("unknown", 'a version that is not there is an error status with {"error": string}')
def unknown(target: Target) -> str:
    return expect_error(target.client.get(target.path(version=_UNKNOWN)))


@VERSIONS.required("unknown-infer", "so it is for inference")
def unknown_infer(target: Target) -> str:
    return expect_error(target.client.post(target.path("/infer", _UNKNOWN), {"inputs": target.example()}))


@VERSIONS.robust("not-found", "that status is 404")
def not_found(target: Target) -> str:
    answer = target.client.get(target.path(version=_UNKNOWN))
    expect(answer.status == 404, answer.seen)
    return answer.seen
