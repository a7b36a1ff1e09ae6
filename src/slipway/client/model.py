"""Looking at a model before anything is sent: what it is, and whether it can be served."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slipway.client.errors import InvalidInputError, near
from slipway.client.onnxfile import check_onnx

FORMATS = ("onnx", "sklearn", "python", "custom")
"""What `spec.model.format` takes: as in `slipway.api.modelservice`; a test compares them."""

_PICKLES = (".pkl", ".pickle", ".joblib")
_BY_SUFFIX = {".onnx": "onnx", ".skops": "sklearn", **dict.fromkeys(_PICKLES, "sklearn")}
_ENTRY = "model.py"


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model on this machine that passed the checks. `size` is in bytes."""

    path: Path
    format: str
    size: int


def check_model(path: Path, format: str | None = None, *, allow_pickle: bool = False) -> LocalModel:  # noqa: A002  # the field's name
    """Checks a model's file or directory; `InvalidInputError` says what is wrong, where, and what to do."""
    if format is not None:
        check_format(format)
    files = _files(path)
    chosen = format or _detect(path, files)
    if not allow_pickle:
        _refuse_pickles(files, chosen)
    if chosen == "onnx":
        _check_onnx_files(path, files)
    return LocalModel(path, chosen, sum(file.stat().st_size for file in files))


def check_format(format: str) -> str:  # noqa: A002  # the field's name
    """Returns the format; `InvalidInputError` when there is no such format."""
    if format not in FORMATS:
        hint = f"Known formats: {', '.join(FORMATS)}."
        raise InvalidInputError(f"There is no model format {format}{near(format, FORMATS) or '.'}", hint)
    return format


def _files(path: Path) -> list[Path]:
    """All files of the model, sorted; every one readable."""
    if not path.exists():
        raise InvalidInputError(
            f"{path}: no such file or directory{_neighbour(path)}", "Name the model's file or directory."
        )
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(_walk(path))
    else:
        raise InvalidInputError(f"{path}: neither a file nor a directory.", "Name the model's file or directory.")
    if not files:
        raise InvalidInputError(f"{path}: the directory is empty.", "Put the model into it, for example as model.onnx.")
    for file in files:
        if not os.access(file, os.R_OK):
            raise InvalidInputError(f"{file}: cannot be read.", f"Permit it: `chmod u+r {file}`.")
    return files


def _walk(directory: Path) -> Iterator[Path]:
    for entry in directory.rglob("*"):
        if entry.is_symlink() and not entry.exists():
            raise InvalidInputError(
                f"{entry}: a symbolic link to nothing.", "Remove the link, or restore what it points to."
            )
        if entry.is_file():
            yield entry


def _neighbour(path: Path) -> str:
    """A file of a near name beside it."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return "."
    return near(path.name, names) or "."


def _detect(path: Path, files: list[Path]) -> str:
    """The format that the files' names tell."""
    if path.is_dir() and (path / _ENTRY).is_file():
        return "python"
    found = {_BY_SUFFIX[file.suffix.lower()] for file in files if file.suffix.lower() in _BY_SUFFIX}
    if len(found) == 1:
        return found.pop()
    names = ", ".join(file.name for file in files[:3]) + (" …" if len(files) > 3 else "")  # noqa: PLR2004  # fits on a line
    problem = f"could be {' or '.join(sorted(found))}" if found else f"no known model format in {names}"
    raise InvalidInputError(f"{path}: {problem}.", f"Say which with `--format`: {', '.join(FORMATS)}.")


def _refuse_pickles(files: list[Path], format: str) -> None:  # noqa: A002  # the field's name
    pickles = [file for file in files if file.suffix.lower() in _PICKLES]
    if pickles and format == "sklearn":
        raise InvalidInputError(
            f"{pickles[0]}: a pickle runs any code that it contains when it is loaded.",
            "Export the model to ONNX or skops; or, if you trust its author, repeat with `--allow-pickle`.",
        )


def _check_onnx_files(path: Path, files: list[Path]) -> None:
    models = [file for file in files if file.suffix.lower() == ".onnx"] or (files if path.is_file() else [])
    if not models:
        raise InvalidInputError(f"{path}: no file ends with .onnx.", "Name the format that it has with `--format`.")
    for model in models:
        check_onnx(model)
