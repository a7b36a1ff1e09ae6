"""What a person reads who wrote a field wrongly: each field of the API has its refusal here."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from slipway.api.crd import RESOURCES, object_schema
from slipway.api.validation import Problem, validate

GOOD: dict[str, Any] = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "ModelService",
    "metadata": {"name": "iris", "namespace": "default", "labels": {"team": "a"}},
    "spec": {
        "model": {"uri": "oci://registry.slipway-system.svc:5000/models/iris:1", "format": "onnx"},
        "server": {
            "image": "example.com/server:1",
            "resources": {"requests": {"cpu": 1, "memory": "256Mi"}, "limits": {"memory": "1Gi", "nvidia.com/gpu": 1}},
            "env": [
                {"name": "A", "value": ""},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
            ],
            "envFrom": [{"prefix": "P_", "secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}}],
        },
        "scaling": {"min": 1, "max": 3, "target": {"metric": "cpu", "value": 80}},
        "routing": {"hostnames": ["iris.example.com", "*.example.org"], "path": "/v2", "timeout": "1m30s"},
    },
}

# path of the field, its value, and the whole sentence
REFUSED: list[tuple[str, Any, str]] = [
    (
        "spec.model.uri",
        "s3://bucket/iris",
        "write oci://REGISTRY/NAME:TAG for a model that was pushed, or pvc://CLAIM/PATH for one on a volume",
    ),
    ("spec.model.uri", "oci://r/../x", "is not a model that can be mounted"),
    ("spec.model.uri", "pvc://claim/a/../b", "is not a model that can be mounted"),
    ("spec.model.uri", "oci://r/m@sha256:abc", "is not a model that can be mounted"),
    ("spec.model.uri", "oci://r/m:1\n", "is not a model that can be mounted"),
    ("spec.model.uri", "oci://r/" + "m" * 1024, "must have 1 to 1024 characters, not 1032"),
    (
        "spec.model.format",
        "onxx",
        "spec.model.format: 'onxx' is not one of onnx, sklearn, python, custom; did you mean onnx?",
    ),
    (
        "spec.server.image",
        "my image",
        "spec.server.image: 'my image' is not an image reference; write REGISTRY/NAME:TAG",
    ),
    ("spec.server.resources", [], "spec.server.resources: must be an object, not a list"),
    (
        "spec.server.resources.requests.cpu",
        0.5,
        'requests.cpu: 0.5 is a fraction without a unit; write "500m", or put it in quotes',
    ),
    (
        "spec.server.resources.requests.memory",
        "1gb",
        "spec.server.resources.requests.memory: '1gb' is not a quantity; examples: 250m, 2, 512Mi, 1.5Gi",
    ),
    ("spec.server.resources.requests.cpu", True, "spec.server.resources.requests.cpu: must be a string, not a boolean"),
    (
        "spec.server.resources.requests.memory",
        "2Gi",
        "spec.server.resources: requests.memory (2Gi) is above limits.memory (1Gi)",
    ),
    (
        "spec.server.resources.limits.mem",
        "1Gi",
        "spec.server.resources.limits: 'mem' is not a resource; resources are cpu, memory, ephemeral-storage",
    ),
    ("spec.server.resources.limits", {f"a/{n}": 1 for n in range(17)}, "must have at most 16 entries"),
    ("spec.server.env.0.name", "1A", "spec.server.env[0].name: '1A' is not the name of an environment variable"),
    ("spec.server.env.0.value", 3, "spec.server.env[0].value: must be a string, not a whole number"),
    ("spec.server.env.1.value", "x", "spec.server.env[1]: set exactly one of value and valueFrom"),
    (
        "spec.server.env.1.valueFrom",
        {},
        "spec.server.env[1].valueFrom: set exactly one of secretKeyRef and configMapKeyRef",
    ),
    (
        "spec.server.env.1.valueFrom.secretKeyRef.name",
        "A_b",
        "spec.server.env[1].valueFrom.secretKeyRef.name: 'A_b' is not a DNS name",
    ),
    (
        "spec.server.env.1.valueFrom.secretKeyRef.key",
        "a/b",
        "spec.server.env[1].valueFrom.secretKeyRef.key: 'a/b' is not a key of a ConfigMap or Secret",
    ),
    (
        "spec.server.env.2.valueFrom.configMapKeyRef.name",
        "",
        "spec.server.env[2].valueFrom.configMapKeyRef.name: must have 1 to 253 characters, not 0",
    ),
    (
        "spec.server.env.2.valueFrom.configMapKeyRef.key",
        None,
        "spec.server.env[2].valueFrom.configMapKeyRef.key: must be a string, not nothing",
    ),
    ("spec.server.env.2.name", "A", "spec.server: env sets A twice; remove one of them"),
    ("spec.server.env", {}, "spec.server.env: must be a list, not an object"),
    (
        "spec.server.env",
        [{"name": f"A{n}", "value": ""} for n in range(65)],
        "spec.server.env: must have at most 64 entries",
    ),
    (
        "spec.server.envFrom.0.prefix",
        "1",
        "spec.server.envFrom[0].prefix: '1' cannot begin an environment variable's name; example: DB_",
    ),
    ("spec.server.envFrom.0.secretRef.name", "S", "spec.server.envFrom[0].secretRef.name: 'S' is not a DNS name"),
    (
        "spec.server.envFrom.1.configMapRef.name",
        1,
        "spec.server.envFrom[1].configMapRef.name: must be a string, not a whole number",
    ),
    (
        "spec.server.envFrom.0.configMapRef",
        {"name": "c"},
        "spec.server.envFrom[0]: set exactly one of secretRef and configMapRef",
    ),
    ("spec.scaling.min", 0, "spec.scaling.min: must be at least 1, not 0"),
    ("spec.scaling.min", "1", "spec.scaling.min: must be a whole number, not a string"),
    ("spec.scaling.min", 4, "spec.scaling: min (4) exceeds max (3); raise max or lower min"),
    ("spec.scaling.max", 1001, "spec.scaling.max: must be at most 1000, not 1001"),
    (
        "spec.scaling.max",
        None,
        "spec.scaling: a target needs max: without it the number of replicas is fixed at min; set scaling.max",
    ),
    (
        "spec.scaling.target.metric",
        "cup",
        "spec.scaling.target.metric: 'cup' is not one of cpu, memory; did you mean cpu?",
    ),
    ("spec.scaling.target.value", 0.8, "spec.scaling.target.value: must be a whole number, not a number"),
    (
        "spec.routing.hostnames.0",
        "http://x",
        "spec.routing.hostnames[0]: 'http://x' is not a host name; write it without scheme, port and path",
    ),
    (
        "spec.routing.hostnames.0",
        "*.example.org",
        "spec.routing: hostnames names *.example.org twice; remove one of them",
    ),
    ("spec.routing.path", "v2", "spec.routing.path: 'v2' is not an absolute path; it begins with '/'"),
    (
        "spec.routing.hostnames",
        [],
        "under /NAMESPACE/NAME; set routing.hostnames, or remove routing.path",
    ),
    (
        "spec.routing.timeout",
        "60",
        "spec.routing.timeout: '60' is not a duration; examples: 500ms, 60s, 1h30m (a unit is needed)",
    ),
    ("spec.sever", {}, "spec.sever: unknown field; did you mean server?"),
    ("spec.server.env_from", [], "spec.server.env_from: unknown field; did you mean envFrom?"),
    ("spec.image", "x", "spec.image: unknown field; did you mean spec.server.image?"),
    ("spec.server.gpu", {}, "spec.server.gpu: unknown field; fields here: env, envFrom, image, resources"),
    ("spec.model", None, "spec.model: must be an object, not nothing"),
    ("metadata.lables", {}, "metadata.lables: unknown field; did you mean labels?"),
    ("metadata.labels", [], "metadata.labels: must be an object, not a list"),
    ("metadata.name", "Iris_1", "metadata.name: 'Iris_1' cannot be the name of a ModelService; write iris-1"),
    ("metadata.name", "iris\n", "metadata.name: 'iris\\n' cannot be the name of a ModelService; write iris"),
    ("metadata.name", "a" * 51, "cannot be the name of a ModelService; write " + "a" * 50),
    ("metadata.name", "1", "use at most 50 of a-z, 0-9 and '-', beginning with a letter and not ending with '-'"),
    ("metadata.name", None, "metadata.name: is missing; give the object a name"),
    ("metadata.namespace", 3, "metadata.namespace: must be a string, not a whole number"),
    ("apiVersion", "v1", "apiVersion: 'v1' is not served; write slipway.dev/v1alpha1"),
    ("kind", "ModelServce", "kind: 'ModelServce' is no kind of slipway.dev/v1alpha1; write ModelService"),
]


def changed(path: str, value: Any) -> dict[str, Any]:
    manifest = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    node: Any = manifest
    for name in parents:
        node = node[int(name)] if isinstance(node, list) else node[name]
    node[int(last) if isinstance(node, list) else last] = value
    return manifest


def test_a_good_manifest_has_no_problem() -> None:
    assert validate(GOOD) == []
    assert validate(GOOD | {"status": {"anything": "is ignored, as the API server does"}}) == []


@pytest.mark.parametrize(("path", "value", "sentence"), REFUSED, ids=[f"{case[0]}={case[1]!r:.20}" for case in REFUSED])
def test_refused(path: str, value: Any, sentence: str) -> None:
    (problem,) = validate(changed(path, value))
    assert sentence in str(problem)


def test_every_field_of_the_spec_has_a_refusal() -> None:
    refused = {".".join(part for part in path.split(".") if not part.isdigit()) for path, _, _ in REFUSED}
    resource = next(resource for resource in RESOURCES if resource.kind == "ModelService")

    def leaves(node: dict[str, Any], path: str) -> list[str]:
        node = node.get("items", node)
        children = node.get("properties", {})
        return [leaf for name, child in children.items() for leaf in leaves(child, f"{path}.{name}")] or [path]

    missing = [
        leaf
        for leaf in leaves(object_schema(resource)["properties"]["spec"], "spec")
        if not any(path == leaf or path.startswith(f"{leaf}.") for path in refused)
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        (None, "manifest: must be an object, not nothing; begin with apiVersion, kind, metadata and spec"),
        ([], "manifest: must be an object, not a list"),
        ({}, "apiVersion: is missing; write slipway.dev/v1alpha1"),
        ({"apiVersion": "slipway.dev/v1alpha1", "kind": ["x"]}, "is no kind of"),
        ({key: GOOD[key] for key in ("apiVersion", "kind", "spec")}, "metadata: is missing; metadata.name is needed"),
        ({key: GOOD[key] for key in ("apiVersion", "kind", "metadata")}, "spec: is missing"),
        (GOOD | {"spec": {}}, "spec.model: is missing; Which model is served"),
        (GOOD | {"spec": "x"}, "spec: must be an object, not a string"),
        (
            GOOD | {"spec": {"model": {"uri": "oci://r/m", "format": "custom"}}},
            "spec: model.format custom needs server.image",
        ),
        (GOOD | {"sepc": {}}, "sepc: unknown field; did you mean spec?"),
    ],
)
def test_refused_as_a_whole(manifest: Any, sentence: str) -> None:
    problems = validate(manifest)
    assert len(problems) == 1
    assert sentence in str(problems[0])


def test_all_problems_are_told_at_once() -> None:
    manifest = changed("spec.scaling.min", 0)
    manifest["spec"]["model"]["format"] = "x"
    assert [problem.path for problem in validate(manifest)] == ["spec.model.format", "spec.scaling.min"]


def test_a_problem_without_a_hint_is_one_sentence() -> None:
    assert str(Problem("spec", "is wrong")) == "spec: is wrong"
