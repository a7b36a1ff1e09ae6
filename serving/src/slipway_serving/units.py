"""Sizes and times as people write them."""

from __future__ import annotations

import re

_SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_SECONDS = {"": 1.0, "us": 1e-6, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_size(text: str) -> int:
    """Bytes: a whole number, with one of Kubernetes' suffixes. Raises ValueError with a sentence."""
    match = re.fullmatch(r"([0-9]{1,15})([A-Za-z]*)", text)
    if not match or match[2] not in _SIZES:
        raise ValueError(f"'{text}' is not a size like 64Mi")
    return int(match[1]) * _SIZES[match[2]]


def parse_duration(text: str) -> float:
    """Seconds: a number with us, ms, s, m or h, seconds where there is none. Raises ValueError with a sentence."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]+)?)([a-z]*)", text)
    if not match or match[2] not in _SECONDS:
        raise ValueError(f"'{text}' is not a time like 30s or 500ms")
    return float(match[1]) * _SECONDS[match[2]]
