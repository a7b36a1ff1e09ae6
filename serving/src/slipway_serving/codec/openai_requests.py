"""Requests of OpenAI's API: which fields there are, their types and bounds. Others are passed on to the model.

https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from slipway_serving.codec import elements
from slipway_serving.errors import InvalidInputError

JsonSchema = dict[str, Any]
CHAT, COMPLETIONS, EMBEDDINGS = "chat_completions", "completions", "embeddings"
ROLES = ("developer", "system", "user", "assistant", "tool", "function")
_LARGEST = 2**31 - 1
_MOST_MESSAGES = 10_000
_MOST_PARTS = 10_000
_MOST_INPUTS = 2048


@dataclass(frozen=True, slots=True)
class Check:
    """What a value must be: `refuse` raises FieldError with the path of what is wrong; `schema` says the same."""

    refuse: Callable[[Any, str], None]
    schema: JsonSchema

    def __call__(self, value: Any, where: str) -> None:
        self.refuse(value, where)


class FieldError(InvalidInputError):
    """A field is wrong; `param` is its path."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


def decode(body: bytes | bytearray | memoryview, operation: str) -> dict[str, Any]:
    """The fields of a request, without those that are null. Raises FieldError and InvalidInputError."""
    document = elements.loads(body)
    if type(document) is not dict:
        raise InvalidInputError("the request must be a JSON object")
    request = {name: value for name, value in document.items() if value is not None}
    for name in REQUIRED[operation]:
        if name not in request:
            raise FieldError(name, f"'{name}' is missing")
    known = FIELDS[operation]
    for name, value in request.items():
        if name in known:
            known[name](value, name)
    if "stream_options" in request and not request.get("stream"):
        raise FieldError("stream_options", "'stream_options' is only possible with stream: true")
    return request


def include_usage(request: Mapping[str, Any]) -> bool:
    return bool(request.get("stream_options", {}).get("include_usage"))


def count_inputs(value: Any) -> int:
    """How many embeddings an `input` asks for: one for a text or a list of tokens, else one an entry."""
    return len(value) if type(value) is list and type(value[0]) is not int else 1


def _refuse(where: str, must: str, value: Any) -> FieldError:
    return FieldError(where, f"'{where}' must be {must}, got {value!r:.60}")


def _number(low: float, high: float) -> Check:
    def check(value: Any, where: str) -> None:
        if type(value) not in (int, float) or not (math.isfinite(value) and low <= value <= high):
            raise _refuse(where, f"a number from {low:g} to {high:g}", value)

    return Check(check, {"type": "number", "minimum": low, "maximum": high})


def _integer(low: int, high: int) -> Check:
    def check(value: Any, where: str) -> None:
        if type(value) is not int or not low <= value <= high:
            raise _refuse(where, f"a whole number from {low} to {high}", value)

    return Check(check, {"type": "integer", "minimum": low, "maximum": high})


def _typed(kind: type, must: str, schema: JsonSchema) -> Check:
    def check(value: Any, where: str) -> None:
        if type(value) is not kind:
            raise _refuse(where, must, value)

    return Check(check, schema)


def _one_of(*words: str) -> Check:
    def check(value: Any, where: str) -> None:
        if value not in words:
            raise _refuse(where, f"one of {', '.join(words)}", value)

    return Check(check, {"enum": list(words)})


def _list_of(item: Check, low: int, high: int) -> Check:
    def check(value: Any, where: str) -> None:
        if type(value) is not list or not low <= len(value) <= high:
            raise FieldError(where, f"'{where}' must be a list of {low} to {high} entries")
        for index, each in enumerate(value):
            item(each, f"{where}[{index}]")

    return Check(check, {"type": "array", "items": item.schema, "minItems": low, "maxItems": high})


def _object(fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    """Checks the known fields of an object; the others are passed on."""

    def check(value: Any, where: str) -> None:
        if type(value) is not dict:
            raise _refuse(where, "an object", value)
        for name in required:
            if value.get(name) is None:
                raise FieldError(f"{where}.{name}", f"'{where}.{name}' is missing")
        for name, item in value.items():
            if name in fields and item is not None:
                fields[name](item, f"{where}.{name}")

    return Check(check, object_schema(fields, required))


def object_schema(fields: Mapping[str, Check], required: tuple[str, ...]) -> JsonSchema:
    """A field that is not required may be null, which is as if it were not there."""
    properties = {
        name: item.schema if name in required else {"anyOf": [item.schema, {"type": "null"}]}
        for name, item in fields.items()
    }
    return {"type": "object", "properties": properties, "required": list(required)}


def _text_or(kind: type, other: Check) -> Check:
    """A string, or what `other` takes where the value is of a kind."""

    def check(value: Any, where: str) -> None:
        if type(value) is kind:
            other(value, where)
        elif type(value) is not str:
            raise _refuse(where, f"a string or {'a list' if kind is list else 'an object'}", value)

    return Check(check, {"anyOf": [{"type": "string"}, other.schema]})


_BOOLEAN = _typed(bool, "true or false", {"type": "boolean"})
_TEXT = _typed(str, "a string", {"type": "string"})
_WEIGHT = _number(-100, 100)
_TOKENS = _list_of(_integer(0, _LARGEST), 1, _LARGEST)
_TEXTS = _list_of(_TEXT, 1, _MOST_INPUTS)
_TOKEN_LISTS = _list_of(_TOKENS, 1, _MOST_INPUTS)


def _check_bias(value: Any, where: str) -> None:
    if type(value) is not dict:
        raise _refuse(where, "an object of numbers by token", value)
    for token, weight in value.items():
        _WEIGHT(weight, f"{where}.{token:.40}")


def _check_texts_or_tokens(value: Any, where: str) -> None:
    """A text, texts, tokens, or lists of tokens."""
    if type(value) is not list:
        _TEXT(value, where)
        return
    first = type(value[0]) if value else None
    (_TOKENS if first is int else _TOKEN_LISTS if first is list else _TEXTS)(value, where)


def _check_part(value: Any, where: str) -> None:
    _PART_FIELDS(value, where)
    if value["type"] == "text" and value.get("text") is None:
        raise FieldError(f"{where}.text", f"'{where}.text' is missing")


def _check_message(value: Any, where: str) -> None:
    _MESSAGE_FIELDS(value, where)
    required = {"assistant": (), "tool": ("content", "tool_call_id")}.get(value["role"], ("content",))
    for name in required:
        if value.get(name) is None:
            raise FieldError(f"{where}.{name}", f"'{where}.{name}' is missing")


_PART_FIELDS = _object({"type": _TEXT, "text": _TEXT}, ("type",))
_PART = Check(
    _check_part,
    {
        "anyOf": [
            object_schema({"type": _one_of("text"), "text": _TEXT}, ("type", "text")),
            {
                **_PART_FIELDS.schema,
                "properties": {
                    **_PART_FIELDS.schema["properties"],
                    "type": {"type": "string", "not": {"const": "text"}},
                },
            },
        ]
    },
)
_FUNCTION = _object({"name": _TEXT, "arguments": _TEXT})
_MESSAGE: dict[str, Check] = {
    "role": _one_of(*ROLES),
    "content": _text_or(list, _list_of(_PART, 1, _MOST_PARTS)),
    "name": _TEXT,
    "tool_call_id": _TEXT,
    "tool_calls": _list_of(_object({"id": _TEXT, "type": _TEXT, "function": _FUNCTION}), 0, 128),
}
_MESSAGE_FIELDS = _object(_MESSAGE, ("role",))
_OTHERS = tuple(role for role in ROLES if role not in ("assistant", "tool"))
_ANY_MESSAGE = Check(
    _check_message,
    {
        "anyOf": [
            object_schema({**_MESSAGE, "role": _one_of("assistant")}, ("role",)),
            object_schema({**_MESSAGE, "role": _one_of("tool")}, ("role", "content", "tool_call_id")),
            object_schema({**_MESSAGE, "role": _one_of(*_OTHERS)}, ("role", "content")),
        ]
    },
)
_TYPED = _object({"type": _TEXT}, ("type",))
_PROMPT = Check(_check_texts_or_tokens, {"anyOf": [_TEXT.schema, _TEXTS.schema, _TOKENS.schema, _TOKEN_LISTS.schema]})

_COMMON: dict[str, Check] = {"model": _TEXT, "user": _TEXT}
_SAMPLING: dict[str, Check] = {
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "n": _integer(1, 128),
    "max_tokens": _integer(1, _LARGEST),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "logit_bias": Check(_check_bias, {"type": "object", "additionalProperties": _WEIGHT.schema}),
    "seed": _integer(-(2**63), 2**63 - 1),
    "stop": _text_or(list, _list_of(_TEXT, 0, 16)),
    "stream": _BOOLEAN,
    "stream_options": _object({"include_usage": _BOOLEAN}),
}
FIELDS: dict[str, dict[str, Check]] = {
    CHAT: {
        **_COMMON,
        **_SAMPLING,
        "messages": _list_of(_ANY_MESSAGE, 1, _MOST_MESSAGES),
        "max_completion_tokens": _integer(1, _LARGEST),
        "logprobs": _BOOLEAN,
        "top_logprobs": _integer(0, 20),
        "tools": _list_of(_TYPED, 0, 128),
        "tool_choice": _text_or(dict, _TYPED),
        "parallel_tool_calls": _BOOLEAN,
        "response_format": _TYPED,
    },
    COMPLETIONS: {
        **_COMMON,
        **_SAMPLING,
        "prompt": _PROMPT,
        "suffix": _TEXT,
        "echo": _BOOLEAN,
        "best_of": _integer(1, 128),
        "logprobs": _integer(0, 5),
    },
    EMBEDDINGS: {
        **_COMMON,
        "input": _PROMPT,
        "encoding_format": _one_of("float", "base64"),
        "dimensions": _integer(1, _LARGEST),
    },
}
REQUIRED: dict[str, tuple[str, ...]] = {
    CHAT: ("model", "messages"),
    COMPLETIONS: ("model", "prompt"),
    EMBEDDINGS: ("model", "input"),
}


def schema(operation: str) -> JsonSchema:
    """The JSON schema of the requests that `decode` takes."""
    described = object_schema(FIELDS[operation], REQUIRED[operation])
    if operation == EMBEDDINGS:
        return described
    without = {"properties": {"stream_options": {"type": "null"}}}
    streaming = {"required": ["stream"], "properties": {"stream": {"const": True}}}
    return {**described, "anyOf": [without, streaming]}
