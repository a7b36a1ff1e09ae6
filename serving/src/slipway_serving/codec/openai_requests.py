"""Requests of OpenAI's API: which fields there are, their types and bounds. Others are passed on to the model.

https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from slipway_serving.codec import elements
from slipway_serving.errors import InvalidInputError

Check = Callable[[Any, str], None]
CHAT, COMPLETIONS, EMBEDDINGS = "chat_completions", "completions", "embeddings"
ROLES = ("developer", "system", "user", "assistant", "tool", "function")
_LARGEST = 2**31 - 1
_MOST_MESSAGES = 10_000
_MOST_INPUTS = 2048


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


# Checks: each raises FieldError with the path of what is wrong.


def _refuse(where: str, must: str, value: Any) -> FieldError:
    return FieldError(where, f"'{where}' must be {must}, got {value!r:.60}")


def _number(low: float, high: float) -> Check:
    def check(value: Any, where: str) -> None:
        if type(value) not in (int, float) or not (math.isfinite(value) and low <= value <= high):
            raise _refuse(where, f"a number from {low:g} to {high:g}", value)

    return check


def _integer(low: int, high: int) -> Check:
    def check(value: Any, where: str) -> None:
        if type(value) is not int or not low <= value <= high:
            raise _refuse(where, f"a whole number from {low} to {high}", value)

    return check


def _boolean(value: Any, where: str) -> None:
    if type(value) is not bool:
        raise _refuse(where, "true or false", value)


def _text(value: Any, where: str) -> None:
    if type(value) is not str:
        raise _refuse(where, "a string", value)


def _name(value: Any, where: str) -> None:
    if type(value) is not str or not value:
        raise _refuse(where, "a string that is not empty", value)


def _one_of(*words: str) -> Check:
    def check(value: Any, where: str) -> None:
        if value not in words:
            raise _refuse(where, f"one of {', '.join(words)}", value)

    return check


def _list_of(item: Check, low: int, high: int) -> Check:
    def check(value: Any, where: str) -> None:
        if type(value) is not list or not low <= len(value) <= high:
            raise FieldError(where, f"'{where}' must be a list of {low} to {high} entries")
        for index, each in enumerate(value):
            item(each, f"{where}[{index}]")

    return check


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

    return check


def _text_or(kind: type, other: Check) -> Check:
    """A string, or what `other` takes where the value is of a kind."""

    def check(value: Any, where: str) -> None:
        if type(value) is kind:
            other(value, where)
        elif type(value) is not str:
            raise _refuse(where, f"a string or {'a list' if kind is list else 'an object'}", value)

    return check


def _bias(value: Any, where: str) -> None:
    if type(value) is not dict:
        raise _refuse(where, "an object of numbers by token", value)
    for token, weight in value.items():
        _number(-100, 100)(weight, f"{where}.{token:.40}")


def _content(value: Any, where: str) -> None:
    _text_or(list, _list_of(_part, 1, _MOST_MESSAGES))(value, where)


def _part(value: Any, where: str) -> None:
    _object({"type": _name, "text": _text}, ("type",))(value, where)
    if value["type"] == "text" and "text" not in value:
        raise FieldError(f"{where}.text", f"'{where}.text' is missing")


_MESSAGE_FIELDS: dict[str, Check] = {
    "role": _one_of(*ROLES),
    "content": _content,
    "name": _text,
    "tool_call_id": _text,
    "tool_calls": _list_of(_object({"id": _text, "type": _text, "function": _object({"name": _text})}), 0, 128),
}


def _message(value: Any, where: str) -> None:
    _object(_MESSAGE_FIELDS, ("role",))(value, where)
    if value["role"] != "assistant" and value.get("content") is None:
        raise FieldError(f"{where}.content", f"'{where}.content' is missing")
    if value["role"] == "tool" and value.get("tool_call_id") is None:
        raise FieldError(f"{where}.tool_call_id", f"'{where}.tool_call_id' is missing")


def _texts_or_tokens(value: Any, where: str) -> None:
    """A text, texts, tokens, or lists of tokens."""
    if type(value) is not list:
        _text(value, where)
        return
    first = type(value[0]) if value else None
    tokens = _integer(0, _LARGEST)
    if first is int:
        _list_of(tokens, 1, _LARGEST)(value, where)
    elif first is list:
        _list_of(_list_of(tokens, 1, _LARGEST), 1, _MOST_INPUTS)(value, where)
    else:
        _list_of(_text, 1, _MOST_INPUTS)(value, where)


_COMMON: dict[str, Check] = {"model": _name, "user": _text}
_SAMPLING: dict[str, Check] = {
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "n": _integer(1, 128),
    "max_tokens": _integer(1, _LARGEST),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "logit_bias": _bias,
    "seed": _integer(-(2**63), 2**63 - 1),
    "stop": _text_or(list, _list_of(_text, 0, 16)),
    "stream": _boolean,
    "stream_options": _object({"include_usage": _boolean}),
}
FIELDS: dict[str, dict[str, Check]] = {
    CHAT: {
        **_COMMON,
        **_SAMPLING,
        "messages": _list_of(_message, 1, _MOST_MESSAGES),
        "max_completion_tokens": _integer(1, _LARGEST),
        "logprobs": _boolean,
        "top_logprobs": _integer(0, 20),
        "tools": _list_of(_object({"type": _name}, ("type",)), 0, 128),
        "tool_choice": _text_or(dict, _object({"type": _name}, ("type",))),
        "parallel_tool_calls": _boolean,
        "response_format": _object({"type": _name}, ("type",)),
    },
    COMPLETIONS: {
        **_COMMON,
        **_SAMPLING,
        "prompt": _texts_or_tokens,
        "suffix": _text,
        "echo": _boolean,
        "best_of": _integer(1, 128),
        "logprobs": _integer(0, 5),
    },
    EMBEDDINGS: {
        **_COMMON,
        "input": _texts_or_tokens,
        "encoding_format": _one_of("float", "base64"),
        "dimensions": _integer(1, _LARGEST),
    },
}
REQUIRED: dict[str, tuple[str, ...]] = {
    CHAT: ("model", "messages"),
    COMPLETIONS: ("model", "prompt"),
    EMBEDDINGS: ("model", "input"),
}
