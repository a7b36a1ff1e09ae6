"""Names that Kubernetes takes."""

from __future__ import annotations

import re

from slipway.client.errors import InvalidInputError

PATTERN = "[a-z]([-a-z0-9]*[a-z0-9])?"
MAX_NAME = 50
"""Characters. As in `slipway.api.modelservice`, which takes a quarter of a second to import; a test compares them."""


def check_name(name: str, what: str = "model service") -> str:
    """Returns the name; `InvalidInputError` when it is no DNS label or too long, with one that would do."""
    if re.fullmatch(PATTERN, name) and len(name) <= MAX_NAME:
        return name
    raise InvalidInputError(f"{name!r} cannot be the name of a {what}: {_problem(name)}.", _proposal(name))


def _problem(name: str) -> str:
    if not name:
        return "it is empty"
    if len(name) > MAX_NAME:
        return f"it has {len(name)} characters, at most {MAX_NAME} leave room for the names of its pods"
    bad = sorted(set(re.findall(r"[^-a-z0-9]", name)))
    if bad:
        return f"it has {', '.join(map(repr, bad[:5]))}; a DNS label has lower-case letters, digits and '-' only"
    return "it must begin with a letter and end with a letter or digit"


def _proposal(name: str) -> str:
    proposal = re.sub(r"[^a-z0-9]+", "-", name.lower()).lstrip("-0123456789")[:MAX_NAME].rstrip("-")
    return f"For example: {proposal}." if proposal else "For example: iris."
