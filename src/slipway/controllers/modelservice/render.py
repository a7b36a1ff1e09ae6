"""Plain manifests: what the operator would make of a ModelService, for a cluster that has no operator."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any, Final

import yaml

from slipway.api.modelservice import parse_spec
from slipway.api.names import ANNOTATION_RESTARTED_AT, LABEL_MANAGED_BY, LABEL_REVISION
from slipway.controllers.modelservice.children import build_children
from slipway.controllers.modelservice.decide import Decision, Known, decide
from slipway.controllers.modelservice.settings import Settings
from slipway.kit.objects import CONTROLLER_REVISION, Manifest
from slipway.policies.model_source import FetchedModel

DEFAULT_NAMESPACE: Final = "default"

_ORDER: Final = (
    "ServiceAccount",
    "ConfigMap",
    "NetworkPolicy",
    "Service",
    "Deployment",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "HTTPRoute",
    "Ingress",
)


class CannotRenderError(ValueError):
    """What has to be said besides the ModelService: `option` is its name on the command line."""

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.option = option


def render(service: Manifest, settings: Settings) -> list[Manifest]:
    """The objects of a valid ModelService, in the order in which they are applied.

    Without `metadata.namespace` they have none either: where they are applied decides. What only an operator could keep
    true is left out: records of revisions, hashes of them, and its own name as the manager. Raises `CannotRenderError`.
    """
    namespace = service["metadata"].get("namespace")
    restarted_at = (service["metadata"].get("annotations") or {}).get(ANNOTATION_RESTARTED_AT)
    decision = decide(
        namespace or DEFAULT_NAMESPACE,
        service["metadata"]["name"],
        parse_spec(service),
        settings,
        can_route=True,
        known=Known(restarted_at=restarted_at),
    )
    _check(decision, namespace)
    children = [_plain(child, namespace) for child in build_children(decision) if _kept(child)]
    return sorted(children, key=lambda child: _ORDER.index(child["kind"]))


def file_name(manifest: Manifest, suffix: str = "yaml") -> str:
    """`50-deployment.yaml`: `kubectl apply -f DIRECTORY` goes by the order of the names."""
    kind = manifest["kind"]
    return f"{10 * (_ORDER.index(kind) + 1)}-{kind.lower()}.{suffix}"


class _Readable(yaml.SafeDumper):
    """A value as often as it occurs, and a text of several lines as these lines."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # the name of the parameter is PyYAML's
        """Everything is written out."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    if any(mark in value for mark in "\r\x85\u2028\u2029"):  # YAML ends a line there, and reads it as "\n"
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Readable.add_representer(str, _text)


def as_yaml(objects: Sequence[Manifest]) -> str:
    """One YAML document an object."""
    return str(yaml.dump_all(objects, Dumper=_Readable, sort_keys=False, width=120, allow_unicode=True))


def as_json(objects: Sequence[Manifest]) -> str:
    """A `List`, or the one object."""
    whole = objects[0] if len(objects) == 1 else {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _check(decision: Decision, namespace: str | None) -> None:
    if not decision.image:
        raise CannotRenderError("The ModelService names no server.image.", "--image")
    if isinstance(decision.source, FetchedModel) and not decision.settings.fetcher_image:
        raise CannotRenderError(f"{decision.spec.model.uri} has to be fetched before it is served.", "--fetcher-image")
    if decision.route and decision.route.rewrite and namespace is None:
        raise CannotRenderError("A route without hostnames has the namespace in its path.", "--namespace")


def _kept(child: Manifest) -> bool:
    return bool(child["kind"] != CONTROLLER_REVISION.kind)


def _plain(child: Manifest, namespace: str | None) -> Manifest:
    """One object, independent of the others: without the labels that the operator answers for."""
    made = copy.deepcopy(child)
    if namespace is None:
        del made["metadata"]["namespace"]
    _unlabel(made["metadata"])
    template: dict[str, Any] | None = made.get("spec", {}).get("template")
    if template:
        _unlabel(template["metadata"])
    return made


def _unlabel(metadata: dict[str, Any]) -> None:
    for label in (LABEL_MANAGED_BY, LABEL_REVISION):
        metadata.get("labels", {}).pop(label, None)
