"""A cluster that somebody else runs: the platform is installed there, and nothing is started here."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from slipway.cluster import images, lifecycle
from slipway.oci import RegistryClient, model_image
from slipway.progress import LineProgress

from .services import apply, condition, service, until_ready
from .tools import kubectl

PROGRESS = LineProgress()


@pytest.fixture(scope="module")
def foreign(home, tmp_path_factory):
    """A cluster that the person who installs knows by a kubeconfig alone, under a context of another name."""
    cluster = lifecycle.create(f"foreign-{os.getpid() % 1000}", 1, PROGRESS)
    images.push_all(cluster.registry, PROGRESS)
    kubeconfig = tmp_path_factory.mktemp("foreign") / "config"
    kubeconfig.write_text(cluster.kubeconfig.read_text().replace(cluster.context, "production"))
    yield cluster, kubeconfig
    lifecycle.delete(cluster.name, PROGRESS)


def elsewhere(directory, *words):
    """The command of a person whose own state directory is empty."""
    return subprocess.run(
        [sys.executable, "-m", "slipway", *words],
        env={**os.environ, "SLIPWAY_HOME": str(directory)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_platform_is_installed_and_nothing_is_started(foreign, tmp_path, iris):
    cluster, kubeconfig = foreign
    before = kubeconfig.read_text()
    where = ("--kubeconfig", str(kubeconfig), "--context", "production")
    registry = cluster.registry.name
    done = elsewhere(tmp_path, "up", *where, "--image-registry", registry)
    assert done.returncode == 0, done.stderr
    assert "production" in done.stdout + done.stderr
    assert not (tmp_path / "clusters").exists()
    assert kubeconfig.read_text() == before
    assert "slipway-operator" in kubectl(cluster, "get", "deploy", "-n", "slipway-system")
    again = elsewhere(tmp_path, "up", *where, "--image-registry", registry)
    assert again.returncode == 0, again.stderr


def test_without_a_gateway_a_service_is_ready_inside_the_cluster(foreign, tmp_path, iris):
    cluster, kubeconfig = foreign
    access = cluster.registry
    with RegistryClient.mutual_tls(access.url, access.ca, access.cert, access.key) as client:
        digest = client.upload(model_image(iris), "models/iris", "1")
    apply(cluster, "default", "iris", f"oci://{access.name}/models/iris@{digest}")
    url = until_ready(cluster, "default", "iris")
    assert url == "http://iris.default.svc"
    assert condition(cluster, "default", "iris", "Routed")["status"] == "False"
    where = ("--kubeconfig", str(kubeconfig), "--context", "production")
    asked = elsewhere(tmp_path, "predict", "iris", "--data", '{"x": [[5.1, 3.5, 1.4, 0.2]]}', *where)
    assert asked.returncode == 0, asked.stderr
    assert "setosa" in asked.stdout
    removed = elsewhere(tmp_path, "down", *where)
    assert removed.returncode == 0, removed.stderr
    assert service(cluster, "default", "iris")["spec"]["model"]["uri"].endswith(digest)


def test_an_unknown_context_is_said_with_those_that_exist(tmp_path, foreign):
    done = elsewhere(tmp_path, "up", "--kubeconfig", str(foreign[1]), "--context", "produktion")
    assert done.returncode != 0
    assert "production" in done.stderr
