"""Finding models on disk: a file, a model's directory, or a repository of them, with Triton's numbered versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slipway_serving.config import FILE_NAME, NAME, ModelConfig, VersionPolicy, read_config
from slipway_serving.errors import ModelLoadError
from slipway_serving.runtimes.formats import format_of, has_model, model_file

Fingerprint = frozenset[tuple[str, int, int, int]]
"""Path, size, time of change and inode of each file of a model."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where one version of a model is and what it is called, known before anything is loaded."""

    path: Path
    config: ModelConfig
    name: str
    format: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says about all models."""

    name: str = ""
    """Of the only model."""
    allow_pickle: bool = False
    workers: int = 0
    """Processes that run each model; 0 leaves it to `model.yaml`."""


def find_directories(path: Path, settings: Settings, problems: list[ModelLoadError] | None = None) -> dict[str, Path]:
    """The models at a path, by name: one where it is a model, else each directory in it. Raises ModelLoadError.

    With `problems` a directory that cannot be a model is left out, and why is added there.
    """
    if not path.exists():
        raise ModelLoadError(f"{path} does not exist", "give the path of a model's directory, or of a model file")
    if path.is_file() or _is_model(path):
        config = read_config(path) if path.is_dir() else ModelConfig()
        name = settings.name or config.name or (path.resolve().name if path.is_dir() else path.stem)
        return {_checked(name): path}
    found: dict[str, Path] = {}
    for directory in sorted(path.iterdir()):
        if directory.is_dir() and not directory.name.startswith((".", "_", "lost+found")):
            try:
                found[_new_name(directory, found)] = directory
            except ModelLoadError as error:
                if problems is None:
                    raise
                problems.append(error)
    if not found:
        model_file(path, ModelConfig())  # says what a model would be
    if settings.name:
        raise ModelLoadError(f"--name is for one model, and {path} holds {len(found)}", "leave it out")
    return found


def _new_name(directory: Path, found: dict[str, Path]) -> str:
    name = _checked(_name_of(directory))
    if name in found:
        raise ModelLoadError(f"{found[name]} and {directory} are both called '{name}'")
    return name


def _name_of(directory: Path) -> str:
    """What settings that cannot be read are wrong about is told when the model is loaded, not of all models."""
    try:
        return read_config(directory).name or directory.name
    except ModelLoadError:
        return directory.name


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ModelLoadError(
            f"'{name}' cannot be a model's name: letters, digits, '.', '_' and '-' only", "give one with --name"
        )
    return name


def _is_model(directory: Path) -> bool:
    return (directory / FILE_NAME).exists() or has_model(directory, ModelConfig()) or bool(_versions(directory))


def find_versions(path: Path, name: str, settings: Settings) -> list[ModelSource]:
    """The versions of a model that its policy serves, lowest first. Raises ModelLoadError saying what is missing."""
    config = read_config(path) if path.is_dir() else ModelConfig()
    numbered = _versions(path) if path.is_dir() else {}
    if not numbered or config.file or has_model(path, config):
        return [_source(path, config, name, config.version, settings)]
    chosen = _chosen(config.version_policy, numbered)
    if not chosen:
        raise ModelLoadError(
            f"{path} has versions {', '.join(map(str, sorted(numbered)))}, and versionPolicy in {FILE_NAME} none of "
            "them"
        )
    return [
        _source(
            numbered[number],
            read_config(numbered[number]) if (numbered[number] / FILE_NAME).exists() else config,
            name,
            str(number),
            settings,
        )
        for number in chosen
    ]


def _source(path: Path, config: ModelConfig, name: str, version: str, settings: Settings) -> ModelSource:
    if settings.allow_pickle:
        config = dataclasses.replace(config, allow_pickle=True)
    if settings.workers and not config.execution:
        config = dataclasses.replace(config, instances=settings.workers, execution="process")
    file = model_file(path, config) if path.is_dir() else path
    return ModelSource(file, config, name, format_of(file, config.format).name, version)


def _versions(directory: Path) -> dict[int, Path]:
    """Directories named by a number, as Triton lays out its repositories."""
    return {
        int(entry.name): entry
        for entry in directory.iterdir()
        if entry.is_dir() and entry.name.isdecimal() and not entry.name.startswith("0")
    }


def _chosen(policy: VersionPolicy, available: Iterable[int]) -> list[int]:
    numbers = sorted(available)
    if policy.specific:
        return [number for number in numbers if number in policy.specific]
    return numbers if policy.latest == 0 else numbers[-policy.latest :]


def fingerprint(path: Path) -> Fingerprint:
    """Changes when any file of a model does, also behind the symbolic links by which ConfigMaps are changed at once."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if "__pycache__" not in file.parts]
    seen = set()
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        seen.add((str(file), status.st_size, status.st_mtime_ns, status.st_ino))
    return frozenset(seen)
