"""What is wrong with the part of a manifest that all kinds have: `metadata`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from slipway.api.problem import Problem, known_names, path_of, quoted, wrong_type
from slipway.api.resource import Resource

FIELDS: Final = {
    "name": "a string",
    "namespace": "a string",
    "labels": "an object",
    "annotations": "an object",
    "finalizers": "a list",
    "ownerReferences": "a list",
    "managedFields": "a list",
    "uid": "a string",
    "resourceVersion": "a string",
    "generation": "a whole number",
    "creationTimestamp": "a string",
    "deletionTimestamp": "a string",
    "deletionGracePeriodSeconds": "a whole number",
}
"""The fields of ObjectMeta that a manifest may have, and what they are."""
_TYPES: Final = {"a string": str, "an object": dict, "a list": list, "a whole number": int}

_NAME: Final = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY: Final = re.compile(f"([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}")
_LABEL: Final = re.compile(f"({_NAME})?")
_NAMESPACE: Final = re.compile("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_HINT: Final = "use at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"


def metadata_problems(metadata: Any, resource: Resource) -> Iterator[Problem]:
    """Everything that is wrong with `metadata`; what is null counts as absent, as for the API server."""
    if metadata is None:
        yield Problem("metadata", "is missing", "metadata.name is needed")
        return
    if not isinstance(metadata, dict):
        yield Problem("metadata", wrong_type("an object", metadata)[0], "metadata.name is needed")
        return
    present = {key: value for key, value in metadata.items() if value is not None}
    for key, value in present.items():
        yield from _field(key, value, resource)
    if "name" not in present:
        yield Problem("metadata.name", "is missing", "give the object a name")


def _field(key: Any, value: Any, resource: Resource) -> Iterator[Problem]:
    path = path_of(("metadata", str(key)))
    wanted = FIELDS.get(key)
    if wanted is None:
        yield Problem(path, "unknown field", known_names(str(key), FIELDS))
    elif not _is(wanted, value):
        yield Problem(path, *wrong_type(wanted, value))
    elif key == "name":
        yield from _name(value, resource)
    elif key == "namespace" and not _NAMESPACE.fullmatch(value):
        yield Problem(path, f"{quoted(value)} cannot be the name of a namespace", "use at most 63 of a-z, 0-9 and '-'")
    elif key in {"labels", "annotations"}:
        yield from _texts(key, value)
    elif key == "finalizers":
        for index, item in enumerate(value):
            if not isinstance(item, str):
                yield Problem(f"{path}[{index}]", *wrong_type("a string", item))


def _is(wanted: str, value: Any) -> bool:
    return isinstance(value, _TYPES[wanted]) and not isinstance(value, bool)


def _name(name: str, resource: Resource) -> Iterator[Problem]:
    if not re.fullmatch(resource.name_pattern, name) or len(name) > resource.name_most:
        yield Problem(
            "metadata.name",
            f"{quoted(name)} cannot be the name of a {resource.kind}",
            _name_hint(name, resource),
        )


def _name_hint(name: str, resource: Resource) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[: resource.name_most].strip("-")
    if re.fullmatch(resource.name_pattern, plain):
        return f"write {plain}"
    return f"use at most {resource.name_most} of a-z, 0-9 and '-', beginning with a letter and not ending with '-'"


def _texts(field: str, texts: dict[Any, Any]) -> Iterator[Problem]:
    for key, value in texts.items():
        path = path_of(("metadata", field, str(key)))
        if not isinstance(key, str):
            yield Problem(f"metadata.{field}", f"the key {key_text(key)} is not a string", "put it in quotes")
        elif not _KEY.fullmatch(key):
            yield Problem(
                f"metadata.{field}", f"{quoted(key)} is not a key", "write NAME or PREFIX/NAME: example.com/team"
            )
        elif value is not None and not isinstance(value, str):
            yield Problem(path, *wrong_type("a string", value))
        elif field == "labels" and value and not _LABEL.fullmatch(value):
            yield Problem(path, f"{quoted(value)} is not the value of a label", _LABEL_HINT)


def key_text(key: Any) -> str:
    """A key that is not a string, as it is written in YAML."""
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    return str(key)[:60] if isinstance(key, int | float) else "here"
