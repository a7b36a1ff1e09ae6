"""Names that Kubernetes takes."""

from __future__ import annotations

import re

from slipway.client.errors import InvalidInputError

MAX_NAME = 46
"""Characters: pods add a hash and a suffix of 17 at most, and a label value or host name has 63 (RFC 1123)."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def check_name(name: str, what: str = "model service") -> str:
    """Returns the name; `InvalidInputError` when it is no DNS label or too long, with one that would do."""
    if _LABEL.fullmatch(name) and len(name) <= MAX_NAME:
        return name
    raise InvalidInputError(f"{name!r} cannot be the name of a {what}: {_problem(name)}.", _proposal(name))


def _problem(name: str) -> str:
    if not name:
        return "it is empty"
    if len(name) > MAX_NAME:
        return f"it has {len(name)} characters, at most {MAX_NAME} fit into the names of its pods"
    bad = sorted(set(re.findall(r"[^-a-z0-9]", name)))
    if bad:
        return f"it has {', '.join(map(repr, bad[:5]))}; a DNS label has lower-case letters, digits and '-' only"
    return "a DNS label begins and ends with a letter or digit"


def _proposal(name: str) -> str:
    proposal = re.sub(r"[^a-z0-9]+", "-", name.lower())[:MAX_NAME].strip("-")
    return f"For example: {proposal}." if proposal else "For example: iris."
