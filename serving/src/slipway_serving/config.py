"""`model.yaml`: what a person may say about a model, all of it optional where the model itself says it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slipway_serving.datatypes import Datatype, datatype_named
from slipway_serving.errors import ModelLoadError, did_you_mean
from slipway_serving.signature import Shape

FILE_NAME = "model.yaml"
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
DEFAULT_QUEUE_SIZE = 1000
_LARGEST = 1_000_000


@dataclass(frozen=True, slots=True)
class TensorConfig:
    """An entry of `inputs` or `outputs`; what is None is read out of the model."""

    name: str
    datatype: Datatype | None = None
    shape: Shape | None = None
    columns: tuple[str, ...] = ()
    example: Any = None


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model's settings, with the defaults of a model that has no `model.yaml`."""

    name: str = ""
    version: str = ""
    format: str = ""
    file: str = ""
    class_name: str = "Model"
    inputs: tuple[TensorConfig, ...] = ()
    outputs: tuple[TensorConfig, ...] = ()
    batch_size: int = 1
    """Most rows that one call of the model gets; 1 means no batching."""
    queue_size: int = DEFAULT_QUEUE_SIZE
    """Requests that may wait; the next one is answered 429."""
    instances: int = 1
    """Threads that call the model."""
    warm_up: bool = True
    allow_pickle: bool = False
    trusted_types: tuple[str, ...] = ()
    """Types that skops may build besides those that it knows to be harmless."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Handed to the `load` of a Python model."""


def read_config(directory: Path) -> ModelConfig:
    """The settings in a model's directory, or the defaults. Raises ModelLoadError naming the key that is wrong."""
    path = directory / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ModelConfig()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelLoadError(f"{path} cannot be read: {error}") from None
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ModelLoadError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    try:
        return parse_config({} if document is None else document)
    except ValueError as error:
        raise ModelLoadError(f"{path}: {error}", "serving/README.md lists the keys of model.yaml") from None


def parse_config(document: Any) -> ModelConfig:
    """Reads a decoded `model.yaml`. Raises ValueError with the key's path, what is wrong and the nearest known key."""
    keys = _object(document, "", _KEYS)
    values: dict[str, Any] = {target: read(keys[key], key) for key, (target, read) in _KEYS.items() if key in keys}
    batching = values.pop("batching", {})
    return ModelConfig(**values, **batching)


def parse_tensors(value: Any, where: str) -> tuple[TensorConfig, ...]:
    """Reads `inputs` or `outputs`. Raises ValueError with the entry's path."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(  # noqa: TRY004  # every fault of the file is one kind of error
            f"{where} must be a list of tensors, each with a name"
        )
    tensors = tuple(_tensor(entry, f"{where}[{index}]") for index, entry in enumerate(value))
    names = [tensor.name for tensor in tensors]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{where} has '{name}' twice")
    return tensors


def _tensor(entry: Any, where: str) -> TensorConfig:
    keys = _object(entry, where, ("name", "datatype", "shape", "columns", "example"))
    if "name" not in keys:
        raise ValueError(f"{where}.name is missing")
    name = _string(keys["name"], f"{where}.name")
    datatype = shape = None
    if "datatype" in keys:
        try:
            datatype = datatype_named(keys["datatype"])
        except ValueError as error:
            raise ValueError(f"{where}.datatype: {error}") from None
    if "shape" in keys:
        shape = _shape(keys["shape"], f"{where}.shape")
    columns = _strings(keys.get("columns", ()), f"{where}.columns")
    return TensorConfig(name, datatype, shape, columns, keys.get("example"))


def _shape(value: Any, where: str) -> Shape:
    if not isinstance(value, (list, tuple)) or any(type(length) is not int or length < -1 for length in value):
        raise ValueError(f"{where} must be a list of lengths (-1 is any length), got {value!r:.60}")
    return tuple(value)


def _object(value: Any, where: str, known: Iterable[str]) -> dict[str, Any]:
    place = where or "the document"
    if not isinstance(value, Mapping):
        raise ValueError(  # noqa: TRY004  # every fault of the file is one kind of error
            f"{place} must be a mapping of keys to values"
        )
    for key in value:
        if key not in known:
            raise ValueError(f"unknown key '{where}{'.' if where else ''}{key}'; {did_you_mean(str(key), known)}")
    return dict(value)


def _string(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{where} must be a non-empty string, got {value!r:.60}")
    return value


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(f"{where} must be letters, digits, '.', '_' and '-', got {value!r:.60}")
    return value


def _version(value: Any, where: str) -> str:
    return _name(str(value) if type(value) is int else value, where)


def _strings(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{where} must be a list of strings")
    return tuple(value)


def _boolean(value: Any, where: str) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{where} must be true or false, got {value!r:.60}")
    return value


def _positive(value: Any, where: str) -> int:
    if type(value) is not int or not 0 < value <= _LARGEST:
        raise ValueError(f"{where} must be a whole number from 1 to {_LARGEST}, got {value!r:.60}")
    return value


def _batching(value: Any, where: str) -> dict[str, int]:
    keys = _object(value, where, ("maxSize", "queueSize"))
    targets = {"maxSize": "batch_size", "queueSize": "queue_size"}
    return {targets[key]: _positive(item, f"{where}.{key}") for key, item in keys.items()}


def _parameters(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a mapping of keys to values")  # noqa: TRY004  # as above
    return dict(value)


_KEYS: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "name": ("name", _name),
    "version": ("version", _version),
    "format": ("format", _string),
    "file": ("file", _string),
    "class": ("class_name", _string),
    "inputs": ("inputs", parse_tensors),
    "outputs": ("outputs", parse_tensors),
    "batching": ("batching", _batching),
    "instances": ("instances", _positive),
    "warmUp": ("warm_up", _boolean),
    "allowPickle": ("allow_pickle", _boolean),
    "trustedTypes": ("trusted_types", _strings),
    "parameters": ("parameters", _parameters),
}
