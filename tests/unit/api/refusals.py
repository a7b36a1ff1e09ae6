"""Each field of the API with a wrong value, and the whole sentence that its author reads.

A new field needs a place in `slipway.api.samples` and an entry here; `test_api_refusals.py` says where one is missing.
`tests/cluster/test_refusals.py` sends the same manifests to a real API server.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from slipway.api.crd import object_schema
from slipway.api.lint import places
from slipway.api.metadata import FIELDS
from slipway.api.problem import path_of
from slipway.api.resource import Resource
from slipway.api.samples import concrete, samples, steps, value_at

ABSENT: Any = object()
"""The value of a field that is left out."""

SAME = "the path of the sentence"
ANY = ""
TAKEN = "taken: what the API server does not check is refused by clients, and by the operator in a condition"
UNSENT = "unsent: JSON cannot say it"


NOT_A_BOOLEAN = (
    "must be a string, not a boolean; YAML reads yes, no, on, off, true and false as booleans; put it in quotes"
)
NOT_A_NUMBER = "must be a string, not a whole number; put it in quotes"
NOT_KNOWN = (
    "is not a model that is known; write oci://REGISTRY/NAME:TAG for a model that was pushed, pvc://CLAIM/PATH for one "
    "on a volume, or s3://BUCKET/PATH, gs://BUCKET/PATH, azure://ACCOUNT/CONTAINER/PATH, https://HOST/PATH or hf://ORG/REPO"
)


@dataclass(frozen=True)
class Wrong:
    """A value that is put at `path` of the first sample that has the place, and what is said about it.

    `at`: the path that is named, where it is another one; `server`: what an API server names, a path or a part of one.
    """

    path: str
    value: Any
    says: str
    at: str = ""
    server: str = SAME

    @property
    def sentence(self) -> str:
        """What a person reads."""
        return f"{self.at or self.path}: {self.says}"

    @property
    def named(self) -> str:
        """What the API server names."""
        return self.at or self.path if self.server is SAME else self.server

    @property
    def manifest(self) -> dict[str, Any]:
        """The sample with the wrong value."""
        return put(self.path, self.value)


def put(path: str, value: Any) -> dict[str, Any]:
    """The first sample that has the place, else the first that has what is around it, with a value put there."""
    place = steps(path)
    for wanted in (place, place[:-1]):
        for manifest in samples("ModelService"):
            with suppress(LookupError):
                value_at(manifest, wanted)
                parent = value_at(manifest, place[:-1])
                if value is ABSENT:
                    del parent[place[-1]]
                else:
                    parent[place[-1]] = copy.deepcopy(value)
                return manifest
    raise LookupError(f"no sample has {path_of(place[:-1])}: add it to slipway.api.samples")


MODEL_SERVICE: list[Wrong] = [
    Wrong("apiVersion", "v1", "'v1' is not served; write slipway.dev/v1alpha1", server=ANY),
    Wrong("kind", "ModelServce", "'ModelServce' is no kind of slipway.dev/v1alpha1; write ModelService", server=ANY),
    Wrong("metadata", [], "must be an object, not a list; metadata.name is needed", server=ANY),
    Wrong("metadata.name", "Iris_1", "'Iris_1' cannot be the name of a ModelService; write iris-1"),
    Wrong("metadata.name", ABSENT, "is missing; give the object a name", server="name"),
    Wrong("metadata.namespace", 3, NOT_A_NUMBER, server="namespace"),
    Wrong("metadata.labels.team", 3, NOT_A_NUMBER, server="labels"),
    Wrong("metadata.labels", [], "must be an object, not a list", server="labels"),
    Wrong(
        "metadata.labels.team",
        "a b",
        "'a b' is not the value of a label; "
        "use at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
        server="labels",
    ),
    Wrong(
        "metadata.labels",
        {"a/b/c": "d"},
        "'a/b/c' is not a key; write NAME or PREFIX/NAME: example.com/team",
        server="labels",
    ),
    Wrong("metadata.labels", {1: "d"}, "the key 1 is not a string; put it in quotes", server=UNSENT),
    Wrong("metadata.labels.team", True, NOT_A_BOOLEAN, server="labels"),
    Wrong("metadata.annotations", "x", "must be an object, not a string", server="annotations"),
    Wrong(
        "metadata.annotations",
        {"example.com/a": 1},
        NOT_A_NUMBER,
        at='metadata.annotations["example.com/a"]',
        server="annotations",
    ),
    Wrong(
        "metadata.finalizers",
        {},
        "must be a list, not an object; begin each of its entries with '-'",
        server="finalizers",
    ),
    Wrong("metadata.finalizers", [1], NOT_A_NUMBER, at="metadata.finalizers[0]", server="finalizers"),
    Wrong(
        "metadata.ownerReferences",
        {},
        "must be a list, not an object; begin each of its entries with '-'",
        server="ownerReferences",
    ),
    Wrong(
        "metadata.managedFields",
        {},
        "must be a list, not an object; begin each of its entries with '-'",
        server="managedFields",
    ),
    Wrong("metadata.uid", 1, NOT_A_NUMBER, server="uid"),
    Wrong("metadata.resourceVersion", 1, NOT_A_NUMBER, server="resourceVersion"),
    Wrong(
        "metadata.generation", "1", "must be a whole number, not a string; write it without quotes", server="generation"
    ),
    Wrong("metadata.creationTimestamp", 1, NOT_A_NUMBER, server="creationTimestamp"),
    Wrong("metadata.deletionTimestamp", 1, NOT_A_NUMBER, server="deletionTimestamp"),
    Wrong(
        "metadata.deletionGracePeriodSeconds",
        "1",
        "must be a whole number, not a string; write it without quotes",
        server="deletionGracePeriodSeconds",
    ),
    Wrong(
        "metadata.namespace",
        "Team A",
        "'Team A' cannot be the name of a namespace; use at most 63 of a-z, 0-9 and '-'",
        server="namespace",
    ),
    Wrong("metadata.lables", {}, "unknown field; did you mean labels?"),
    Wrong("metadata.name", "iris\n", "'iris\\n' cannot be the name of a ModelService; write iris"),
    Wrong(
        "metadata.name",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        f"'{'a' * 51}' cannot be the name of a ModelService; write {'a' * 50}",
    ),
    Wrong(
        "metadata.name",
        "1",
        "'1' cannot be the name of a ModelService; "
        "use at most 50 of a-z, 0-9 and '-', beginning with a letter and not ending with '-'",
    ),
    Wrong("metadata.name", None, "is missing; give the object a name", server="name"),
    Wrong("metadata.name", True, NOT_A_BOOLEAN, server="name"),
    Wrong("metadata", None, "is missing; metadata.name is needed", server="metadata"),
    Wrong("spec", [], "must be an object, not a list; fields here: model, rollout, routing, scaling, server"),
    Wrong("spec", ABSENT, "is missing; What is wanted"),
    Wrong(
        "spec.model",
        "oci://r/m",
        "must be an object, not a string; fields here: checksum, fetchTimeout, format, secretRef, uri",
    ),
    Wrong("spec.model", None, "is missing; Which model is served"),
    Wrong("spec.model.uri", "s3//bucket/iris", f"'s3//bucket/iris' {NOT_KNOWN}"),
    Wrong("spec.model.uri", ABSENT, "is missing; Where the model is"),
    Wrong(
        "spec.model.format",
        "onxx",
        "'onxx' is not one of onnx, sklearn, xgboost, lightgbm, python, custom; did you mean onnx?",
    ),
    Wrong("spec.model.format", True, "must be one of onnx, sklearn, xgboost, lightgbm, python, custom, not a boolean"),
    Wrong(
        "spec.server",
        [],
        "must be an object, not a list; fields here: env, envFrom, files, gpu, image, podTemplate, probes, resources",
    ),
    Wrong(
        "spec.server.image",
        "my image",
        "'my image' is not an image reference; write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:…",
    ),
    Wrong("spec.server.env[0].value", "\ud800", "has half of a character; write it in UTF-8", server=UNSENT),
    Wrong("spec.server.image", 1.5, "must be a string, not a fraction; put it in quotes"),
    Wrong("spec.server.resources", [], "must be an object, not a list; fields here: limits, requests"),
    Wrong("spec.server.resources.requests", [], "must be an object, not a list"),
    Wrong(
        "spec.server.resources.requests.cpu", 0.5, '0.5 is a fraction without a unit; write "500m", or put it in quotes'
    ),
    Wrong("spec.server.resources.requests.memory", "1gb", "'1gb' is not a quantity; examples: 250m, 2, 512Mi, 1.5Gi"),
    Wrong(
        "spec.server.resources.requests.memory",
        "2Gi",
        "requests.memory (2Gi) is above limits.memory (1Gi); raise the limit or lower the request",
        at="spec.server.resources",
        server=TAKEN,
    ),
    Wrong("spec.server.resources.requests.cpu", True, "must be a quantity, not a boolean"),
    Wrong("spec.server.resources.limits", "1Gi", "must be an object, not a string"),
    Wrong("spec.server.resources.limits.memory", [1], "must be a quantity, not a list"),
    Wrong(
        "spec.server.resources.limits.mem",
        "1Gi",
        "'mem' is not a resource; resources are cpu, memory, ephemeral-storage and devices such as nvidia.com/gpu",
        at="spec.server.resources.limits",
        server=TAKEN,
    ),
    Wrong("spec.server.resources.limits", {f"a/{n}": 1 for n in range(17)}, "must have at most 16 entries, not 17"),
    Wrong("spec.server.env", {}, "must be a list, not an object; begin each of its entries with '-'"),
    Wrong(
        "spec.server.env", [{"name": f"A{n}", "value": ""} for n in range(65)], "must have at most 64 entries, not 65"
    ),
    Wrong("spec.server.env[0]", "A=b", "must be an object, not a string; fields here: name, value, valueFrom"),
    Wrong(
        "spec.server.env[0].name",
        "1A",
        "'1A' is not the name of an environment variable; "
        "use letters, digits, '_', '-' and '.', not beginning with a digit",
    ),
    Wrong("spec.server.env[0].name", ABSENT, "is missing; The name of the variable"),
    Wrong(
        "spec.server.env[1].name",
        "LOG_LEVEL",
        "env sets LOG_LEVEL twice; remove one of them",
        at="spec.server",
        server="spec.server.env[1]",
    ),
    Wrong("spec.server.env[0].value", 3, NOT_A_NUMBER),
    Wrong("spec.server.env[0].value", True, NOT_A_BOOLEAN),
    Wrong("spec.server.env[0].value", ABSENT, "set exactly one of value and valueFrom", at="spec.server.env[0]"),
    Wrong("spec.server.env[1].value", "x", "set exactly one of value and valueFrom", at="spec.server.env[1]"),
    Wrong(
        "spec.server.env[1].valueFrom",
        "database",
        "must be an object, not a string; fields here: configMapKeyRef, secretKeyRef",
    ),
    Wrong("spec.server.env[1].valueFrom", {}, "set exactly one of secretKeyRef and configMapKeyRef"),
    Wrong(
        "spec.server.env[1].valueFrom.secretKeyRef",
        "database",
        "must be an object, not a string; fields here: key, name",
    ),
    Wrong(
        "spec.server.env[1].valueFrom.secretKeyRef.name",
        "Data_Base",
        "'Data_Base' is not a DNS name; use lower-case letters, digits, '-' and '.'",
    ),
    Wrong(
        "spec.server.env[1].valueFrom.secretKeyRef.key",
        "a/b",
        "'a/b' is not a key of a ConfigMap or Secret; use letters, digits, '_', '-' and '.'",
    ),
    Wrong("spec.server.env[2].valueFrom.configMapKeyRef", [], "must be an object, not a list; fields here: key, name"),
    Wrong(
        "spec.server.env[2].valueFrom.configMapKeyRef.name",
        "",
        "must have 1 to 253 characters, not 0; use lower-case letters, digits, '-' and '.'",
    ),
    Wrong("spec.server.env[2].valueFrom.configMapKeyRef.key", None, "is missing; The key in its data"),
    Wrong("spec.server.envFrom", "site", "must be a list, not a string; begin each of its entries with '-'"),
    Wrong(
        "spec.server.envFrom[0]",
        "site",
        "must be an object, not a string; fields here: configMapRef, prefix, secretRef",
    ),
    Wrong("spec.server.envFrom[0].prefix", "1", "'1' cannot begin an environment variable's name; example: DB_"),
    Wrong("spec.server.envFrom[0].secretRef", "database", "must be an object, not a string; fields here: name"),
    Wrong(
        "spec.server.envFrom[0].secretRef.name",
        "S",
        "'S' is not a DNS name; use lower-case letters, digits, '-' and '.'",
    ),
    Wrong("spec.server.envFrom[1].configMapRef", [], "must be an object, not a list; fields here: name"),
    Wrong("spec.server.envFrom[1].configMapRef.name", 1, NOT_A_NUMBER),
    Wrong(
        "spec.server.envFrom[0].configMapRef",
        {"name": "c"},
        "set exactly one of secretRef and configMapRef",
        at="spec.server.envFrom[0]",
    ),
    Wrong("spec.server.envFrom", [{"secretRef": {"name": "a"}}] * 17, "must have at most 16 entries, not 17"),
    Wrong("spec.scaling", 3, "must be an object, not a whole number; fields here: max, min, target"),
    Wrong("spec.scaling", {8080: 1}, "the key 8080 is not a string; put it in quotes", server=UNSENT),
    Wrong("spec.scaling.min", 0, "must be at least 1, not 0"),
    Wrong("spec.scaling.min", "1", "must be a whole number, not a string; write it without quotes"),
    Wrong("spec.scaling.min", 11, "min (11) exceeds max (10); raise max or lower min", at="spec.scaling"),
    Wrong("spec.scaling.max", 1001, "must be at most 1000, not 1001"),
    Wrong(
        "spec.scaling.max",
        ABSENT,
        "a target needs max: without it the number of replicas is fixed at min; set scaling.max",
        at="spec.scaling",
    ),
    Wrong("spec.scaling.target", "cpu", "must be an object, not a string; fields here: metric, value"),
    Wrong("spec.scaling.target.metric", "cup", "'cup' is not one of cpu, memory; did you mean cpu?"),
    Wrong("spec.scaling.target.value", 0.8, "must be a whole number, not a fraction"),
    Wrong("spec.scaling.target.value", 0, "must be at least 1, not 0"),
    Wrong("spec.routing", [], "must be an object, not a list; fields here: access, hostnames, path, timeout, tls"),
    Wrong(
        "spec.routing.hostnames", "iris.example.com", "must be a list, not a string; begin each of its entries with '-'"
    ),
    Wrong(
        "spec.routing.hostnames",
        [],
        "path needs hostnames: without them requests come in under /NAMESPACE/NAME; "
        "set routing.hostnames, or remove routing.path",
        at="spec.routing",
    ),
    Wrong(
        "spec.routing.hostnames[0]",
        "http://x",
        "'http://x' is not a host name; write it without scheme, port and path: iris.example.com or *.example.com",
    ),
    Wrong(
        "spec.routing.hostnames",
        ["a.example.com", "a.example.com"],
        "hostnames names a.example.com twice; remove one of them",
        at="spec.routing",
        server="spec.routing.hostnames[1]",
    ),
    Wrong("spec.routing.hostnames", [f"h{n}.example.com" for n in range(17)], "must have at most 16 entries, not 17"),
    Wrong(
        "spec.routing.path", "v2", "'v2' is not an absolute path; it begins with '/' and has no '//', '?' or '#': /v2"
    ),
    Wrong("spec.routing.timeout", "60", "'60' is not a duration; examples: 500ms, 60s, 1h30m (a unit is needed)"),
    Wrong("spec.routing.timeout", 60, NOT_A_NUMBER),
    Wrong(
        "spec",
        {"model": {"uri": "oci://r/m", "format": "custom"}},
        "model.format custom needs server.image; set server.image, or remove model.format",
    ),
    Wrong("spec", {}, "is missing; Which model is served", at="spec.model"),
    Wrong("spec", None, "is missing; What is wanted"),
    Wrong("spec.model.uri", "oci://r/../x", f"'oci://r/../x' {NOT_KNOWN}"),
    Wrong("spec.model.uri", "pvc://claim/a/../b", f"'pvc://claim/a/../b' {NOT_KNOWN}"),
    Wrong("spec.model.uri", "oci://r/m@sha256:abc", f"'oci://r/m@sha256:abc' {NOT_KNOWN}"),
    Wrong("spec.model.uri", "oci://r/m:1\n", f"'oci://r/m:1\\n' {NOT_KNOWN}"),
    Wrong("spec.model.uri", "oci://h:99999x/m", f"'oci://h:99999x/m' {NOT_KNOWN}"),
    Wrong("spec.model.uri", "oci://h:99999/m", "has the port 99999; ports go from 1 to 65535", server=TAKEN),
    Wrong("spec.model.uri", "https://h:0/m.onnx", "has the port 0; ports go from 1 to 65535", server=TAKEN),
    Wrong(
        "spec.model.uri",
        "oci://r/" + "m" * 1024,
        f"must have 1 to 1024 characters, not 1032; {NOT_KNOWN.partition('; ')[2]}",
    ),
    Wrong("spec.sever", {}, "unknown field; did you mean server?"),
    Wrong("spec.server.env_from", [], "unknown field; did you mean envFrom?"),
    Wrong("spec.image", "x", "unknown field; did you mean spec.server.image?"),
    Wrong("spec.server.gpus", {}, "unknown field; did you mean gpu?"),
    Wrong("spec.server.env[0].valeu", 1, "unknown field; did you mean value?"),
    Wrong("spec.scaling.replicas", 3, "unknown field; fields here: max, min, target"),
    Wrong("sepc", {}, "unknown field; did you mean spec?"),
    Wrong("spec.model.8080", 1, "unknown field; fields here: checksum, fetchTimeout, format, secretRef, uri"),
    Wrong("spec.scaling.min", 10**30, "must be at most 1000"),
    Wrong("spec.scaling.min", True, "must be a whole number, not a boolean"),
    Wrong("spec.scaling.min", -1, "must be at least 1, not -1"),
    Wrong(
        "spec.server.image",
        "x" * 513,
        "must have 1 to 512 characters, not 513; write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:…",
    ),
    Wrong("spec.server.env[0].value", "x" * 32769, "must have 0 to 32768 characters, not 32769"),
    Wrong(
        "spec.server.env[0].name",
        "Aé",
        "'Aé' is not the name of an environment variable; "
        "use letters, digits, '_', '-' and '.', not beginning with a digit",
    ),
    Wrong("spec.model.checksum", "9f86", "'9f86' is not a checksum; write sha256: and 64 digits of 0-9 and a-f"),
    Wrong("spec.model.checksum", 1, NOT_A_NUMBER),
    Wrong("spec.model.secretRef", "s3", "must be an object, not a string; fields here: name"),
    Wrong("spec.model.secretRef.name", "S3", "'S3' is not a DNS name; use lower-case letters, digits, '-' and '.'"),
    Wrong("spec.model.fetchTimeout", "30", "'30' is not a duration; examples: 500ms, 60s, 1h30m (a unit is needed)"),
    Wrong("spec.server.gpu", 1, "must be an object, not a whole number; fields here: count, profile, resource"),
    Wrong("spec.server.gpu.count", 0, "must be at least 1, not 0"),
    Wrong("spec.server.gpu.count", 17, "must be at most 16, not 17"),
    Wrong("spec.server.gpu.resource", "gpu", "'gpu' is not the name of a device; write VENDOR/DEVICE: nvidia.com/gpu"),
    Wrong("spec.server.gpu.profile", "1g.10gb", "'1g.10gb' is not a MIG profile; examples: mig-1g.10gb, mig-3g.40gb"),
    Wrong("spec.server.files", ["a"], "must be an object, not a list"),
    Wrong(
        "spec.server.files",
        {"a/b": "x"},
        "'a/b' is not the name of a file; use letters, digits, '_', '-' and '.'",
        at='spec.server.files["a/b"]',
        server="spec.server.files",
    ),
    Wrong('spec.server.files["settings.yaml"]', 3, NOT_A_NUMBER, server="spec.server.files.settings.yaml"),
    Wrong("spec.server.files", {f"f{n}": "" for n in range(17)}, "must have at most 16 entries, not 17"),
    Wrong("spec.server.probes", [], "must be an object, not a list; fields here: liveness, readiness, startup"),
    Wrong("spec.server.probes.startup", "20m", "must be an object, not a string; fields here: timeout"),
    Wrong(
        "spec.server.probes.startup.timeout",
        "20",
        "'20' is not a duration; examples: 500ms, 60s, 1h30m (a unit is needed)",
    ),
    Wrong(
        "spec.server.probes.readiness",
        [],
        "must be an object, not a list; fields here: failureThreshold, period, timeout",
    ),
    Wrong(
        "spec.server.probes.readiness.period",
        "1500ms",
        "readiness.period (1500ms) is not a number of whole seconds; the least is 1s",
        at="spec.server.probes",
        server=TAKEN,
    ),
    Wrong(
        "spec.server.probes.readiness.timeout",
        "0s",
        "readiness.timeout (0s) is not a number of whole seconds; the least is 1s",
        at="spec.server.probes",
        server=TAKEN,
    ),
    Wrong("spec.server.probes.readiness.failureThreshold", 0, "must be at least 1, not 0"),
    Wrong(
        "spec.server.probes.liveness",
        [],
        "must be an object, not a list; fields here: failureThreshold, period, timeout",
    ),
    Wrong("spec.server.probes.liveness.period", 10, NOT_A_NUMBER),
    Wrong(
        "spec.server.probes.liveness.timeout",
        "500ms",
        "liveness.timeout (500ms) is not a number of whole seconds; the least is 1s",
        at="spec.server.probes",
        server=TAKEN,
    ),
    Wrong("spec.server.probes.liveness.failureThreshold", 101, "must be at most 100, not 101"),
    Wrong(
        "spec.server.podTemplate",
        [],
        "must be an object, not a list; fields here: affinity, annotations, imagePullSecrets, "
        "labels, nodeSelector, priorityClassName, runtimeClassName, tolerations, volumeMounts, volumes",
    ),
    Wrong("spec.server.podTemplate.labels", [], "must be an object, not a list"),
    Wrong(
        "spec.server.podTemplate.labels",
        {"slipway.dev/modelservice": "x"},
        "labels sets slipway.dev/modelservice, which is Slipway's; remove it",
        at="spec.server.podTemplate",
        server=TAKEN,
    ),
    Wrong(
        "spec.server.podTemplate.labels.team",
        "a b",
        "'a b' is not the value of a label; use letters, digits, '-', '_' and '.', and put it in quotes",
        server="spec.server.podTemplate.labels[team]",
    ),
    Wrong("spec.server.podTemplate.annotations", [], "must be an object, not a list"),
    Wrong(
        'spec.server.podTemplate.annotations["example.com/owner"]',
        True,
        NOT_A_BOOLEAN,
        server="spec.server.podTemplate.annotations.example.com/owner",
    ),
    Wrong("spec.server.podTemplate.nodeSelector", [], "must be an object, not a list"),
    Wrong("spec.server.podTemplate.nodeSelector.accelerator", True, NOT_A_BOOLEAN),
    Wrong(
        "spec.server.podTemplate.tolerations", {}, "must be a list, not an object; begin each of its entries with '-'"
    ),
    Wrong(
        "spec.server.podTemplate.tolerations[0]",
        "gpu",
        "must be an object, not a string; fields here: effect, key, operator, tolerationSeconds, value",
    ),
    Wrong(
        "spec.server.podTemplate.tolerations[0].key",
        "a/b/c",
        "'a/b/c' is not the key of a label or annotation; write NAME or PREFIX/NAME: example.com/team",
    ),
    Wrong(
        "spec.server.podTemplate.tolerations[0].operator",
        "Exist",
        "'Exist' is not one of Equal, Exists; did you mean Exists?",
    ),
    Wrong("spec.server.podTemplate.tolerations[0].value", True, NOT_A_BOOLEAN),
    Wrong(
        "spec.server.podTemplate.tolerations[0].effect",
        "NoRun",
        "'NoRun' is not one of NoSchedule, PreferNoSchedule, NoExecute",
    ),
    Wrong("spec.server.podTemplate.tolerations[0].tolerationSeconds", -1, "must be at least 0, not -1"),
    Wrong("spec.server.podTemplate.affinity", [], "must be an object, not a list"),
    Wrong(
        "spec.server.podTemplate.priorityClassName",
        "High",
        "'High' is not a DNS name; use lower-case letters, digits, '-' and '.'",
    ),
    Wrong("spec.server.podTemplate.runtimeClassName", 1, NOT_A_NUMBER),
    Wrong(
        "spec.server.podTemplate.imagePullSecrets",
        "registry",
        "must be a list, not a string; begin each of its entries with '-'",
    ),
    Wrong(
        "spec.server.podTemplate.imagePullSecrets[0]", "registry", "must be an object, not a string; fields here: name"
    ),
    Wrong(
        "spec.server.podTemplate.imagePullSecrets[0].name",
        "R",
        "'R' is not a DNS name; use lower-case letters, digits, '-' and '.'",
    ),
    Wrong("spec.server.podTemplate.volumes", {}, "must be a list, not an object; begin each of its entries with '-'"),
    Wrong(
        "spec.server.podTemplate.volumes[0]",
        "shm",
        "must be an object, not a string; fields here: configMap, emptyDir, name, persistentVolumeClaim, secret",
    ),
    Wrong(
        "spec.server.podTemplate.volumes[0].name",
        "model",
        "'model' is a volume of Slipway's own; choose another name",
        at="spec.server.podTemplate.volumes[0]",
        server=TAKEN,
    ),
    Wrong(
        "spec.server.podTemplate.volumes[0].name",
        "S",
        "'S' is not a DNS name; use lower-case letters, digits, '-' and '.'",
    ),
    Wrong(
        "spec.server.podTemplate.volumes[0].emptyDir",
        "x",
        "must be an object, not a string; fields here: medium, sizeLimit",
    ),
    Wrong(
        "spec.server.podTemplate.volumes[0].emptyDir",
        ABSENT,
        "set exactly one of emptyDir, persistentVolumeClaim, configMap and secret",
        at="spec.server.podTemplate.volumes[0]",
    ),
    Wrong("spec.server.podTemplate.volumes[0].emptyDir.medium", "RAM", "'RAM' is not one of Memory"),
    Wrong(
        "spec.server.podTemplate.volumes[0].emptyDir.sizeLimit",
        "1gb",
        "'1gb' is not a quantity; examples: 250m, 2, 512Mi, 1.5Gi",
    ),
    Wrong(
        "spec.server.podTemplate.volumes[1].persistentVolumeClaim",
        "data",
        "must be an object, not a string; fields here: claimName",
    ),
    Wrong("spec.server.podTemplate.volumes[1].persistentVolumeClaim.claimName", ABSENT, "is missing; Its name"),
    Wrong("spec.server.podTemplate.volumes[2].configMap", "site", "must be an object, not a string; fields here: name"),
    Wrong(
        "spec.server.podTemplate.volumes[2].configMap.name",
        "S",
        "'S' is not a DNS name; use lower-case letters, digits, '-' and '.'",
    ),
    Wrong(
        "spec.server.podTemplate.volumes[3].secret",
        "database",
        "must be an object, not a string; fields here: secretName",
    ),
    Wrong(
        "spec.server.podTemplate.volumes[3].secret.secretName",
        "S",
        "'S' is not a DNS name; use lower-case letters, digits, '-' and '.'",
    ),
    Wrong(
        "spec.server.podTemplate.volumeMounts", {}, "must be a list, not an object; begin each of its entries with '-'"
    ),
    Wrong(
        "spec.server.podTemplate.volumeMounts[0]",
        "/x",
        "must be an object, not a string; fields here: mountPath, name, subPath",
    ),
    Wrong(
        "spec.server.podTemplate.volumeMounts[0].name",
        "absent",
        "volumeMounts names the volume 'absent', which is not there; add it to volumes",
        at="spec.server.podTemplate",
        server=TAKEN,
    ),
    Wrong(
        "spec.server.podTemplate.volumeMounts[0].mountPath",
        "/tmp",  # noqa: S108  # of the pod
        "'/tmp' is a directory of Slipway's own; choose another directory",
        server=TAKEN,
    ),
    Wrong(
        "spec.server.podTemplate.volumeMounts[0].mountPath",
        "/models/iris",
        "'/models/iris' is a directory of Slipway's own; choose another directory",
        server=TAKEN,
    ),
    Wrong(
        "spec.server.podTemplate.volumeMounts[0].mountPath",
        "/config/settings.yaml",
        "files and podTemplate.volumeMounts both mount /config/settings.yaml; remove one of them",
        at="spec.server",
        server=TAKEN,
    ),
    Wrong(
        "spec.server.podTemplate.volumeMounts[0].mountPath",
        "dev/shm",
        "'dev/shm' is not an absolute path; it begins with '/': /dev/shm",
    ),
    Wrong(
        "spec.server.podTemplate.volumeMounts[1].subPath",
        "../x",
        "'../x' is not a relative path; write it without '/' at its beginning and without '..': models/v1",
    ),
    Wrong("spec.rollout", 3, "must be an object, not a whole number; fields here: historyLimit"),
    Wrong("spec.rollout.historyLimit", -1, "must be at least 0, not -1"),
    Wrong("spec.rollout.historyLimit", 101, "must be at most 100, not 101"),
    Wrong("spec.routing.access", "Everyone", "'Everyone' is not one of Cluster, Namespace, Gateway"),
    Wrong("spec.routing.tls", "iris-tls", "must be an object, not a string; fields here: secretRef"),
    Wrong("spec.routing.tls.secretRef", "iris-tls", "must be an object, not a string; fields here: name"),
    Wrong("spec.routing.tls.secretRef.name", "T", "'T' is not a DNS name; use lower-case letters, digits, '-' and '.'"),
    Wrong("status.model.uri", 1, NOT_A_NUMBER),
    Wrong("status.model.loadTime", "12", "'12' is not a duration; examples: 500ms, 60s, 1h30m (a unit is needed)"),
    Wrong(
        "status",
        [],
        "must be an object, not a list; fields here: conditions, model, readyReplicas, replicas, revision, url",
    ),
    Wrong("status.conditions", {}, "must be a list, not an object; begin each of its entries with '-'"),
    Wrong(
        "status.conditions[0]",
        "Ready",
        "must be an object, not a string; "
        "fields here: lastTransitionTime, message, observedGeneration, reason, status, type",
    ),
    Wrong("status.conditions[0].type", "ready", "'ready' is not a type of condition; write one word in CamelCase"),
    Wrong("status.conditions[0].status", "true", "'true' is not one of True, False, Unknown; did you mean True?"),
    Wrong("status.conditions[0].reason", "is serving", "'is serving' is not a reason; write one word in CamelCase"),
    Wrong("status.conditions[0].message", 1, NOT_A_NUMBER),
    Wrong(
        "status.conditions[0].lastTransitionTime",
        "yesterday",
        "'yesterday' is not a time in UTC; example: 2026-01-31T12:00:00Z",
    ),
    Wrong("status.conditions[0].observedGeneration", -1, "must be at least 0, not -1"),
    Wrong("status.url", 1, NOT_A_NUMBER),
    Wrong("status.revision", "", "must have 1 to 63 characters, not 0"),
    Wrong("status.replicas", -1, "must be at least 0, not -1"),
    Wrong("status.readyReplicas", "2", "must be a whole number, not a string; write it without quotes"),
    Wrong("status.model", "iris", "must be an object, not a string; fields here: digest, loadTime, uri"),
    Wrong("status.model.digest", "", "must have 1 to 71 characters, not 0"),
]


NULLS: list[dict[str, Any]] = [
    {"scaling": None},
    {"scaling": {"min": None, "max": None, "target": None}},
    {"server": {"resources": None, "env": None}},
    {"server": {"resources": {"requests": {"cpu": None}}}},
    {"routing": {"timeout": None}},
]
"""Parts of a spec in which null counts as absent."""


def misspelled(resource: Resource) -> Iterator[Wrong]:
    """For every field of every object a near miss of its name, which has to be answered with the name."""
    for name in FIELDS:
        yield Wrong(f"metadata.{name}{name[-1]}", "x", f"unknown field; did you mean {name}?")
    for place in places(object_schema(resource), ""):
        for name in place.node.get("properties", ()):
            where = concrete(resource.kind, f"{place.path}.{name}")
            wrong = path_of([*where[:-1], f"{name}{name[-1]}"])
            yield Wrong(wrong, "x", f"unknown field; did you mean {name}?")
