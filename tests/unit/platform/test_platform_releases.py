from __future__ import annotations

from pathlib import Path

import pytest

from slipway.cluster import images, platform
from slipway.cluster.errors import ClusterError
from slipway.cluster.platform import (
    INPUTS,
    Options,
    Release,
    foreign_releases,
    local_releases,
    marked,
    unmarked,
    wanted,
)

DIGEST = f"sha256:{'0' * 64}"
REFERENCES = {name: f"registry.slipway-system.svc:5000/{name}:0.1.0@{DIGEST}" for name in images.NAMES}


def by_name(releases: list[Release]) -> dict[str, Release]:
    return {release.name: release for release in releases}


def test_a_local_cluster_gets_its_images_by_digest_and_its_gateway_on_a_node_port(tmp_path: Path) -> None:
    releases = by_name(local_releases(REFERENCES, tmp_path, "http://172.30.0.11:30080"))
    assert releases["slipway"].values == {
        "image": {
            "registry": "registry.slipway-system.svc:5000",
            "repository": "slipway/operator",
            "tag": "0.1.0",
            "digest": DIGEST,
        },
        "serving": {"image": REFERENCES[images.SERVING]},
        "gateway": {
            "create": True,
            "url": "http://172.30.0.11:30080",
            "proxyNamespace": "envoy-gateway-system",
            "service": {"type": "NodePort", "nodePort": 30080},
            "envoy": {"image": REFERENCES[images.ENVOY]},
        },
        "registries": [{"host": "registry.slipway-system.svc:5000", "secretName": "slipway-registry"}],
    }
    gateway = releases["slipway-gateway"]
    assert gateway.values["global"]["images"]["envoyGateway"]["image"] == REFERENCES[images.ENVOY_GATEWAY]
    assert gateway.namespace == "envoy-gateway-system"
    assert [one.name for one in wanted([*releases.values()])] == ["slipway-operator", "envoy-gateway", "slipway"]


def test_a_release_that_somebody_upgraded_by_hand_is_not_as_it_was_installed() -> None:
    mark = marked("digest", [3, 4])
    assert unmarked({INPUTS: mark, "version": "5"}) == "digest"
    assert unmarked({INPUTS: mark, "version": "6"}) == ""
    assert unmarked({INPUTS: "digest-of-an-earlier-slipway", "version": "1"}) == ""
    assert unmarked({INPUTS: marked("digest", []), "version": "1"}) == "digest"


def test_a_cluster_that_exists_gets_the_operator_alone(tmp_path: Path) -> None:
    releases = foreign_releases(Options(image_registry="registry.example/team/"), tmp_path)
    assert [release.name for release in releases] == ["slipway"]
    values = releases[0].values
    assert values["image"]["registry"] == "registry.example/team"
    assert values["serving"]["image"].startswith("registry.example/team/slipway/serving:")
    assert values["gateway"] == {"create": False, "reference": ""}
    assert [one.name for one in wanted(releases)] == ["slipway-operator"]


def test_a_cluster_that_exists_gets_a_gateway_when_asked(tmp_path: Path) -> None:
    releases = by_name(foreign_releases(Options("registry.example", create_gateway=True), tmp_path))
    assert set(releases) == {"slipway", "slipway-gateway"}
    assert releases["slipway"].values["gateway"]["envoy"]["image"].startswith("registry.example/slipway/envoy:")
    assert "config" not in releases["slipway-gateway"].values
    assert [one.name for one in wanted([*releases.values()])] == ["slipway-operator", "envoy-gateway"]


def test_a_gateway_that_exists_is_used_when_named(tmp_path: Path) -> None:
    (release,) = foreign_releases(Options("registry.example", gateway="infra/public"), tmp_path)
    assert release.values["gateway"] == {"create": False, "reference": "infra/public"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(), "from a registry, and none is named"),
        (Options("registry.example", gateway="a/b", create_gateway=True), "Either use a Gateway that exists"),
    ],
)
def test_options_that_cannot_work_are_refused_with_what_to_do(tmp_path: Path, options: Options, message: str) -> None:
    with pytest.raises(ClusterError, match=message) as failed:
        foreign_releases(options, tmp_path)
    assert failed.value.hint


def test_the_inputs_of_a_release_change_with_its_values_and_its_chart(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "a.yaml").write_text("a")
    first = Release("slipway", "slipway-system", tmp_path, {"a": 1}).inputs
    assert Release("slipway", "slipway-system", tmp_path, {"a": 1}).inputs == first
    assert Release("slipway", "slipway-system", tmp_path, {"a": 2}).inputs != first
    (tmp_path / "templates" / "a.yaml").write_text("b")
    assert Release("slipway", "slipway-system", tmp_path, {"a": 1}).inputs != first
    assert len(first) <= 63, "it is a label's value"
    assert platform.INPUTS == "slipway.dev/inputs"
