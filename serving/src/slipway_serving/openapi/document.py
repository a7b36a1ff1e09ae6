"""The whole OpenAPI document: what every server has, and the paths of each model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slipway_serving import __version__
from slipway_serving.codec import openai_requests
from slipway_serving.codec.openai_requests import CHAT, COMPLETIONS, EMBEDDINGS
from slipway_serving.models import ServedModel
from slipway_serving.openapi import models, schemas
from slipway_serving.openapi.operations import EVENTS, HTML, TEXT, content, get, post, reference, responses
from slipway_serving.openapi.schemas import COUNT, STREAM, Schema, any_of, array, closed
from slipway_serving.repository import Repository
from slipway_serving.runtimes.base import OperationsRuntime

_SERVER, _OPENAI = "server", "OpenAI"
_STRING: Schema = {"type": "string"}
_OPENAI_PATHS = {CHAT: "/v1/chat/completions", COMPLETIONS: "/v1/completions", EMBEDDINGS: "/v1/embeddings"}
_OBJECT: Schema = {"type": "object"}
_NAMED: Schema = {"type": "object", "properties": {"name": _STRING}, "required": ["name"]}


def document(repository: Repository) -> Schema:
    """The description of a server as it is now."""
    served = list(repository)
    paths = _server_paths() | _openai_paths(served)
    for model in repository.all():
        default = repository.find(model.name) is model
        paths |= models.paths(model, only=len(served) == 1 and default, default=default)
    tags = [{"name": _SERVER}, *({"name": model.name, "description": _described(model)} for model in served)]
    if any(path in paths for path in _OPENAI_PATHS.values()):
        tags.append({"name": _OPENAI, "description": "for the models that implement it"})
    return {
        "openapi": "3.1.0",
        "info": {"title": "slipway-serving", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "responses": {
                **responses("Error", schemas.ERRORS),
                **responses("OpenAIError", schemas.ERRORS),
            },
        },
    }


_DESCRIPTION = (
    "The models of this server, as they are loaded now: Open Inference Protocol V2, V1, OpenAI's API for models that "
    "implement it, and the plain form. Values are never coerced: what does not fit is refused with the field's name."
)


def _described(model: ServedModel) -> str:
    version = f", version {model.version}" if model.version else ""
    return f"{model.platform}{version}; {model.state.value}"


def _server_paths() -> Schema:
    live, ready = closed({"live": {"const": True}}), closed({"ready": {"const": True}})
    index = {"type": "object", "properties": {"ready": {"type": "boolean", "description": "only models that answer"}}}
    entries = array(closed(dict.fromkeys(("name", "version", "state", "reason"), _STRING)))
    dependents = closed({"unload_dependents": {}}, [])
    change = {"type": "object", "properties": {"parameters": any_of(dependents, {"type": "null"})}}
    statistics = closed({"model_stats": array(_NAMED)})
    paths: Schema = {
        "/": get(
            _SERVER, "A page to try the models, or what is where", {**content(_NAMED), **content(_STRING, None, HTML)}
        ),
        "/openapi.json": get(_SERVER, "This document", content(_OBJECT)),
        "/metrics": get(_SERVER, "Metrics for Prometheus", content(_STRING, None, TEXT)),
        "/v2": get(_SERVER, "Name, version and extensions", content(reference("ServerMetadata"))),
        "/v2/health/live": get(_SERVER, "Whether the process answers, also while it loads", content(live)),
        "/v2/health/ready": get(_SERVER, "Whether every model answers", content(ready)),
        "/v2/models/stats": get(_SERVER, "Counts and times of every model", content(statistics)),
        "/v2/repository/index": post(
            _SERVER, "The models that there are", content(index), content(entries), errors=(), optional=True
        ),
        "/v1/models": get(_SERVER, "The models, for clients of KServe and of OpenAI", content(reference("Models"))),
    }
    name = {"name": "model", "in": "path", "required": True, "schema": {**_STRING, "pattern": "^[A-Za-z0-9._-]+$"}}
    for action, summary in (("load", "Load a model from its files (again)"), ("unload", "Take a model away")):
        operation = post(
            _SERVER, summary, content(change), content(_OBJECT), errors=(403, 404), optional=True, parameters=[name]
        )
        paths[f"/v2/repository/models/{{model}}/{action}"] = operation
    return paths


# OpenAI's API


def _openai_paths(served: Iterable[ServedModel]) -> Schema:
    paths: Schema = {}
    for operation, path in _OPENAI_PATHS.items():
        names = [
            model.name
            for model in served
            if isinstance(model.runtime, OperationsRuntime) and operation in model.runtime.operations
        ]
        if names:
            paths[path] = _openai_path(operation, names)
    return paths


def _openai_path(operation: str, names: list[str]) -> Schema:
    request = openai_requests.schema(operation)
    request = {**request, "properties": {**request["properties"], "model": {"enum": names}}}
    answer = content(_ANSWERS[operation])
    if operation != EMBEDDINGS:
        answer |= content(STREAM, None, EVENTS)
    example = {"model": names[0], **_EXAMPLES[operation]}
    summary = operation.replace("_", " ").capitalize()
    return post(_OPENAI, summary, content(request, example), answer, error="OpenAIError")


_EXAMPLES: dict[str, Any] = {
    CHAT: {"messages": [{"role": "user", "content": "Hello"}]},
    COMPLETIONS: {"prompt": "Hello"},
    EMBEDDINGS: {"input": "Hello"},
}


def _answered(names: tuple[str, ...], items: str, item: Schema) -> Schema:
    properties = {"id": _STRING, "object": _STRING, "created": COUNT, "model": _STRING, "usage": _OBJECT}
    kept = {name: properties[name] for name in names}
    return {"type": "object", "properties": {**kept, items: array(item)}, "required": [*kept, items]}


def _choice(body: str, schema: Schema) -> Schema:
    properties = {"index": COUNT, body: schema, "finish_reason": {"type": ["string", "null"]}}
    return {"type": "object", "properties": properties, "required": [*properties]}


_FULL = ("id", "object", "created", "model", "usage")
_ANSWERS = {
    CHAT: _answered(_FULL, "choices", _choice("message", _OBJECT)),
    COMPLETIONS: _answered(_FULL, "choices", _choice("text", _STRING)),
    EMBEDDINGS: _answered(
        ("object", "model", "usage"),
        "data",
        closed(
            {
                "object": _STRING,
                "index": COUNT,
                "embedding": {"anyOf": [array({"type": "number"}), _STRING]},
            }
        ),
    ),
}


# Components

_TENSOR = closed({"name": _STRING, "datatype": _STRING, "shape": array({"type": "integer", "minimum": -1})})
_MODEL_PROPERTIES: Schema = {"id": _STRING, "object": {"const": "model"}, "created": COUNT, "owned_by": _STRING}
_SCHEMAS: Schema = {
    "Error": schemas.ERROR,
    "OpenAIError": schemas.OPENAI_ERROR,
    "ServerMetadata": closed({"name": _STRING, "version": _STRING, "extensions": array(_STRING)}),
    "ModelMetadata": closed(
        {
            "name": _STRING,
            "versions": array(_STRING),
            "platform": _STRING,
            "inputs": array(_TENSOR),
            "outputs": array(_TENSOR),
        },
        ["name", "platform", "inputs", "outputs"],
    ),
    "ModelConfig": {**_NAMED, "description": "Triton's model_config.proto in JSON"},
    "ModelStatistics": closed({"model_stats": array(_NAMED)}),
    "Model": closed({"name": _STRING, "ready": {"const": True}, **_MODEL_PROPERTIES}),
    "Models": closed({"models": array(_STRING), "object": {"const": "list"}, "data": array(closed(_MODEL_PROPERTIES))}),
}
