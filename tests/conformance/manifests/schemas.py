"""JSON schemas for kubeconform: of Kubernetes' own OpenAPI, of the Gateway API's definitions, and of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from slipway.api.crd import RESOURCES, crd
from slipway.controllers.modelservice.stores import CHILD_KINDS

from . import linters

Schema = dict[str, Any]

KINDS = {kind.kind for kind in CHILD_KINDS} | {"Namespace", "PersistentVolumeClaim", "Job"}
TEMPLATE = "{{.ResourceKind}}{{.KindSuffix}}.json"
NUMBER_OR_TEXT = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
}
"""OpenAPI v2 has no word for what is a number or a text."""


def write(target: Path) -> None:
    """Writes a file for each kind, named as `TEMPLATE` says. Fields that a kind does not have are refused."""
    swagger = linters.module("k8s.io/kubernetes") / "api" / "openapi-spec" / "swagger.json"
    definitions: dict[str, Schema] = json.loads(swagger.read_text(encoding="utf-8"))["definitions"] | NUMBER_OR_TEXT
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            if kind["kind"] in KINDS:
                _write(target, kind["group"], kind["version"], kind["kind"], _standalone(name, definitions))
    routes = linters.module("sigs.k8s.io/gateway-api") / "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"
    for resource in [yaml.safe_load(routes.read_text(encoding="utf-8")), *map(crd, RESOURCES)]:
        spec = resource["spec"]
        for version in spec["versions"]:
            schema = _strict(version["schema"]["openAPIV3Schema"])
            _write(target, spec["group"], version["name"], spec["names"]["kind"], schema)


def _write(target: Path, group: str, version: str, kind: str, schema: Schema) -> None:
    prefix = f"{group.partition('.')[0]}-" if group else ""
    required = {"required": ["apiVersion", "kind", "metadata"]}
    (target / f"{kind.lower()}-{prefix}{version}.json").write_text(json.dumps({"allOf": [schema, required]}))


def _standalone(name: str, definitions: dict[str, Schema]) -> Schema:
    """One definition with all that it refers to."""
    wanted, found = [name], dict[str, Schema]()
    while wanted:
        current = wanted.pop()
        if current not in found:
            found[current] = _strict(definitions[current])
            wanted += _references(definitions[current])
    # kubeconform reads each file by itself: `allOf` keeps the root of the references where they say it is
    return {"$ref": f"#/allOf/0/definitions/{name}", "definitions": found}


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _strict(node: Any) -> Any:
    """The same schema, without room for fields that it does not name."""
    if isinstance(node, list):
        return [_strict(value) for value in node]
    if not isinstance(node, dict):
        return node
    made = {key: _strict(value) for key, value in node.items()}
    if isinstance(made.get("$ref"), str):
        made["$ref"] = made["$ref"].replace("#/definitions/", "#/allOf/0/definitions/")
    if made.get("x-kubernetes-int-or-string"):
        made["type"] = ["string", "integer"]
    if isinstance(made.get("properties"), dict) and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made
