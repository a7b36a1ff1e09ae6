"""Label and field selectors."""

from __future__ import annotations

import re

from slipway.kit.objects import Manifest

_SET = re.compile(r"(\S+) (in|notin) \(([^)]*)\)")


def matches(manifest: Manifest, labels: str | None, fields: str | None) -> bool:
    """Whether an object is selected."""
    metadata = manifest["metadata"]
    own = metadata.get("labels") or {}
    names = {"metadata.name": metadata["name"], "metadata.namespace": metadata.get("namespace", "")}
    return all(_holds(term, own) for term in _terms(labels)) and all(_holds(term, names) for term in _terms(fields))


def _terms(selector: str | None) -> list[str]:
    return [term.strip() for term in re.split(r",(?![^(]*\))", selector or "") if term.strip()]


def _holds(term: str, values: dict[str, str]) -> bool:
    if found := _SET.fullmatch(term):
        within = values.get(found[1]) in [item.strip() for item in found[3].split(",")]
        return within == (found[2] == "in")
    if "!=" in term:
        key, _, value = term.partition("!=")
        return values.get(key) != value
    if "=" in term:
        key, _, value = term.partition("=")
        return values.get(key) == value.removeprefix("=")
    return (term.removeprefix("!") in values) != term.startswith("!")
