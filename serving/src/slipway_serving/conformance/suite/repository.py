"""Triton's model repository, configuration and statistics extensions."""

from __future__ import annotations

from typing import Any

from slipway_serving.conformance.checks import CheckFailed, Group, NotSupported, NotTested, expect
from slipway_serving.conformance.client import Answer
from slipway_serving.conformance.suite.inference import expect_outputs
from slipway_serving.conformance.suite.metadata import expect_error
from slipway_serving.conformance.target import Target

REPOSITORY = Group("repository", "Triton, Model Repository Extension")
LOADING = Group("loading", "Triton, Model Repository Extension")
"""Comes last of all: where a server does not load the model again, nothing can be checked any more."""
INTROSPECTION = Group("introspection", "Triton, Model Configuration and Statistics Extensions")
_INDEX = "/v2/repository/index"
_ABSENT = (404, 405, 501)


def offered(answer: Answer) -> Answer:
    """The answer. Raises NotSupported where the path is not there."""
    if answer.status in _ABSENT:
        raise NotSupported(answer.seen)
    return answer


def _index(target: Target, body: bytes) -> list[Any]:
    answer = offered(target.client.post(_INDEX, body))
    expect(answer.status == 200, answer.seen)
    entries: list[Any] = answer.document()
    expect(isinstance(entries, list), answer.seen)
    for entry in entries:
        strings = isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("name", "state"))
        expect(strings, f"an entry without name or state: {entry!r:.120}")
        expect(isinstance(entry.get("reason", ""), str), f"a reason that is no string: {entry!r:.120}")
        expect(isinstance(entry.get("version", ""), str), f"a version that is no string: {entry!r:.120}")
    return entries


@REPOSITORY.extension(
    "index", "POST /v2/repository/index lists models with name, state, and a reason where there is one"
)
def index(target: Target) -> str:
    entries = _index(target, b"{}")
    mine = [entry for entry in entries if entry["name"] == target.model]
    expect(bool(mine), f"'{target.model}' is not among {len(entries)} entries")
    expect(any(entry["state"] == "READY" for entry in mine), f"{mine!r:.200}")
    return f"200 {mine!r:.150}"


@REPOSITORY.extension("index-ready", '{"ready": true} leaves only models that are ready')
def index_ready(target: Target) -> str:
    entries = _index(target, b'{"ready": true}')
    expect(all(entry["state"] == "READY" for entry in entries), f"{entries!r:.200}")
    return f"200, {len(entries)} ready"


@REPOSITORY.extension("index-empty-body", "the body may be empty: tritonclient sends none")
def index_empty_body(target: Target) -> str:
    return f"200, {len(_index(target, b''))} entries"


def _require(target: Target) -> None:
    """Raises NotSupported. KServe loads and unloads without an index, under a name of its own for the extension."""
    if not any("model_repository" in extension for extension in target.extensions):
        offered(target.client.post(_INDEX, {}))


@LOADING.extension("unknown-model", 'loading a model that is not there is a 4xx with {"error": string}')
def load_unknown(target: Target) -> str:
    _require(target)
    answer = target.client.post("/v2/repository/models/no-such-model-a7f3/load", {})
    expect(400 <= answer.status < 500, answer.seen)
    return expect_error(answer)


@LOADING.extension("load", "loading a model that is loaded answers 200, and it stays ready")
def load(target: Target) -> str:
    _require(target)
    _require_permission(target)
    answer = target.client.post(f"/v2/repository/models/{target.model}/load", {})
    expect(answer.status == 200, answer.seen)
    expect(target.client.get(target.path("/ready")).status == 200, "the model is not ready after it")
    return answer.seen


@LOADING.extension("unload", "a model that is unloaded is not ready, refuses inference as an error, and loads again")
def unload(target: Target) -> str:
    _require(target)
    _require_permission(target)
    path = f"/v2/repository/models/{target.model}"
    answer = target.client.post(f"{path}/unload", {})
    expect(answer.status == 200, answer.seen)
    try:
        unready = target.client.get(target.path("/ready"))
        expect(unready.status >= 400, f"ready after unload: {unready.seen}")
        expect_error(target.infer())
    finally:
        again = target.client.post(f"{path}/load", {})
    expect(again.status == 200, again.seen)
    expect_outputs(target.infer())
    return answer.seen


def _require_permission(target: Target) -> None:
    if not target.unload:
        raise NotTested("only with --unload, because the model is not available meanwhile")


@INTROSPECTION.extension("config", "GET /v2/models/M/config answers the model's configuration, with its name")
def config(target: Target) -> str:
    answer = offered(target.client.get(target.path("/config")))
    expect(answer.status == 200 and answer.object().get("name") == target.model, answer.seen)
    return answer.seen


def _statistics(target: Target, path: str) -> dict[str, Any]:
    answer = offered(target.client.get(path))
    expect(answer.status == 200, answer.seen)
    entries = answer.object().get("model_stats")
    expect(isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries), answer.seen)
    for entry in entries if isinstance(entries, list) else []:
        if entry.get("name") == target.model:
            return dict(entry)
    raise CheckFailed(f"no statistics of '{target.model}': {answer.seen}")


@INTROSPECTION.extension("stats", "GET /v2/models/M/stats counts inferences")
def stats(target: Target) -> str:
    before = _statistics(target, target.path("/stats")).get("inference_count", 0)
    expect_outputs(target.infer())
    after = _statistics(target, target.path("/stats")).get("inference_count", 0)
    expect(after > before, f"inference_count was {before}, and is {after} after one more")
    return f"inference_count {before}, then {after}"


@INTROSPECTION.extension("stats-fields", "statistics have success, fail, queue and compute times, each a count and ns")
def stats_fields(target: Target) -> str:
    found = _statistics(target, target.path("/stats")).get("inference_stats")
    for key in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
        entry = found.get(key) if isinstance(found, dict) else None
        numbers = isinstance(entry, dict) and all(type(entry.get(field)) is int for field in ("count", "ns"))
        expect(numbers, f"{key}: {entry!r:.80}")
    return f"{found!r:.150}"


@INTROSPECTION.extension("stats-all", "GET /v2/models/stats answers the statistics of all models")
def stats_all(target: Target) -> str:
    _statistics(target, "/v2/models/stats")
    return "200"
