"""One cluster for all tests of a session; a namespace for each test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import pytest

from slipway.cluster import lifecycle
from slipway.progress import LineProgress

from .tools import kubectl, slipway


def pytest_collection_modifyitems(items):
    """Rights are compared with the calls of the whole run, so they come last."""
    items.sort(key=lambda item: item.path.name == "test_rights.py")


@pytest.fixture(scope="session", autouse=True)
def home():
    """State of the tests alone; the cache of programs and images is the machine's."""
    directory = Path(tempfile.mkdtemp(prefix="slipway-test-", dir=Path.home()))  # not /tmp: it may be in memory
    os.environ["SLIPWAY_HOME"] = str(directory)
    yield directory
    for cluster in lifecycle.clusters():
        lifecycle.delete(cluster.name, LineProgress())
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def cluster(home):
    """A cluster of one node, without the platform, whose API server writes down what the platform asks of it."""
    lifecycle.create("test", 1, LineProgress(), audit=True)
    return lifecycle.find("test")


@pytest.fixture(scope="session")
def platform(cluster):
    """The same cluster with the platform."""
    slipway("up", "--name", cluster.name, timeout=1200)
    return cluster


@pytest.fixture
def namespace(request, cluster):
    """A namespace of the test's own, deleted behind it."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")
    name = f"{words}-{zlib.crc32(request.node.name.encode()):08x}"
    kubectl(cluster, "create", "namespace", name)
    yield name
    kubectl(cluster, "delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def iris(tmp_path_factory):
    """The example's model, trained: a directory."""
    directory = tmp_path_factory.mktemp("model") / "iris"
    directory.mkdir()
    script = Path(__file__).parents[2] / "examples" / "iris" / "train.py"
    subprocess.run([sys.executable, script, directory], check=True, capture_output=True)
    return directory


@pytest.fixture(scope="session")
def pushed(platform, iris):
    """The URI of the example's model in the cluster's registry."""
    return slipway("push", str(iris), "iris").stdout.strip()


@pytest.fixture(scope="session")
def broken(platform, tmp_path_factory):
    """The URI of a model whose server cannot start: a Python class that raises as it is loaded."""
    directory = tmp_path_factory.mktemp("broken")
    (directory / "model.yaml").write_text("name: broken\nformat: python\n")
    (directory / "model.py").write_text(
        "class Model:\n    def load(self):\n        raise RuntimeError('this model is broken')\n\n"
        "    def predict(self, inputs):\n        return inputs\n"
    )
    return slipway("push", str(directory), "broken").stdout.strip()
