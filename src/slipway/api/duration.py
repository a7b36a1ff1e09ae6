"""Durations with units as numbers."""

from __future__ import annotations

import re

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"([0-9]{1,5})(ms|h|m|s)")


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `1h30m`. Raises ValueError for anything else."""
    if not re.fullmatch(rf"(?:{_PART.pattern}){{1,4}}", text):
        raise ValueError(f"{text!r} is not a duration")
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
