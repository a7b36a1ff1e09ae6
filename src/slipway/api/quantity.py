"""Kubernetes quantities as numbers, and in the one form that the API server stores."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

_DECIMAL: Final = ("m", "", "k", "M", "G", "T", "P", "E")
_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_UNITS: Final = {unit: Decimal(1000) ** power for power, unit in enumerate(_DECIMAL, start=-1)} | {
    unit: Decimal(1024) ** power for power, unit in enumerate(_BINARY)
}
_QUANTITY: Final = re.compile("([0-9]+(?:[.][0-9]+)?)([A-Za-z]*)")


def parse_quantity(text: str) -> Decimal:
    """The number that a quantity stands for, in bytes, cores or pieces. Raises ValueError for anything else."""
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is not a quantity")
    return Decimal(match[1]) * _UNITS[match[2]]


def canonical_quantity(text: str) -> str:
    """The form in which the API server stores a quantity: `1024Mi` as `1Gi`, `1000m` as `1`, `0.5` as `500m`.

    An object that is written in this form is equal to what comes back.
    """
    value = parse_quantity(text)
    if text.endswith("i") and value == value.to_integral_value():
        return _shortest(int(value), 1024, _BINARY)
    return _shortest(int((value * 1000).to_integral_value(ROUND_CEILING)), 1000, _DECIMAL)


def _shortest(number: int, base: int, units: tuple[str, ...]) -> str:
    """The number with the largest unit that leaves it whole."""
    power = 0
    while number and number % base == 0 and power + 1 < len(units):
        number, power = number // base, power + 1
    return f"{number}{units[power] if number else ''}"
