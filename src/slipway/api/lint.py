"""Rules of our own for the API, checked on the definitions that the API server gets.

`python -m slipway.api.lint` prints what breaks them. A rule is a function over one place of a schema, or over a whole
definition; its sentence says why it is there. What may break a rule is in `EXCEPTIONS`, each with its reason. The ideas
are those of the Kubernetes API conventions and of Kube API linter, which reads Go types and cannot read ours.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from slipway.api.cost import MOST_COST, MOST_TOTAL_COST, Unbounded, cost
from slipway.api.crd import RESOURCES, crd
from slipway.api.schema import Schema, children

EXCEPTIONS: Final[Mapping[tuple[str, str], str]] = {
    ("units", "ModelService.spec.server.podTemplate.tolerations[].tolerationSeconds"): "it is called so in a Pod",
    ("no-holes", "ModelService.spec.server.podTemplate.affinity"): "a Pod's own type, checked there by the API server",
    ("enum-values", "ModelService.spec.model.format"): "formats are called as their projects call them",
    ("enum-values", "ModelService.spec.scaling.target.metric"): "resources are called as in `requests`",
    ("map-keys", "ModelService.spec.server.resources.requests"): "a cluster's devices are not known here",
    ("map-keys", "ModelService.spec.server.resources.limits"): "a cluster's devices are not known here",
}
"""Rule and path of what may break a rule, and why."""

SPEC: Final = "spec"
STATUS: Final = "status"


@dataclass(frozen=True, slots=True)
class Place:
    """One field, list item or map value of a schema.

    `part` is `spec`, `status` or empty; `times` is how often it can occur in one object, 0 where nothing bounds it.
    """

    path: str
    name: str
    node: Schema
    part: str
    required: bool
    times: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What breaks which rule, and where."""

    rule: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message} ({self.rule}: {SENTENCES[self.rule]})"


FieldCheck = Callable[[Place], Iterator[str]]
DefinitionCheck = Callable[[Schema], Iterator[str]]
FIELD_RULES: Final[dict[str, FieldCheck]] = {}
DEFINITION_RULES: Final[dict[str, DefinitionCheck]] = {}
SENTENCES: Final[dict[str, str]] = {}


def _field(name: str, sentence: str) -> Callable[[FieldCheck], FieldCheck]:
    def add(check: FieldCheck) -> FieldCheck:
        FIELD_RULES[name], SENTENCES[name] = check, sentence
        return check

    return add


def _definition(name: str, sentence: str) -> Callable[[DefinitionCheck], DefinitionCheck]:
    def add(check: DefinitionCheck) -> DefinitionCheck:
        DEFINITION_RULES[name], SENTENCES[name] = check, sentence
        return check

    return add


def lint(definition: Schema, exceptions: Mapping[tuple[str, str], str] = EXCEPTIONS) -> list[Finding]:
    """What breaks the rules in a CustomResourceDefinition, but for the exceptions."""
    kind = definition["spec"]["names"]["kind"]
    found = [
        Finding(name, place.path, message)
        for place in places(schema_of(definition), kind)
        for name, check in FIELD_RULES.items()
        for message in check(place)
    ]
    found += [Finding(name, kind, message) for name, check in DEFINITION_RULES.items() for message in check(definition)]
    return [finding for finding in found if (finding.rule, finding.path) not in exceptions]


def schema_of(definition: Schema) -> Schema:
    """The schema of the one version of a definition."""
    (version,) = definition["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def places(schema: Schema, kind: str) -> Iterator[Place]:
    """Every place of an object's schema but `apiVersion`, `kind` and `metadata`, which are the API server's."""
    yield Place(kind, "", schema, "", required=True, times=1)
    for part in (SPEC, STATUS):
        if part in schema["properties"]:
            required = part in schema.get("required", ())
            yield from _below(Place(f"{kind}.{part}", part, schema["properties"][part], part, required, 1))


def _below(place: Place) -> Iterator[Place]:
    yield place
    times = place.times * _most(place.node)
    for suffix, child in children(place.node):
        name = suffix.removeprefix(".") if suffix.startswith(".") else ""
        required = name in place.node.get("required", ())
        yield from _below(Place(place.path + suffix, name, child, place.part, required, times))


def _most(node: Schema) -> int:
    """How many times what is directly below a schema can occur; 0 where nothing bounds it."""
    if node.get("type") == "array":
        return int(node.get("maxItems", 0))
    return int(node.get("maxProperties", 0)) if "additionalProperties" in node else 1


# What everything has to be bounded for: one object must not fill etcd, and a CEL rule must have a worst case.


@_field("bounded-lists", "one object must not be able to fill the store")
def _bounded_lists(place: Place) -> Iterator[str]:
    if place.node.get("type") == "array" and "maxItems" not in place.node:
        yield "a list without maxItems"


@_field("bounded-strings", "one object must not be able to fill the store")
def _bounded_strings(place: Place) -> Iterator[str]:
    is_text = place.node.get("type") == "string" or "x-kubernetes-int-or-string" in place.node
    if is_text and not {"enum", "maxLength"} & place.node.keys():
        yield "a string without maxLength or enum"


@_field("bounded-maps", "one object must not be able to fill the store")
def _bounded_maps(place: Place) -> Iterator[str]:
    if "additionalProperties" in place.node and "maxProperties" not in place.node:
        yield "a map without maxProperties"


@_field("map-keys", "a key that nobody checks is a typing error that nobody sees")
def _map_keys(place: Place) -> Iterator[str]:
    rules = [rule["rule"] for rule in _rules(place.node)]
    if "additionalProperties" in place.node and not any(rule.startswith("self.all(") for rule in rules):
        yield "a map without a rule for its keys; make them `Text`"


@_field("bounded-numbers", "a number without bounds is one that the code behind it was never tried with")
def _bounded_numbers(place: Place) -> Iterator[str]:
    wanted = ("minimum", "maximum") if place.part == SPEC else ("minimum",)
    missing = [bound for bound in wanted if bound not in place.node]
    if place.node.get("type") == "integer" and missing:
        yield f"a number without {' and '.join(missing)}"


@_field("whole-numbers", "programs round fractions differently; a quantity or a percentage says the same")
def _whole_numbers(place: Place) -> Iterator[str]:
    if place.node.get("type") == "number":
        yield "a fraction"


_UNIT: Final = re.compile("(Seconds|Minutes|Hours|Millis|Bytes|M[Bb]|G[Bb])$")


@_field("units", "`60s` and `512Mi` are read right by everyone")
def _units(place: Place) -> Iterator[str]:
    if place.part == SPEC and place.node.get("type") == "integer" and _UNIT.search(place.name):
        yield "a number whose unit is in its name; use a duration or a quantity"


# What server-side apply and old clients need.


@_field("list-types", "server-side apply must know who owns what in a list")
def _list_types(place: Place) -> Iterator[str]:
    if place.node.get("type") != "array":
        return
    how, items = place.node.get("x-kubernetes-list-type"), place.node["items"]
    if how not in {"atomic", "set", "map"}:
        yield "a list without x-kubernetes-list-type"
    if how == "set" and items.get("type") not in {"string", "integer"}:
        yield "a set of things that are not scalars"
    if how == "map":
        yield from _list_keys(place.node.get("x-kubernetes-list-map-keys", []), items)


def _list_keys(keys: list[str], items: Schema) -> Iterator[str]:
    if not keys:
        yield "a list of type map without x-kubernetes-list-map-keys"
    for key in keys:
        if key not in items.get("properties", {}):
            yield f"its key {key!r} is no field of its items"
        elif key not in items.get("required", ()):
            yield f"its key {key!r} is not required"


@_field("no-booleans", "a boolean cannot become a third thing later; an enum can")
def _no_booleans(place: Place) -> Iterator[str]:
    if place.part == SPEC and place.node.get("type") == "boolean":
        yield "a boolean"


@_field("no-holes", "what is not in the schema is not checked, not documented and not kept")
def _no_holes(place: Place) -> Iterator[str]:
    if "x-kubernetes-preserve-unknown-fields" in place.node:
        yield "takes any field"
    elif place.node.get("type") == "object" and not {"properties", "additionalProperties"} & place.node.keys():
        yield "an object without fields"
    if place.node.get("nullable"):
        yield "takes null, which means nothing"


@_field("names", "all of Kubernetes writes camelCase")
def _names(place: Place) -> Iterator[str]:
    if place.name and not re.fullmatch("[a-z][a-zA-Z0-9]*", place.name):
        yield f"{place.name!r} is not camelCase"


@_field("enum-values", "all of Kubernetes writes CamelCase; names of others are written as they write them")
def _enum_values(place: Place) -> Iterator[str]:
    for value in place.node.get("enum", ()):
        if not re.fullmatch("[A-Z][A-Za-z0-9]*", value):
            yield f"the value {value!r} is not CamelCase"


@_field("presence", "a field is either needed, and then says something, or has a meaning when it is absent")
def _presence(place: Place) -> Iterator[str]:
    properties = place.node.get("properties", {})
    for name in place.node.get("required", ()):
        if name not in properties:
            yield f"requires {name!r}, which is no field"
    if place.required and "default" in place.node:
        yield "is required and has a default"
    if place.required and place.node.get("type") == "string" and not {"enum", "minLength"} & place.node.keys():
        yield "is required and may be empty"


@_field("defaults", "a default is what a person could have written")
def _defaults(place: Place) -> Iterator[str]:
    if "default" not in place.node:
        return
    value = place.node["default"]
    if place.part == STATUS:
        yield "a default in status: absent means that nothing is known"
    if problem := _default_problem(value, place.node):
        yield f"its default {value!r} {problem}"


_TYPES: Final = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}


def _default_problem(value: Any, node: Schema) -> str:
    if not isinstance(value, _TYPES.get(node.get("type", ""), object)):
        return f"is not of type {node['type']}"
    if "enum" in node and value not in node["enum"]:
        return "is not in its enum"
    if isinstance(value, int) and not node.get("minimum", value) <= value <= node.get("maximum", value):
        return "is out of its bounds"
    return ""


# What people read.


@_field("descriptions", "`kubectl explain` and the reference page say nothing else")
def _descriptions(place: Place) -> Iterator[str]:
    text = place.node.get("description", "")
    if not text:
        if place.name or not place.path.endswith(("[]", "{}")):
            yield "has no description"
    elif not (text.endswith(".") and (text[0].isupper() or text[0] == "`")):
        yield "its description is not a sentence"


_INSTRUCTION: Final = re.compile(
    r"(; |^)(add|choose|examples?|give|it begins|lower|name|put|raise|remove|say|set|use|write)\b"
)


@_field("rule-messages", "a refusal says what to do, not only that something is wrong")
def _rule_messages(place: Place) -> Iterator[str]:
    for rule in _rules(place.node):
        message = rule.get("message", "")
        if not message:
            yield f"the rule {rule['rule']!r} has no message"
        elif not _INSTRUCTION.search(message):
            yield f"the message {message!r} does not say what to do"
        elif message.endswith(".") or "\n" in message:
            yield f"the message {message!r} is not one line without a full stop"


_PATTERN: Final = re.compile(r"""matches\(("|')(.*?)\1\)""")


@_field("anchored-patterns", "a pattern matches anywhere in a text unless it is anchored")
def _anchored_patterns(place: Place) -> Iterator[str]:
    for rule in _rules(place.node):
        is_condition = "||" in rule["rule"]  # which may ask how a text begins
        for _, pattern in _PATTERN.findall(rule["rule"]):
            if not (pattern.startswith("^") and (pattern.endswith("$") or is_condition)):
                yield f"the pattern {pattern!r} is not anchored"
    if not re.fullmatch(r"\^.*\$", place.node.get("pattern", "^$")):
        yield f"the pattern {place.node['pattern']!r} is not anchored"


_SECRET: Final = re.compile("(password|passwd|passphrase|token|secret|apikey|privatekey|credentials?)$", re.IGNORECASE)


@_field("no-secrets", "objects are read by many, and kept in logs and in Git; secrets belong in Secrets")
def _no_secrets(place: Place) -> Iterator[str]:
    if place.node.get("type") == "string" and _SECRET.search(place.name):
        yield "looks like a secret in clear text; take a reference to a Secret"


# What rules in CEL may cost: the API server refuses a definition that is dearer.


@_field("rule-costs", "the API server refuses definitions whose rules could take too long")
def _rule_costs(place: Place) -> Iterator[str]:
    for rule in _rules(place.node):
        try:
            estimate = cost(rule["rule"], place.node) * place.times
        except Unbounded as error:
            yield f"the rule {rule['rule']!r} walks {error}, which has no bound"
            continue
        if not place.times:
            yield f"the rule {rule['rule']!r} is within a list or map without a bound"
        if estimate > MOST_COST:
            yield f"the rule {rule['rule']!r} may cost {estimate:.0f}, above {MOST_COST}"


@_definition("total-cost", "the API server refuses definitions whose rules could take too long")
def _total_cost(definition: Schema) -> Iterator[str]:
    total = 0.0
    for place in places(schema_of(definition), ""):
        for rule in _rules(place.node):
            try:
                total += cost(rule["rule"], place.node) * place.times
            except Unbounded:
                return  # "rule-costs" says it
    if total > MOST_TOTAL_COST:
        yield f"all rules together may cost {total:.0f}, above {MOST_TOTAL_COST}"


# What a whole definition needs.


@_definition("conditions-first", "conditions say how an object is, in the same shape for all kinds")
def _conditions_first(definition: Schema) -> Iterator[str]:
    fields = schema_of(definition)["properties"].get(STATUS, {}).get("properties", {})
    if next(iter(fields), "") != "conditions":
        yield "`conditions` is not the first field of status"
        return
    conditions = fields["conditions"]
    if (conditions.get("x-kubernetes-list-type"), conditions.get("x-kubernetes-list-map-keys")) != ("map", ["type"]):
        yield "`conditions` is not a list of type map with the key `type`"


@_definition("no-phase", "a phase hides what conditions say, and cannot grow")
def _no_phase(definition: Schema) -> Iterator[str]:
    for name in schema_of(definition)["properties"].get(STATUS, {}).get("properties", {}):
        if name in {"phase", "state"}:
            yield f"`{name}` in status"


@_definition("status-subresource", "who writes a spec must not write its status by mistake")
def _status_subresource(definition: Schema) -> Iterator[str]:
    (version,) = definition["spec"]["versions"]
    if version.get("subresources", {}).get("status") is None:
        yield "no status subresource"


@_definition("columns", "`kubectl get` shows an empty column for a path that is wrong, and says nothing")
def _columns(definition: Schema) -> Iterator[str]:
    (version,) = definition["spec"]["versions"]
    for column in version["additionalPrinterColumns"]:
        kind = _type_at(schema_of(definition), column["jsonPath"])
        if not column.get("description", "").endswith("."):
            yield f"the column {column['name']} is not described"
        if kind != column["type"]:
            yield f"the column {column['name']} shows {column['jsonPath']}, which is {kind or 'no field'}"


def _type_at(schema: Schema, json_path: str) -> str:
    if json_path == ".metadata.creationTimestamp":
        return "date"
    for step in re.sub(r"\[\?\(.*?\)\]", ".[]", json_path).strip(".").split("."):
        schema = schema.get("items", {}) if step == "[]" else schema.get("properties", {}).get(step, {})
    return str(schema.get("type", ""))


def _rules(node: Schema) -> list[dict[str, str]]:
    rules: list[dict[str, str]] = node.get("x-kubernetes-validations", [])
    return rules


def main(definitions: Iterable[Schema]) -> int:
    """Prints what is found; the exit status is 1 where there is something."""
    found = [finding for definition in definitions for finding in lint(definition)]
    sys.stdout.writelines(f"{finding}\n" for finding in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(map(crd, RESOURCES)))
