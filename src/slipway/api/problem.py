"""A sentence about one thing that is wrong with a manifest, and the words that such sentences are made of."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

_NEAR: Final = 0.6
_MOST_QUOTED: Final = 60
_MOST_KEY: Final = 253
_MOST_SAID: Final = 400
_PLAIN_KEY: Final = re.compile("[A-Za-z0-9_-]+")
_NAMES: Final = {
    type(None): "nothing",
    str: "a string",
    bool: "a boolean",
    int: "a whole number",
    float: "a fraction",
    dict: "an object",
    list: "a list",
}
_YAML_BOOLEANS: Final = "YAML reads yes, no, on, off, true and false as booleans; put it in quotes"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (`spec.server.image`), what, and what to do about it (may be empty)."""

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f"; {self.hint}" if self.hint else "")


def path_of(location: Iterable[str | int]) -> str:
    """`('spec', 'env', 0, 'name')` as `spec.env[0].name`; keys that are no plain names in brackets and quotes."""
    written = ""
    for part in location:
        if isinstance(part, int):
            written += f"[{part}]"
        elif len(part) <= _MOST_KEY and _PLAIN_KEY.fullmatch(part):
            written += f".{part}" if written else part
        else:
            written += f"[{json.dumps(_shortened(part, _MOST_KEY), ensure_ascii=False)}]"
    return written


def wrong_type(wanted: str, value: Any) -> tuple[str, str]:
    """The message and the hint for a value that should have been `wanted` (`a string`). The value is not said."""
    return f"must be {wanted}, not {name_of(value)}", _type_hint(wanted, value)


def name_of(value: Any) -> str:
    """What a value is called in JSON."""
    return _NAMES.get(type(value), "something that JSON cannot say")


def quoted(value: Any) -> str:
    """A value in a message: short, and never in the notation of a programming language."""
    return repr(_shortened(value, _MOST_QUOTED)) if isinstance(value, str) else name_of(value)


def shortened(message: str) -> str:
    """A message of a length that people read: its middle, where long values are, is left out."""
    return _shortened(message, _MOST_SAID)


def near(name: str, names: Iterable[str]) -> str:
    """A hint with the nearest of `names`, empty where none is near. Case, `_` and `-` do not count."""
    plain = {known.lower(): known for known in names}
    wanted = name[:_MOST_QUOTED].lower().replace("_", "").replace("-", "")
    close = difflib.get_close_matches(wanted, plain, n=1, cutoff=_NEAR)
    return f"did you mean {plain[close[0]]}?" if close else ""


def known_names(name: str, names: Iterable[str]) -> str:
    """A hint with the nearest of `names`, or with all of them."""
    names = sorted(names)
    return near(name, names) or f"fields here: {', '.join(names)}"


def _shortened(text: str, most: int) -> str:
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def _type_hint(wanted: str, value: Any) -> str:
    match wanted, value:
        case "a string", bool():
            return _YAML_BOOLEANS
        case "a string", int() | float():
            return "put it in quotes"
        case "a whole number", str() if re.fullmatch("-?[0-9]+", value):
            return "write it without quotes"
        case "a list", dict() | str():
            return "begin each of its entries with '-'"
    return ""
