"""Looking at a model before anything is sent: what it is, and whether it can be served."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slipway.client.errors import InvalidInputError, near
from slipway.client.onnxfile import check_onnx

FORMATS = ("onnx", "sklearn", "xgboost", "lightgbm", "python", "custom")
"""What `spec.model.format` takes: as in `slipway.api.modelservice`; a test compares them."""

_KNOWN = ", ".join(FORMATS)
_PICKLES = (".pkl", ".pickle", ".joblib")
_SUFFIXES = {
    ".onnx": "onnx",
    ".py": "python",
    ".skops": "sklearn",
    **dict.fromkeys(_PICKLES, "sklearn"),
    ".ubj": "xgboost",
    ".bst": "xgboost",
    ".lgb": "lightgbm",
}
_BOOSTED = {"model.json": "xgboost", "model.txt": "lightgbm"}
"""Names that tell a format where no ending does: many files end so."""
_ENTRY = "model.py"
_SETTINGS = "model.yaml"


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model on this machine that passed the checks. `size` is in bytes; without a format its `model.yaml` says it."""

    path: Path
    format: str | None
    size: int


def check_model(path: Path, format: str | None = None, *, allow_pickle: bool = False) -> LocalModel:  # noqa: A002  # the field's name
    """Checks a model's file or directory; `InvalidInputError` says what is wrong, where, and what to do."""
    check_format(format)
    files = _files(path)
    chosen = format or _detect(path, files)
    if not allow_pickle:
        _refuse_pickles(files, chosen)
    if chosen in {"onnx", None}:
        _check_onnx_files(path, files, needed=chosen is not None)
    return LocalModel(path, chosen, sum(file.stat().st_size for file in files))


def check_format(format: str | None) -> None:  # noqa: A002  # the field's name
    """`InvalidInputError` when there is no such format; None is a format that is not said."""
    if format is not None and format not in FORMATS:
        raise InvalidInputError(
            f"There is no model format {format}{near(format, FORMATS) or '.'}", f"Known formats: {_KNOWN}."
        )


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
    def unreadable(error: OSError) -> None:
        raise InvalidInputError(
            f"{error.filename}: cannot be read: {error.strerror}.", f"Permit it: `chmod u+rx {error.filename}`."
        ) from error

    for entry in (Path(place, name) for place, _, names in os.walk(directory, onerror=unreadable) for name in names):
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


def _detect(path: Path, files: list[Path]) -> str | None:
    """The format that the files' names tell, by the rules of the model server; None where `model.yaml` tells it."""
    if (path / _SETTINGS) in files:
        return None
    top = [file for file in files if path in {file.parent, file}]
    models = [file for file in top if file.suffix in _SUFFIXES and (file.suffix != ".py" or file.name == _ENTRY)]
    models = [file for file in models if file.stem == "model"] or models
    if len(models) == 1:
        return _SUFFIXES[models[0].suffix]
    boosted = [_BOOSTED[file.name] for file in top if file.name in _BOOSTED]
    if not models and len(boosted) == 1:
        return boosted[0]
    if models:
        names = ", ".join(file.name for file in models[:3])
        raise InvalidInputError(
            f"{path}: several files could be the model: {names}.", f"Call the one model{models[0].suffix}."
        )
    names = ", ".join(file.name for file in top[:3]) or "no file at its top"
    raise InvalidInputError(
        f"{path}: holds no model: {names}.",
        f"Expected {_ENTRY} or a file *.onnx or *.skops; or say `--format`: {_KNOWN}.",
    )


def _refuse_pickles(files: list[Path], format: str | None) -> None:  # noqa: A002  # the field's name
    pickles = [file for file in files if file.suffix in _PICKLES]
    if pickles and format in {"sklearn", None}:
        raise InvalidInputError(
            f"{pickles[0]}: a pickle runs any code that its author put into it when it is loaded.",
            "Save the model with skops or as ONNX; or, if you trust its author, repeat with `--allow-pickle`.",
        )


def _check_onnx_files(path: Path, files: list[Path], *, needed: bool) -> None:
    models = [file for file in files if file.suffix == ".onnx"]
    if needed and not models:
        raise InvalidInputError(
            f"{path}: no file ends with .onnx.", "Rename the model, or say its format with `--format`."
        )
    for model in models:
        check_onnx(model)
