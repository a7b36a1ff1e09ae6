"""What a CEL rule costs at most, as the API server estimates it before it takes a definition.

Not the API server's own estimate, which needs its parser, but near it and mostly above: what a rule does once, times
the elements of every list and map that it walks. Cost factors are those of cel-go (`common/types/cost`): a tenth for
each byte of a text, a quarter for each character of a pattern, and four bytes for a character.
"""

from __future__ import annotations

import re
from typing import Final

from slipway.api.schema import Schema

MOST_COST: Final = 10_000_000
"""Of one rule, in all the places where it is checked (`StaticEstimatedCostLimit` of apiextensions-apiserver)."""
MOST_TOTAL_COST: Final = 100_000_000
"""Of all rules of a version (`StaticEstimatedCRDCostLimit`)."""

_BASE: Final = 10.0
_LONGEST_KEY: Final = 1024
_METADATA_NAME: Final = {"type": "string", "maxLength": 253}
_WALK: Final = re.compile(r"([\w.]+)[.](?:all|exists|exists_one|map|filter)\(\s*(\w+)\s*,")
_READ: Final = re.compile(
    r"([\w.]+)[.](?:matches\((?:\"(.*?)\"|'(.*?)')\)|(?:startsWith|endsWith|contains|split|find)\()"
)


class Unbounded(Exception):  # noqa: N818  # it names what has no bound
    """A rule walks something that can be arbitrarily large."""


def cost(rule: str, node: Schema) -> float:
    """The most that one evaluation of `rule` at `node` costs, in the API server's units. Raises `Unbounded`."""
    known: dict[str, Schema] = {"self": node}
    walked = 1
    for target, variable in _WALK.findall(rule):
        place = _at(target, known)
        bound = place.get("maxItems", place.get("maxProperties"))
        if bound is None:
            raise Unbounded(target)
        walked *= bound
        known[variable] = place["items"] if "items" in place else _key(rule, variable)
    return walked * (_BASE + sum(_read(target, a or b, known) for target, a, b in _READ.findall(rule)))


def _read(target: str, pattern: str, known: dict[str, Schema]) -> float:
    place = _at(target, known)
    if "enum" in place:
        length = max(map(len, place["enum"]))
    elif "maxLength" in place:
        length = place["maxLength"]
    else:
        raise Unbounded(target)
    return (4.0 * length + 1) * 0.1 * max(1.0, len(pattern) * 0.25)


def _key(rule: str, variable: str) -> Schema:
    said = re.search(rf"size\({variable}\) <= (\d+)", rule)
    return {"type": "string", "maxLength": int(said[1]) if said else _LONGEST_KEY}


def _at(path: str, known: dict[str, Schema]) -> Schema:
    if path == "self.metadata.name":
        return _METADATA_NAME
    first, *steps = path.split(".")
    place = known.get(first, {})
    for step in steps:
        place = place.get("properties", {}).get(step, {})
    return place
