"""Whether what was released still means what it meant: the schema of a release against the present one.

A release keeps its schema as a file of facts, a line for each field, that a person can review:

    python -m slipway.api.compatibility write tests/unit/api/released/0.2.0

The directory is new with each release and is never changed afterwards: an object that was right once stays right. From
then on `tests/unit/api/test_api_compatibility.py` compares every released file with the present API, and

    python -m slipway.api.compatibility check tests/unit/api/released

prints the same sentences. Adding optional fields and accepting more is fine. Reported is what refuses or changes
objects that exist, or what programs have come to rely on: a field that went away or was renamed, another type or list
type, another default, a value, length or number that is no longer accepted, a new required field, a new rule. What has
to change in spite of that goes into a new version of the API.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from operator import gt, lt
from pathlib import Path
from typing import Any, Final

import yaml

from slipway.api.crd import RESOURCES, crd, file_name
from slipway.api.lint import STATUS, Place, places, schema_of
from slipway.api.schema import Schema

Facts = dict[str, Any]
"""What counts of one field; absent is what the schema does not say."""
Released = dict[str, Any]
"""`names`: how the kind is called and served; `fields`: path to facts."""

Wider = Callable[[str, str], bool]
"""Whether a second pattern matches all that the first one does."""

_BOUNDS: Final = {
    "minimum": gt,
    "minLength": gt,
    "minItems": gt,
    "minProperties": gt,
    "maximum": lt,
    "maxLength": lt,
    "maxItems": lt,
    "maxProperties": lt,
}
"""Each bound, and when a new one is tighter."""
_KEPT: Final = ("default", "enum", *_BOUNDS, "pattern")
_PATTERN: Final = re.compile(r"""self[.]matches\((["'])\^(.*)\$\1\)""")
_NEEDS_A_FIELD: Final = re.compile(r"!has\(self[.](\w+)\) [|][|] ")


def facts(definition: Schema) -> Released:
    """What counts of a CustomResourceDefinition."""
    spec = definition["spec"]
    (version,) = spec["versions"]
    names = {name: spec["names"][name] for name in ("kind", "plural", "shortNames", "categories")}
    found = places(schema_of(definition), spec["names"]["kind"])
    return {
        "names": names | {"group": spec["group"], "scope": spec["scope"], "version": version["name"]},
        "fields": {place.path: _facts(place) for place in found},
    }


def compare(released: Released, now: Released, wider: Wider = str.__eq__) -> list[str]:
    """Sentences about what changed its meaning; empty where everything that was right still is."""
    before, after = released["fields"], now["fields"]
    found = [*_names(released["names"], now["names"])]
    for path, old in before.items():
        if path in after:
            sentences = _field(path, old, after[path], before, wider)
            found += [f"{path}: {sentence}" for sentence in sentences]
        elif _parent(path) in after:
            found.append(f"{path}: is no longer there{_renamed(path, before, after)}")
    found += [
        f"{path}: is new and required; objects without it are refused"
        for path, new in after.items()
        if path not in before and new.get("required") and _parent(path) in before
    ]
    return found


def _facts(place: Place) -> Facts:
    node = place.node
    said = {
        "type": "quantity" if "x-kubernetes-int-or-string" in node else node.get("type"),
        "required": place.required and bool(place.name),
        "open": node.get("x-kubernetes-preserve-unknown-fields"),
        "list": node.get("x-kubernetes-list-type"),
        "keys": node.get("x-kubernetes-list-map-keys"),
        "rules": [rule["rule"] for rule in node.get("x-kubernetes-validations", ())],
    }
    return {key: value for key, value in said.items() if value} | {key: node[key] for key in _KEPT if key in node}


def _names(old: Facts, new: Facts) -> Iterator[str]:
    for name, value in old.items():
        kept = set(value) <= set(new[name]) if isinstance(value, list) else value == new[name]
        if not kept:
            yield f"{old['kind']}: its {name} was {_said(value)} and is {_said(new[name])}"


def _field(path: str, old: Facts, new: Facts, before: Mapping[str, Facts], wider: Wider) -> Iterator[str]:
    if old["type"] != new["type"]:
        yield f"its type was {old['type']} and is {new['type']}"
    for what, called in (("list", "list type"), ("keys", "list keys")):
        if old.get(what) != new.get(what):
            yield f"its {called}: {_said(old.get(what))} before, {_said(new.get(what))} now; who owns what changes"
    if old.get("default") != new.get("default"):
        was, now = _said(old.get("default")), _said(new.get("default"))
        yield f"its default was {was} and is {now}; objects that leave it out change"
    yield from _presence(path, old, new)
    yield from _values(old, new)
    yield from _rules(path, old, new, before, wider)


def _presence(path: str, old: Facts, new: Facts) -> Iterator[str]:
    if new.get("required") and not old.get("required"):
        yield "is required now; objects without it are refused"
    if old.get("required") and not new.get("required") and path.split(".")[1] == STATUS:
        yield "is no longer required; its readers rely on it"
    if old.get("open") and not new.get("open"):
        yield "no longer takes any field"


def _values(old: Facts, new: Facts) -> Iterator[str]:
    if "enum" in new:
        if "enum" not in old:
            yield f"takes only {_said(new['enum'])} now"
        for value in old.get("enum", ()):
            if value not in new["enum"]:
                yield f"no longer takes {_said(value)}"
    for bound, is_tighter in _BOUNDS.items():
        if bound in new and (bound not in old or is_tighter(new[bound], old[bound])):
            yield f"its {bound} was {_said(old.get(bound))} and is {new[bound]}; what was accepted is refused"


def _rules(path: str, old: Facts, new: Facts, before: Mapping[str, Facts], wider: Wider) -> Iterator[str]:
    patterns = [found[2] for rule in old.get("rules", ()) if (found := _PATTERN.fullmatch(rule))]
    for rule in new.get("rules", ()):
        if rule in old.get("rules", ()) or _is_about_new_field(rule, path, before):
            continue
        match = _PATTERN.fullmatch(rule)
        if match and any(wider(pattern, match[2]) for pattern in patterns):
            continue
        was = f"; its pattern was {patterns[0]}" if match and patterns else ""
        yield f"has a rule that it did not have: {rule}{was}"
    if (
        "pattern" in new
        and new["pattern"] != old.get("pattern")
        and not wider(old.get("pattern", ".*"), new["pattern"])
    ):
        yield f"its pattern was {_said(old.get('pattern'))} and is {new['pattern']}"


def _is_about_new_field(rule: str, path: str, before: Mapping[str, Facts]) -> bool:
    """Whether a rule holds for every object that does not have some field that was not there before."""
    match = _NEEDS_A_FIELD.match(rule)
    return match is not None and " ? " not in rule and f"{path}.{match[1]}" not in before


def _parent(path: str) -> str:
    return path[:-2] if path.endswith(("[]", "{}")) else path.rpartition(".")[0]


def _renamed(path: str, before: Mapping[str, Facts], after: Mapping[str, Facts]) -> str:
    for other, new in after.items():
        if other not in before and _parent(other) == _parent(path) and new == before[path]:
            return f"; it looks as if it were renamed to {other}"
    return ""


def _said(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)


def text(released: Released, version: str) -> str:
    """The file of a release: a line for each field."""
    names = released["names"]
    lines = [
        f"# {names['kind']} as it was released in {version}; never changed. See slipway.api.compatibility.",
        f"names: {json.dumps(names)}",
        "fields:",
        *(f"  {path}: {json.dumps(said)}" for path, said in released["fields"].items()),
    ]
    return "\n".join(lines) + "\n"


def check(directory: Path, wider: Wider = str.__eq__) -> list[str]:
    """`compare` of every release in a directory with the present API; each sentence begins with the release."""
    present = {file_name(resource): facts(crd(resource)) for resource in RESOURCES}
    found = []
    for file in sorted(directory.glob("*/*.yaml")):
        released = yaml.safe_load(file.read_text(encoding="utf-8"))
        now = present.get(file.name)
        sentences = compare(released, now, wider) if now else [f"{released['names']['kind']}: is no longer served"]
        found += [f"{file.parent.name}: {sentence}" for sentence in sentences]
    return found


def main(command: str, directory: Path) -> int:
    """Writes the files of a release, or prints what changed since all of them; then the exit status is 1."""
    if command == "write":
        directory.mkdir(parents=True)
        for resource in RESOURCES:
            written = text(facts(crd(resource)), directory.name)
            (directory / file_name(resource)).write_text(written, encoding="utf-8")
        return 0
    found = check(directory)
    sys.stdout.writelines(f"{sentence}\n" for sentence in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
