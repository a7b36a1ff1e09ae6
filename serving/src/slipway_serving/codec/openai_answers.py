"""Answers of OpenAI's API: made whole of what a model returned or yielded, be it no more than a string.

What a model leaves out is filled in: id, object, created, model, indices, roles, finish reasons ("stop"), and usage,
whose counts are 0 where the model has not counted.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slipway_serving.codec.openai_requests import CHAT, COMPLETIONS
from slipway_serving.errors import ModelFailedError, NotRepresentableError

_USAGE = ("prompt_tokens", "completion_tokens")
_JOINED = frozenset({"content", "refusal", "reasoning", "reasoning_content", "arguments", "text"})
"""Strings of deltas that continue each other; any other value of a later delta replaces the earlier."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs between chats and plain completions."""

    prefix: str
    whole: str
    chunk: str
    is_chat: bool

    def body(self, part: str) -> str:
        return part if self.is_chat else "text"


KINDS = {
    CHAT: Kind("chatcmpl-", "chat.completion", "chat.completion.chunk", is_chat=True),
    COMPLETIONS: Kind("cmpl-", "text_completion", "text_completion", is_chat=False),
}


@dataclass(slots=True)
class Answer:
    """One answer: whole, or in chunks that share its id. `include_usage` adds a last chunk with the usage."""

    kind: Kind
    model: str
    include_usage: bool = False
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))
    usage: Mapping[str, Any] | None = None
    _begun: set[int] = field(default_factory=set)
    _finished: set[int] = field(default_factory=set)
    _calls_tools: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.id = f"{self.kind.prefix}{uuid.uuid4().hex}"

    def whole(self, value: Any) -> dict[str, Any]:
        """The answer for what the model returned: a text, a message, texts or messages, or a body with choices."""
        given = self._given(value)
        choices = [self._choice(each, index) for index, each in enumerate(given.pop("choices"))]
        return {**self._identity(self.kind.whole), **given, "choices": choices, "usage": usage_of(given.get("usage"))}

    def chunk(self, item: Any) -> dict[str, Any]:
        """The chunk for what the model yielded: a text, a delta, or a chunk with choices."""
        given = self._given(item)
        self.usage = given.pop("usage", None) or self.usage
        self.id = given.get("id") or self.id
        choices = [self._part(each, index) for index, each in enumerate(given.pop("choices"))]
        return {**self._identity(self.kind.chunk), **given, "choices": choices, **self._no_usage()}

    def only_chunk(self, value: Any) -> dict[str, Any]:
        """A whole answer as its only chunk."""
        whole = self.whole(value)
        parts = [
            {("delta" if key == "message" else key): part for key, part in choice.items()}
            for choice in whole["choices"]
        ]
        return self.chunk({**whole, "object": self.kind.chunk, "choices": parts})

    def last(self) -> list[dict[str, Any]]:
        """What ends a stream: a finish reason for each choice that has none yet, and the usage if it was asked for."""
        identity = self._identity(self.kind.chunk)
        open_choices = sorted((self._begun or {0}) - self._finished)
        chunks = [
            {
                **identity,
                "choices": [self._part({self.kind.body("delta"): "", "finish_reason": self._end(index)}, index)],
                **self._no_usage(),
            }
            for index in open_choices
        ]
        if self.include_usage:
            chunks.append({**identity, "choices": [], "usage": usage_of(self.usage)})
        return chunks

    def _end(self, index: int) -> str:
        return _reason(index in self._calls_tools)

    def _identity(self, name: str) -> dict[str, Any]:
        return {"id": self.id, "object": name, "created": self.created, "model": self.model}

    def _no_usage(self) -> dict[str, Any]:
        return {"usage": None} if self.include_usage else {}

    def _given(self, value: Any) -> dict[str, Any]:
        """What the model gave, as a body with a list of choices."""
        if isinstance(value, Mapping) and "choices" in value:
            choices = value["choices"]
            if not isinstance(choices, Sequence) or isinstance(choices, str):
                raise ModelFailedError("the model's answer has 'choices' that are no list")
            return {**{key: item for key, item in value.items() if item is not None}, "choices": list(choices)}
        if isinstance(value, (str, Mapping)):
            return {"choices": [value]}
        if isinstance(value, (list, tuple)) and value:
            return {"choices": list(value)}
        raise ModelFailedError(f"the model gave {type(value).__name__} where a text or a dict was expected")

    def _choice(self, value: Any, index: int) -> dict[str, Any]:
        choice = self._as_choice(value, "message")
        if self.kind.is_chat:
            message = choice["message"]
            choice["message"] = {"role": "assistant", "content": None, **_message(message)}
        reason = _reason(bool(self.kind.is_chat and choice["message"].get("tool_calls")))
        return {"index": index, "logprobs": None, "finish_reason": reason, **choice}

    def _part(self, value: Any, index: int) -> dict[str, Any]:
        choice = self._as_choice(value, "delta")
        index = choice.get("index", index)
        if self.kind.is_chat:
            delta = _message(choice["delta"])
            if delta.get("tool_calls"):
                self._calls_tools.add(index)
            first = {} if index in self._begun else {"role": "assistant", "content": ""}
            choice["delta"] = {**first, **{key: item for key, item in delta.items() if item not in (None, "")}}
        self._begun.add(index)
        if choice.get("finish_reason") is not None:
            self._finished.add(index)
        return {"index": index, "logprobs": None, "finish_reason": None, **choice}

    def _as_choice(self, value: Any, part: str) -> dict[str, Any]:
        """A choice that has its body: of a text, a message or delta, or a choice."""
        body = self.kind.body(part)
        if isinstance(value, str):
            return {body: value}
        if not isinstance(value, Mapping):
            raise ModelFailedError(f"the model gave {type(value).__name__} where a text or a dict was expected")
        if body in value:
            return dict(value)
        if not self.kind.is_chat or "finish_reason" in value or "index" in value:
            return {body: "", **value}
        return {body: value}


def _reason(calls_tools: bool) -> str:
    """Why a choice ended of which the model does not say it."""
    return "tool_calls" if calls_tools else "stop"


def _message(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, str):
        return {"content": value}
    raise ModelFailedError(f"the model gave {type(value).__name__} as a message; a text or a dict was expected")


def usage_of(given: Any) -> dict[str, Any]:
    """Counts of tokens; 0 where the model has not counted."""
    usage = {key: value for key, value in given.items() if value is not None} if isinstance(given, Mapping) else {}
    for key in _USAGE:
        usage.setdefault(key, 0)
    usage.setdefault("total_tokens", sum(usage[key] for key in _USAGE))
    return usage


def join(answer: Answer, chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The whole answer that chunks of `answer` add up to, for a client that did not ask for them one by one."""
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for part in chunk["choices"]:
            _merge(choices.setdefault(part["index"], {}), part)
    for choice in choices.values():
        if answer.kind.is_chat:
            choice["message"] = choice.pop("delta", {})
    ordered: list[Any] = [choices[index] for index in sorted(choices)] or [""]
    whole = answer.whole({"choices": ordered, "usage": answer.usage})
    for choice, number in zip(whole["choices"], sorted(choices), strict=False):
        choice["index"] = number
    return whole


def _merge(into: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for key, value in delta.items():
        known = into.get(key)
        if value is None:
            continue
        if key in _JOINED and isinstance(known, str) and isinstance(value, str):
            into[key] = known + value
        elif isinstance(value, Mapping):
            target = dict(known) if isinstance(known, Mapping) else {}
            _merge(target, value)
            into[key] = target
        elif key == "tool_calls" and isinstance(value, Sequence):
            into[key] = _merged_calls(known or [], value)
        else:
            into[key] = value


def _merged_calls(known: list[dict[str, Any]], deltas: Sequence[Any]) -> list[dict[str, Any]]:
    calls = [dict(call) for call in known]
    for delta in deltas:
        number = delta.get("index", len(calls))
        while len(calls) <= number:
            calls.append({})
        _merge(calls[number], {key: value for key, value in delta.items() if key != "index"})
    return calls


def embeddings(value: Any, model: str, count: int, encoding: str) -> dict[str, Any]:
    """The answer for the vectors that a model returned: an array with a row each, lists, or a body with `data`.

    `encoding` is float or base64 (of little-endian float32). Raises ModelFailedError unless there are `count` vectors.
    """
    given = dict(value) if isinstance(value, Mapping) else {"data": value}
    vectors = _vectors(given.pop("data", None), count)
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector, encoding)}
        for index, vector in enumerate(vectors)
    ]
    usage = usage_of(given.pop("usage", None))
    usage.pop("completion_tokens")
    return {"object": "list", "model": model, **given, "data": data, "usage": usage}


def _vectors(value: Any, count: int) -> list[np.ndarray[Any, Any]]:
    if not isinstance(value, (list, tuple, np.ndarray)):
        raise ModelFailedError("the model's embeddings are no list of vectors")
    if count == 1 and len(value) and isinstance(value[0], (int, float, np.number)):
        value = [value]
    if len(value) != count:
        raise ModelFailedError(f"the model returned {len(value)} embeddings for {count} inputs")
    vectors = [_vector(each.get("embedding") if isinstance(each, Mapping) else each) for each in value]
    for index, vector in enumerate(vectors):
        if not np.isfinite(vector).all():
            raise NotRepresentableError(f"data[{index}].embedding has NaN or infinity, which JSON cannot carry")
    return vectors


def _vector(value: Any) -> np.ndarray[Any, Any]:
    try:
        vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ModelFailedError(f"an embedding of the model is no list of numbers: {error}") from error
    if vector.ndim != 1:
        raise ModelFailedError(f"an embedding of the model has shape {list(vector.shape)}; it must be one list")
    return np.ascontiguousarray(vector)


def _encoded(vector: np.ndarray[Any, Any], encoding: str) -> Any:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode() if encoding == "base64" else vector
