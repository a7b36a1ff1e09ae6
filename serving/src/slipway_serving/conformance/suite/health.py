"""Health of the server and of a model."""

from __future__ import annotations

from slipway_serving.conformance.checks import CheckFailed, Group, expect
from slipway_serving.conformance.target import Target

HEALTH = Group("health", "REST, Health")
UNKNOWN = "/v2/models/no-such-model-a7f3"


def _is_ok(target: Target, path: str) -> str:
    answer = target.client.get(path)
    expect(answer.status == 200, answer.seen)
    return answer.seen


@HEALTH.required("live", "GET /v2/health/live answers 200 while the server is alive", "REST, Server Live")
def live(target: Target) -> str:
    return _is_ok(target, "/v2/health/live")


@HEALTH.required("ready", "GET /v2/health/ready answers 200 once all models are ready", "REST, Server Ready")
def ready(target: Target) -> str:
    return _is_ok(target, "/v2/health/ready")


@HEALTH.required("model-ready", "GET /v2/models/M/ready answers 200 once the model is ready", "REST, Model Ready")
def model_ready(target: Target) -> str:
    return _is_ok(target, target.path("/ready"))


@HEALTH.required("unknown-model", "a model that is not there is not ready: the status is a 4xx", "REST, Model Ready")
def unknown_model(target: Target) -> str:
    answer = target.client.get(f"{UNKNOWN}/ready")
    expect(400 <= answer.status < 500, answer.seen)
    return answer.seen


@HEALTH.required(
    "bodies", 'a body is empty (older text) or {"live": bool}, {"ready": bool} and {"name", "ready": bool} (newer text)'
)
def bodies(target: Target) -> str:
    seen = []
    for path, keys in (
        ("/v2/health/live", ("live",)),
        ("/v2/health/ready", ("ready", "live")),  # the text prints "live" for both
        (target.path("/ready"), ("ready",)),
    ):
        answer = target.client.get(path)
        seen.append(answer.seen)
        if answer.body:
            document = answer.object()
            expect(any(document.get(key) is True for key in keys), answer.seen)
    return "; ".join(seen)


@HEALTH.robust("slash", "a slash at the end of a health path makes no difference, and no redirect")
def slash(target: Target) -> str:
    return _is_ok(target, "/v2/health/live/")


@HEALTH.robust("method", 'a POST to a health path is a 405 with {"error": …}', "RFC 9110, 15.5.6")
def method(target: Target) -> str:
    answer = target.client.post("/v2/health/live", {})
    expect(answer.status == 405, answer.seen)
    expect(isinstance(answer.object().get("error"), str), answer.seen)
    if not answer.headers.get("allow"):
        raise CheckFailed(f"405 without the header Allow: {answer.seen}")
    return answer.seen
