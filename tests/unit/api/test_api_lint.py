"""The rules of the API: the present one keeps them, and each rule finds what breaks it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from slipway.api import lint
from slipway.api.cost import cost
from slipway.api.crd import RESOURCES, crd

Node = dict[str, Any]
KINDS = pytest.mark.parametrize("definition", [crd(resource) for resource in RESOURCES], ids=lambda made: made["kind"])


@KINDS
def test_the_api_keeps_the_rules(definition: Node) -> None:
    assert [str(finding) for finding in lint.lint(definition)] == []


def test_each_exception_is_needed_and_has_its_reason() -> None:
    found = {
        (finding.rule, finding.path) for resource in RESOURCES for finding in lint.lint(crd(resource), exceptions={})
    }
    assert found == set(lint.EXCEPTIONS)
    assert all(lint.EXCEPTIONS.values())


def without(key: str) -> Callable[[Node], Any]:
    return lambda node: node.pop(key)


def having(**keys: Any) -> Callable[[Node], Any]:
    return lambda node: node.update(keys)


def rule(text: str, message: str = "is wrong; use another") -> Callable[[Node], Any]:
    return lambda node: node.update({"x-kubernetes-validations": [{"rule": text, "message": message}]})


def field(name: str, **schema: Any) -> Callable[[Node], Any]:
    return lambda node: node["properties"].update({name: {"description": "A field."} | schema})


def no_keys(node: Node) -> None:
    del node["x-kubernetes-list-map-keys"]


def conditions_last(node: Node) -> None:
    node["properties"]["conditions"] = node["properties"].pop("conditions")


HOLE = {"x-kubernetes-preserve-unknown-fields": True}
TEXT: dict[str, Any] = {"type": "string", "maxLength": 9}
BROKEN: list[tuple[str, str, Callable[[Node], Any], str]] = [
    ("bounded-lists", "spec.server.env", without("maxItems"), "a list without maxItems"),
    ("bounded-strings", "spec.model.uri", without("maxLength"), "a string without maxLength or enum"),
    ("bounded-strings", "spec.server.resources.limits{}", without("maxLength"), "a string without maxLength or enum"),
    ("bounded-maps", "spec.server.resources.limits", without("maxProperties"), "a map without maxProperties"),
    (
        "map-keys",
        "spec.server",
        field("files", type="object", maxProperties=9, additionalProperties=TEXT),
        "a map without a rule for its keys",
    ),
    ("bounded-numbers", "spec.scaling.min", without("maximum"), "a number without maximum"),
    ("bounded-numbers", "status.replicas", without("minimum"), "a number without minimum"),
    ("whole-numbers", "spec.scaling.min", having(type="number"), "a fraction"),
    (
        "units",
        "spec.routing",
        field("waitSeconds", type="integer", minimum=0, maximum=9),
        "a number whose unit is in its name",
    ),
    ("list-types", "spec.server.env", without("x-kubernetes-list-type"), "a list without x-kubernetes-list-type"),
    ("list-types", "spec.server.env", no_keys, "without x-kubernetes-list-map-keys"),
    ("list-types", "spec.server.env[]", without("required"), "its key 'name' is not required"),
    ("list-types", "spec.server.env", having(**{"x-kubernetes-list-map-keys": ["no"]}), "its key 'no' is no field"),
    ("list-types", "spec.server.env", having(**{"x-kubernetes-list-type": "set"}), "a set of things that are not"),
    ("no-booleans", "spec.scaling.min", having(type="boolean"), "a boolean"),
    ("no-holes", "spec.server", without("properties"), "an object without fields"),
    ("no-holes", "spec.server.resources.limits", having(**HOLE), "takes any field"),
    ("no-holes", "spec.model", having(nullable=True), "takes null"),
    ("names", "spec.model", field("check_sum", **TEXT), "'check_sum' is not camelCase"),
    ("enum-values", "spec.scaling", field("how", type="string", enum=["fast"]), "the value 'fast' is not CamelCase"),
    ("presence", "spec.model", having(required=["uri", "url"]), "requires 'url', which is no field"),
    ("presence", "spec.model.uri", having(default="oci://r/m"), "is required and has a default"),
    ("presence", "spec.model.uri", without("minLength"), "is required and may be empty"),
    ("defaults", "spec.scaling.min", having(default="1"), "its default '1' is not of type integer"),
    ("defaults", "spec.scaling.min", having(default=0), "its default 0 is out of its bounds"),
    ("defaults", "spec.scaling.target.metric", having(default="gpu"), "its default 'gpu' is not in its enum"),
    ("defaults", "status.replicas", having(default=0), "a default in status"),
    ("descriptions", "spec.model", without("description"), "has no description"),
    ("descriptions", "spec.model", having(description="which model"), "its description is not a sentence"),
    ("descriptions", "spec.server.env[]", having(description="One"), "its description is not a sentence"),
    ("rule-messages", "spec.model.uri", rule("true", ""), "the rule 'true' has no message"),
    ("rule-messages", "spec.model.uri", rule("true", "is wrong"), "does not say what to do"),
    ("rule-messages", "spec.model.uri", rule("true", "use another."), "is not one line without a full stop"),
    ("anchored-patterns", "spec.model.uri", rule('self.matches("^a")'), "the pattern '^a' is not anchored"),
    ("anchored-patterns", "spec.model.uri", rule("self == 'b' || self.matches('a')"), "the pattern 'a' is not"),
    ("anchored-patterns", "spec.model.uri", having(pattern="a$"), "the pattern 'a$' is not anchored"),
    ("no-secrets", "spec.model", field("apiToken", **TEXT), "looks like a secret in clear text"),
    ("rule-costs", "spec.server", rule("self.names.all(n, n == 'a')"), "walks self.names, which has no bound"),
    ("rule-costs", "spec.server.env", without("maxItems"), "is within a list or map without a bound"),
    (
        "rule-costs",
        "spec.server",
        rule("self.env.all(a, self.env.all(b, a.value.matches('^x{1,4096}$')))"),
        ", above 10000000",
    ),
    (
        "total-cost",
        "spec.server",
        rule("self.env.all(a, self.env.all(b, a.value.matches('^x{1,4096}$')))"),
        "all rules together may cost",
    ),
    ("conditions-first", "status", conditions_last, "`conditions` is not the first field of status"),
    (
        "conditions-first",
        "status.conditions",
        having(**{"x-kubernetes-list-type": "atomic"}),
        "is not a list of type map",
    ),
    ("no-phase", "status", field("phase", **TEXT), "`phase` in status"),
    ("status-subresource", "/", lambda version: version.pop("subresources"), "no status subresource"),
    ("columns", "/", lambda version: version["additionalPrinterColumns"][0].pop("description"), "is not described"),
    (
        "columns",
        "/",
        lambda version: version["additionalPrinterColumns"][2].update(jsonPath=".status.uri"),
        "the column URL shows .status.uri, which is no field",
    ),
    (
        "columns",
        "/",
        lambda version: version["additionalPrinterColumns"][3].update(type="string"),
        "which is integer",
    ),
]


def at(definition: Node, path: str) -> Node:
    (version,) = definition["spec"]["versions"]
    if path == "/":
        return version
    node = version["schema"]["openAPIV3Schema"]
    for step in path.replace("[]", ".[]").replace("{}", ".{}").split("."):
        node = {"[]": node.get("items"), "{}": node.get("additionalProperties")}.get(step) or node["properties"][step]
    return node


@pytest.mark.parametrize(
    ("name", "path", "change", "message"), BROKEN, ids=[f"{case[0]}-{case[1]}-{case[3]:.30}" for case in BROKEN]
)
def test_each_rule_finds_what_breaks_it(name: str, path: str, change: Callable[[Node], Any], message: str) -> None:
    definition = copy.deepcopy(crd(RESOURCES[0]))
    change(at(definition, path))
    found = [finding for finding in lint.lint(definition) if finding.rule == name]
    assert any(message in finding.message for finding in found)
    assert all(str(finding).startswith("ModelService") for finding in found)


def test_each_rule_has_its_test() -> None:
    assert {name for name, *_ in BROKEN} == set(lint.SENTENCES) == {*lint.FIELD_RULES, *lint.DEFINITION_RULES}


@pytest.mark.parametrize(
    ("pattern", "most", "theirs"),
    [
        ("^[-._a-zA-Z][-._a-zA-Z0-9]*$", 256, 722),
        ("^([0-9]{1,5}(h|m|s|ms)){1,4}$", 32, 105),
        ("^[a-zA-Z0-9][a-zA-Z0-9._:/@-]*$", 512, 1641),
        ("^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", 1024, 4101),
        ("^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", 253, 1735),
    ],
)
def test_costs_are_near_those_of_the_api_server(pattern: str, most: int, theirs: int) -> None:
    """The last column is what `cel.Compile` of apiextensions-apiserver 0.37.1 said."""
    ours = cost(f'self.matches("{pattern}")', {"type": "string", "maxLength": most})
    assert ours == pytest.approx(theirs, rel=0.05)


def test_the_program_prints_what_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    definition = copy.deepcopy(crd(RESOURCES[0]))
    assert lint.main([definition]) == 0
    at(definition, "spec.server.env").pop("maxItems")
    assert lint.main([definition]) == 1
    assert capsys.readouterr().out.startswith(
        "ModelService.spec.server.env: a list without maxItems (bounded-lists: one object must not be able to fill"
    )
