"""Defaults of the command line, in a file of ours: `config.yaml` in `$SLIPWAY_CONFIG`, else `$XDG_CONFIG_HOME/slipway`.

What a command line says comes first, then the environment (`$SLIPWAY_CONTEXT`, …), then this file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from slipway.client.errors import InvalidInputError, near
from slipway.client.home import directory

FORMATS: Final = ("table", "wide", "json", "yaml", "name")
KEYS: Final = ("context", "namespace", "output", "registry")
_RULES: Final = {
    "context": (r"\S.*", "the name of a kubeconfig context"),
    "namespace": (r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "a namespace: a-z, 0-9 and '-'"),
    "output": ("|".join(FORMATS), f"one of {', '.join(FORMATS)}"),
    "registry": (r"(https?://)?[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9._/-]+)?/?", "HOST[:PORT][/PATH]"),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One default, and where it comes from: a variable, or the file."""

    key: str
    value: str
    source: str


def path() -> Path:
    """The file."""
    return directory("SLIPWAY_CONFIG", "XDG_CONFIG_HOME", ".config") / "config.yaml"


def variable(key: str) -> str:
    """The environment variable of a key."""
    return f"SLIPWAY_{key.upper()}"


def from_environment(key: str) -> str | None:
    """What the environment says, checked; None where it says nothing."""
    found = os.environ.get(variable(key))
    return _checked(key, found, f"${variable(key)}") if found else None


def read() -> dict[str, str]:
    """What the file says; `InvalidInputError` where it is not a file of ours, or says something that cannot be."""
    file = path()
    if not file.exists():
        return {}
    import yaml  # noqa: PLC0415  # a tenth of a second that most commands do not need

    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInputError(f"{file}: cannot be read: {type(error).__name__}.", "Correct or delete it.") from error
    if not isinstance(document, dict):
        raise InvalidInputError(f"{file}: keys and values are expected.", "Correct or delete it.")
    return {check_key(str(key), str(file)): _checked(str(key), value, str(file)) for key, value in document.items()}


def value(key: str) -> str | None:
    """What the environment says, else the file."""
    return from_environment(key) or read().get(key)


def settings() -> list[Setting]:
    """Everything that is said, with its source, in the order of the keys."""
    saved, found = read(), list[Setting]()
    for key in KEYS:
        if said := from_environment(key):
            found.append(Setting(key, said, f"${variable(key)}"))
        elif key in saved:
            found.append(Setting(key, saved[key], str(path())))
    return found


def put(key: str, new: str) -> None:
    """Sets one key in the file."""
    _write(read() | {check_key(key): _checked(key, new)})


def remove(key: str) -> bool:
    """Takes one key out of the file; whether it was there."""
    saved = read()
    found = saved.pop(check_key(key), None)
    if found is not None:
        _write(saved)
    return found is not None


def check_key(key: str, source: str = "") -> str:
    """Returns the key; `InvalidInputError` names the nearest one."""
    if key in KEYS:
        return key
    where = f"{source}: " if source else ""
    raise InvalidInputError(f"{where}There is no setting {key}{near(key, KEYS) or '.'}", f"Known: {', '.join(KEYS)}.")


def _checked(key: str, given: object, source: str = "") -> str:
    rule, says = _RULES[key]
    if isinstance(given, str) and re.fullmatch(rule, given):
        return given
    where = f"{source}: " if source else ""
    raise InvalidInputError(f"{where}{key} cannot be {given!r}.", f"It is {says}.")


def _write(saved: Mapping[str, str]) -> None:
    import yaml  # noqa: PLC0415  # as above

    file = path()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".new")
        temporary.write_text(yaml.safe_dump(dict(saved), sort_keys=True) if saved else "", encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        raise InvalidInputError(f"{file}: cannot be written: {error.strerror}.", "Nothing was changed.") from error
