"""What operations get and give, in messages: JSON with arrays anywhere in it.

A model's answer may have in it whatever the server can write as JSON. Arrays and numpy's numbers travel as tensors, and
where each belongs is said by its path; everything else is JSON already, or becomes it here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from slipway_serving.datatypes import BYTES, Tensors, datatype_of
from slipway_serving.errors import InvalidInputError, ModelFailedError
from slipway_serving.workers.messages import CALL, TRACE, Message

DEEPEST: Final = 254
"""How deeply JSON may be nested here, which is how deeply orjson writes it."""
_EXPLAIN = "explain"
_PAYLOAD = "payload"
Path = tuple[str | int, ...]


def call_message(operation: str, payload: Any, trace: Mapping[str, str]) -> Message:
    """Asks for an operation: `explain` of tensors, any other of a JSON document. Raises InvalidInputError."""
    import orjson  # noqa: PLC0415  # a worker needs it only where its model has operations

    fields: dict[str, Any] = {"operation": operation, **({TRACE: trace} if trace else {})}
    if operation == _EXPLAIN:
        return Message(CALL, fields, payload)
    try:
        document = orjson.dumps(payload)
    except orjson.JSONEncodeError as error:
        raise InvalidInputError(f"a model in worker processes cannot be given this request: {error}") from None
    return Message(CALL, fields, {_PAYLOAD: np.frombuffer(document, np.uint8)})


def called(message: Message) -> tuple[str, Any]:
    """The operation that a message asks for, and what it gets."""
    import orjson  # noqa: PLC0415

    operation = message.fields["operation"]
    return operation, message.tensors if operation == _EXPLAIN else orjson.loads(message.tensors[_PAYLOAD].data)


def pack(kind: str, value: Any) -> Message:
    """A message with what a model returned or yielded. Raises ModelFailedError for what is no JSON."""
    tensors: Tensors = {}
    paths: list[Path] = []

    def keep(array: Any, path: Path) -> None:
        tensors[str(len(paths))] = np.asarray(array)
        paths.append(path)

    tree = _tree(value, (), keep)
    return Message(kind, {"value": tree, "paths": paths}, tensors)


def unpack(message: Message) -> Any:
    """What `pack` was given: its arrays are arrays, tuples have become lists."""
    root = [message.fields.get("value")]
    for number, path in enumerate(message.fields.get("paths", ())):
        array = message.tensors[str(number)]
        steps = (0, *path)
        inside: Any = root
        for step in steps[:-1]:
            inside = inside[step]
        inside[steps[-1]] = array if array.ndim else array[()]
    return root[0]


def _tree(value: Any, path: Path, keep: Callable[[Any, Path], None]) -> Any:
    """A value without its arrays: None is in their place."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if len(path) >= DEEPEST:
        raise ModelFailedError(f"the model's answer is nested more than {DEEPEST} deep")
    if isinstance(value, Mapping):
        texts = {_key(key): item for key, item in value.items()}
        return {key: _tree(item, (*path, key), keep) for key, item in texts.items()}
    if isinstance(value, (list, tuple)):
        return [_tree(item, (*path, index), keep) for index, item in enumerate(value)]
    if _is_numeric(value):
        keep(value, path)
        return None
    return _as_json(value)


def _is_numeric(value: Any) -> bool:
    if not isinstance(value, (np.ndarray, np.generic)):
        return False
    try:
        return datatype_of(np.asarray(value)) is not BYTES
    except ValueError:
        return False


def _key(key: Any) -> str:
    """A key as the server would write it."""
    return key if isinstance(key, str) else next(iter(_as_json({key: None})))


def _as_json(value: Any) -> Any:
    """What orjson can write besides: dataclasses, dates, enumerations, UUIDs."""
    import orjson  # noqa: PLC0415

    try:
        return orjson.loads(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS))
    except orjson.JSONEncodeError as error:
        raise ModelFailedError(f"the model's answer cannot be written as JSON: {error}") from None
