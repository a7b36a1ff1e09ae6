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
from slipway_serving.units import parse_duration

FILE_NAME = "model.yaml"
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
EXECUTIONS = ("thread", "process")
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
class Batching:
    """How a model's requests are queued and merged. Times are in seconds."""

    max_size: int = 1
    """Most rows that one call of the model gets; 1 means no merging."""
    queue_size: int = 1000
    """Requests that may wait; the next one is answered 429."""
    max_delay: float = 0.0
    """How long a request may wait for others although an instance is free."""
    preferred_sizes: tuple[int, ...] = ()
    """Numbers of rows that end such a wait, and that a batch is cut to where more are queued."""
    priority_levels: int = 1
    default_timeout: float = 0.0
    """How long a request may wait in the queue; 0 is for ever."""


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which of a model's numbered versions are served, as Triton has it."""

    latest: int = 1
    """So many of the highest; 0 is all."""
    specific: frozenset[int] = frozenset()
    """These; takes precedence."""


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
    version_policy: VersionPolicy = VersionPolicy()
    batching: Batching = Batching()
    instances: int = 1
    """Threads, or processes, that call the model."""
    execution: str = ""
    """`process` for models that hold the interpreter's lock while they compute; else `thread`, the default."""
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
    return ModelConfig(**values)


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


def _batching(value: Any, where: str) -> Batching:
    keys = _object(value, where, _BATCHING)
    read = {target: read(keys[key], f"{where}.{key}") for key, (target, read) in _BATCHING.items() if key in keys}
    batching = Batching(**read)
    for size in batching.preferred_sizes:
        if size > batching.max_size:
            raise ValueError(f"{where}.preferredSizes has {size}, but maxSize is {batching.max_size}")
    return batching


def _sizes(value: Any, where: str) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where} must be a list of whole numbers")  # noqa: TRY004  # as above
    return tuple(_positive(size, f"{where}[{index}]") for index, size in enumerate(value))


def _duration(value: Any, where: str) -> float:
    if not isinstance(value, str):
        raise ValueError(f"{where} must be a time like 5ms or 2s, got {value!r:.60}")  # noqa: TRY004  # as above
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _execution(value: Any, where: str) -> str:
    if value not in EXECUTIONS:
        raise ValueError(f"{where} must be {' or '.join(EXECUTIONS)}, got {value!r:.60}")
    return str(value)


def _policy(value: Any, where: str) -> VersionPolicy:
    if value in ("latest", "all"):
        return VersionPolicy(latest=1 if value == "latest" else 0)
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError(f"{where} must be latest, all, {{latest: COUNT}} or {{specific: [VERSION, …]}}")
    keys = _object(value, where, ("latest", "specific"))
    if "latest" in keys:
        return VersionPolicy(latest=_positive(keys["latest"], f"{where}.latest"))
    return VersionPolicy(specific=frozenset(_sizes(keys["specific"], f"{where}.specific")))


def _parameters(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a mapping of keys to values")  # noqa: TRY004  # as above
    return dict(value)


_BATCHING: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "maxSize": ("max_size", _positive),
    "queueSize": ("queue_size", _positive),
    "maxDelay": ("max_delay", _duration),
    "preferredSizes": ("preferred_sizes", _sizes),
    "priorityLevels": ("priority_levels", _positive),
    "defaultTimeout": ("default_timeout", _duration),
}
_KEYS: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "name": ("name", _name),
    "version": ("version", _version),
    "format": ("format", _string),
    "file": ("file", _string),
    "class": ("class_name", _string),
    "inputs": ("inputs", parse_tensors),
    "outputs": ("outputs", parse_tensors),
    "batching": ("batching", _batching),
    "versionPolicy": ("version_policy", _policy),
    "instances": ("instances", _positive),
    "execution": ("execution", _execution),
    "warmUp": ("warm_up", _boolean),
    "allowPickle": ("allow_pickle", _boolean),
    "trustedTypes": ("trusted_types", _strings),
    "parameters": ("parameters", _parameters),
}
