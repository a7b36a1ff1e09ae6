"""The children of a ModelService, compared with files.

When a change of them is meant: `UPDATE_GOLDEN=1 pytest tests/unit/controllers` writes the files anew; read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.api.modelservice import parse_spec
from slipway.api.names import LABEL_REVISION
from slipway.controllers.modelservice.children import build_children
from slipway.controllers.modelservice.children.revision import read_revision
from slipway.controllers.modelservice.decide import Known, decide
from slipway.controllers.modelservice.settings import Settings

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = Settings("registry.example/slipway/serving:0.1.0", ("slipway-system", "slipway"))
URI = "oci://registry.example/models/iris:1"
DIGEST = f"sha256:{'a' * 64}"

CASES: dict[str, dict[str, Any]] = {
    "smallest": {"model": {"uri": URI}},
    "fixed": {"model": {"uri": URI, "format": "onnx"}, "scaling": {"min": 3, "max": 3}},
    "autoscaled": {
        "model": {"uri": URI},
        "scaling": {"min": 2, "max": 10, "target": {"metric": "memory", "value": 70}},
        "routing": {"hostnames": ["iris.example.com"], "path": "/v2", "timeout": "5m"},
    },
    "custom": {
        "model": {"uri": "pvc://models/iris/v3", "format": "custom"},
        "server": {
            "image": "example.com/my-server:2",
            "resources": {"requests": {"cpu": "1000m"}, "limits": {"memory": "4096Mi", "nvidia.com/gpu": 1}},
            "env": [
                {"name": "EMPTY", "value": ""},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
            ],
            "envFrom": [{"prefix": "APP_", "configMapRef": {"name": "app"}}],
        },
    },
    "fetched": {
        "model": {
            "uri": "s3://models/iris/v3/",
            "checksum": f"sha256:{'0' * 64}",
            "secretRef": {"name": "s3"},
            "fetchTimeout": "2h",
        },
        "routing": {"hostnames": ["iris.example.com"], "tls": {"secretRef": {"name": "iris-tls"}}},
    },
    "placed": {
        "model": {"uri": URI, "secretRef": {"name": "pull"}},
        "server": {
            "gpu": {"count": 2, "profile": "mig-1g.10gb"},
            "files": {"config.yaml": "threads: 2\n"},
            "probes": {"startup": {"timeout": "20m"}, "readiness": {"period": "2s", "failureThreshold": 5}},
            "podTemplate": {
                "labels": {"team": "ml"},
                "annotations": {"example.com/owner": "ml"},
                "nodeSelector": {"gpu": "h100"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
                "affinity": {"nodeAffinity": {}},
                "priorityClassName": "high",
                "imagePullSecrets": [{"name": "own"}],
                "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}],
                "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108
            },
        },
        "routing": {"access": "Namespace"},
    },
}
CASE_SETTINGS = {
    "fetched": Settings(
        "registry.example/slipway/serving:0.1.0",
        ingress_class="nginx",
        fetcher_image="registry.example/slipway/fetcher:0.1.0",
        node_cache="/var/cache/slipway",
    )
}


def children(
    spec: dict[str, Any], *, can_route: bool = True, settings: Settings = SETTINGS, known: Known | None = None
) -> list[dict[str, Any]]:
    parsed = parse_spec({"spec": spec})
    return build_children(decide("team", "iris", parsed, settings, can_route=can_route, known=known))


def of_case(case: str) -> list[dict[str, Any]]:
    return children(CASES[case], settings=CASE_SETTINGS.get(case, SETTINGS))


def one(spec: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(child for child in children(spec) if child["kind"] == kind)


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


@pytest.mark.parametrize("case", CASES)
def test_children_are_those_of_the_golden_file(case: str) -> None:
    made = yaml.dump_all(of_case(case), Dumper=_NoAliases, sort_keys=False, width=120)
    file = GOLDEN / f"{case}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(made, encoding="utf-8")
    assert made == file.read_text(encoding="utf-8"), "if this is meant: UPDATE_GOLDEN=1 pytest tests/unit/controllers"


def test_every_golden_file_has_its_case() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_children_have_the_name_labels_and_selector_of_their_service(case: str) -> None:
    for child in of_case(case):
        metadata = child["metadata"]
        assert metadata["name"] == "iris" or metadata["name"].startswith("iris-")
        assert metadata["namespace"] == "team"
        assert metadata["labels"]["slipway.dev/modelservice"] == "iris"
    assert one(CASES[case], "Deployment")["spec"]["selector"] == {"matchLabels": {"slipway.dev/modelservice": "iris"}}


def test_nobody_but_the_autoscaler_writes_replicas_where_there_is_one() -> None:
    assert "replicas" not in one(CASES["autoscaled"], "Deployment")["spec"]
    assert one(CASES["fixed"], "Deployment")["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("can_route", "settings"), [(False, SETTINGS), (True, Settings("image"))], ids=["no Gateway API", "no gateway"]
)
def test_without_a_gateway_there_is_no_route(can_route: bool, settings: Settings) -> None:
    made = children(CASES["smallest"], can_route=can_route, settings=settings)
    assert [child["kind"] for child in made] == [
        "ServiceAccount",
        "NetworkPolicy",
        "Service",
        "ControllerRevision",
        "Deployment",
    ]


def revision(spec: dict[str, Any]) -> str:
    template = one(spec, "Deployment")["spec"]["template"]
    return str(template["metadata"]["labels"][LABEL_REVISION])


@pytest.mark.parametrize(
    ("change", "rolls"),
    [
        ({"model": {"uri": "oci://registry.example/models/iris:2"}}, True),
        ({"server": {"env": [{"name": "A", "value": "1"}]}}, True),
        ({"server": {"resources": {"limits": {"memory": "1024Mi"}}}}, False),
        ({"scaling": {"min": 5}}, False),
        ({"routing": {"hostnames": ["x"]}}, False),
    ],
)
def test_only_what_pods_are_made_from_makes_a_revision(change: dict[str, Any], rolls: bool) -> None:
    assert (revision(CASES["smallest"] | change) != revision(CASES["smallest"])) == rolls


def template(known: Known, spec: dict[str, Any] | None = None) -> dict[str, Any]:
    made = children(spec or CASES["smallest"], known=known)
    return next(child for child in made if child["kind"] == "Deployment")["spec"]["template"]


@pytest.mark.parametrize(
    "known", [Known(content="abc"), Known(restarted_at="2026-01-01T00:00:00Z"), Known(digest=DIGEST)]
)
def test_content_a_restart_and_another_digest_roll_the_pods(known: Known) -> None:
    assert template(known) != template(Known())


def test_a_tag_gives_way_to_its_digest_and_stays_readable() -> None:
    (image,) = [volume["image"] for volume in template(Known(digest=DIGEST))["spec"]["volumes"] if "image" in volume]
    assert image["reference"] == f"registry.example/models/iris:1@{DIGEST}"


def test_what_was_decided_for_a_revision_is_kept() -> None:
    spec = CASES["smallest"]
    first = children(spec, known=Known(digest=DIGEST))
    record = read_revision(next(child for child in first if child["kind"] == "ControllerRevision"))
    later = Known(revisions=(record,), before=record, digest="sha256:" + "f" * 64, load_seconds=900)
    assert children(spec, known=later) == first


def test_what_a_model_took_to_load_gives_the_next_revision_its_time() -> None:
    def seconds(known: Known) -> int:
        probe = template(known)["spec"]["containers"][0]["startupProbe"]
        return int(probe["periodSeconds"] * probe["failureThreshold"])

    assert (seconds(Known()), seconds(Known(load_seconds=20)), seconds(Known(load_seconds=400))) == (600, 600, 2000)


def test_going_back_gives_an_old_revision_the_next_number() -> None:
    def record(spec: dict[str, Any], known: Known) -> dict[str, Any]:
        return next(child for child in children(spec, known=known) if child["kind"] == "ControllerRevision")

    one = record(CASES["smallest"], Known())
    two = record(CASES["custom"], Known(revisions=(read_revision(one),)))
    back = record(CASES["smallest"], Known(revisions=(read_revision(one), read_revision(two))))
    assert [made["revision"] for made in (one, two, back)] == [1, 2, 3]
    assert (back["metadata"]["name"], back["data"]) == (one["metadata"]["name"], one["data"])


def test_where_nodes_cannot_mount_images_they_are_fetched_with_the_registrys_secret() -> None:
    settings = Settings("image", fetcher_image="fetcher", image_volumes=False)
    made = children({"model": {"uri": URI, "secretRef": {"name": "pull"}}}, settings=settings)
    pod = next(child for child in made if child["kind"] == "Deployment")["spec"]["template"]["spec"]
    (fetch,) = pod["initContainers"]
    assert fetch["args"][:2] == [URI, "/models/iris"]
    authorities = {"secretKeyRef": {"name": "pull", "key": "CA_CERTIFICATES", "optional": True}}
    assert fetch["env"] == [
        {"name": "DOCKER_CONFIG", "value": "/registry"},
        {"name": "CA_CERTIFICATES", "valueFrom": authorities},
    ]
    assert "imagePullSecrets" not in pod


def test_no_credential_is_in_a_command_line() -> None:
    made = of_case("fetched")
    pod = next(child for child in made if child["kind"] == "Deployment")["spec"]["template"]["spec"]
    (fetch,) = pod["initContainers"]
    assert fetch["envFrom"] == [{"secretRef": {"name": "s3"}}]
    assert not [word for word in fetch["args"] if "s3" in word and not word.startswith("s3://")]
