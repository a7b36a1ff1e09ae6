"""Which formats there are, which file of a directory is the model, and which module runs it.

A package may bring a format of its own: an entry point in the group `slipway_serving.runtimes`, whose name is the
format and whose value is a module with

    def load(path: Path, config: ModelConfig) -> Runtime: ...      # required; raises ModelLoadError with a sentence
    SUFFIXES = (".mine",)                                          # optional: files that are of this format

Without SUFFIXES, `format: NAME` in model.yaml chooses it, and `path` is the model's directory unless `file:` names a
file. Such a module is imported only where its format is asked for, or where no built-in format knows the file.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Final

from slipway_serving.config import FILE_NAME, ModelConfig
from slipway_serving.errors import ModelLoadError, did_you_mean

GROUP: Final = "slipway_serving.runtimes"
AMBIGUOUS: Final = {".py": b"", ".json": b'"learner"', ".txt": b"tree"}
"""Endings that many files have: in a directory only a file called `model` counts, and only with this near its start."""
_START = 4096
_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")


@dataclass(frozen=True, slots=True)
class Format:
    """A format: which files are of it, and where its runtime is."""

    name: str
    suffixes: tuple[str, ...]
    module: str
    extra: str = ""
    """The optional extra of this distribution that installs what it needs; empty where nothing is needed."""
    custom: bool = False


FORMATS: Final = {
    each.name: each
    for each in (
        Format("onnx", (".onnx",), "slipway_serving.runtimes.onnx", "onnx"),
        Format("sklearn", (".skops", ".joblib", ".pkl", ".pickle"), "slipway_serving.runtimes.sklearn", "sklearn"),
        Format("xgboost", (".ubj", ".bst", ".json"), "slipway_serving.runtimes.xgboost", "xgboost"),
        Format("lightgbm", (".lgb", ".txt"), "slipway_serving.runtimes.lightgbm", "lightgbm"),
        Format("python", (".py",), "slipway_serving.runtimes.python"),
    )
}


def find_format(name: str) -> Format:
    """The format of this name. Raises ModelLoadError for one that neither we nor an installed package has."""
    if name in FORMATS:
        return FORMATS[name]
    entries = _entries()
    if name in entries:
        return _custom(entries[name])
    known = [*FORMATS, *entries]
    raise ModelLoadError(
        f"unknown format '{name:.40}'; {did_you_mean(name, known)}",
        f"formats here: {', '.join(known)}; a package adds one by an entry point in the group {GROUP}",
    )


def format_of(path: Path, declared: str = "") -> Format:
    """The format of a model file that somebody named. Raises ModelLoadError for one that nobody here can run."""
    if declared:
        return find_format(declared)
    for each in FORMATS.values():
        if path.suffix in each.suffixes:
            return each
    customs, broken = _customs()
    for each in customs:
        if path.suffix in each.suffixes:
            return each
    raise ModelLoadError(f"{path} is no model file that this server knows", _known_endings(customs, broken))


def model_file(directory: Path, config: ModelConfig) -> Path:
    """The file of a model's directory that is the model; the directory itself for a format without files.

    Raises ModelLoadError where there is none, or more than one.
    """
    if config.file:
        return _named_file(directory, config.file)
    if config.format:
        chosen = find_format(config.format)
        return _only(directory, [chosen], config) if chosen.suffixes else directory
    return _only(directory, FORMATS.values(), config)


def has_model(directory: Path, config: ModelConfig) -> bool:
    """Whether a directory holds at least one file that may be its model."""
    formats = [find_format(config.format)] if config.format else [*FORMATS.values(), *_customs()[0]]
    return bool(_candidates(directory, formats, all_endings=bool(config.format)))


def import_runtime(kind: Format) -> ModuleType:
    """The module that has the format's `load`. Raises ModelLoadError where its library is missing or broken."""
    try:
        return importlib.import_module(kind.module)
    except ModuleNotFoundError as error:
        raise ModelLoadError(
            f"format {kind.name} needs the package '{error.name}', which is not installed",
            f"install it with: pip install 'slipway-serving[{kind.extra}]'",
        ) from None
    except Exception as error:
        said = f"the library of format {kind.name} cannot be used: {reason(error)}"
        raise ModelLoadError(said, _advice(error)) from error


def reason(error: Exception) -> str:
    """What a library said, in one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"


def _named_file(directory: Path, name: str) -> Path:
    file = (directory / name).resolve()
    if not file.is_relative_to(directory.resolve()) or not file.is_file():
        raise ModelLoadError(f"{FILE_NAME} names the file '{name}', which is not in {directory}")
    return file


def _only(directory: Path, formats: Iterable[Format], config: ModelConfig) -> Path:
    named = _candidates(directory, formats, all_endings=bool(config.format))
    customs: list[Format] = []
    broken: list[str] = []
    if not named and not config.format:
        customs, broken = _customs()
        named = _candidates(directory, customs, all_endings=True)
    if len(named) == 1:
        return named[0]
    if not named:
        raise ModelLoadError(f"{directory} holds no model", f"expected model.py; {_known_endings(customs, broken)}")
    found = ", ".join(file.name for file in named[:5])
    raise ModelLoadError(f"{directory} holds several model files: {found}", f"say which with 'file:' in {FILE_NAME}")


def _candidates(directory: Path, formats: Iterable[Format], *, all_endings: bool) -> list[Path]:
    """Files called `model`, else those whose ending says enough, else, where a format is said, all with its endings."""
    endings = {suffix for each in formats for suffix in each.suffixes}
    files = sorted(file for file in directory.iterdir() if file.suffix in endings and file.is_file())
    certain = [file for file in files if file.suffix not in AMBIGUOUS]
    called = [file for file in files if file.stem == "model" and (all_endings or _has_sign(file))]
    return called or certain or (files if all_endings else [])


def _has_sign(file: Path) -> bool:
    sign = AMBIGUOUS.get(file.suffix, b"")
    if not sign:
        return True
    with file.open("rb") as opened:
        return sign in opened.read(_START)


def _advice(error: Exception) -> str:
    missing = _LIBRARY.search(str(error))
    if missing and missing[1].startswith("libgomp"):
        return "install OpenMP: apt-get install libgomp1 (Debian, Ubuntu), or dnf install libgomp (Fedora, RHEL)"
    return f"install the system's package that has {missing[1]}" if missing else "install it anew"


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in FORMATS}


def _customs() -> tuple[list[Format], list[str]]:
    """Every format that installed packages add, and a sentence for each that is broken."""
    formats: list[Format] = []
    broken: list[str] = []
    for entry in _entries().values():
        try:
            formats.append(_custom(entry))
        except ModelLoadError as error:
            broken.append(error.message)
    return formats, broken


def _custom(entry: EntryPoint) -> Format:
    package = entry.dist.name if entry.dist else entry.module
    try:
        module = importlib.import_module(entry.module)
    except Exception as error:
        raise ModelLoadError(
            f"the runtime '{entry.name}' cannot be imported from '{entry.value}': {reason(error)}",
            f"repair or reinstall the package {package}",
        ) from error
    suffixes = getattr(module, "SUFFIXES", ())
    if not callable(getattr(module, "load", None)):
        problem = "has no function load(path, config)"
    elif not isinstance(suffixes, (tuple, list)) or not all(str(suffix).startswith(".") for suffix in suffixes):
        problem = "has SUFFIXES that are not endings like '.mine'"
    else:
        return Format(entry.name, tuple(suffixes), entry.module, custom=True)
    raise ModelLoadError(
        f"the runtime '{entry.name}' cannot be used: the module '{entry.module}' {problem}",
        f"its entry point comes from the package {package}",
    )


def _known_endings(customs: Iterable[Format], broken: Iterable[str]) -> str:
    endings = [suffix for each in (*FORMATS.values(), *customs) for suffix in each.suffixes]
    return "; ".join([f"known endings: {', '.join(endings)}", *broken])
