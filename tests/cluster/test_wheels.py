"""`pip install slipway slipway-node` needs no checkout, no compiler and no download of releases."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOW = """
import slipway
from slipway.cluster import binaries
from slipway.cluster.paths import resource
from slipway.progress import LineProgress
print(slipway.__file__)
print(binaries.directory(LineProgress()))
for name in ("node/go.mod", "helm/slipway/Chart.yaml", "requirements/serving.txt", "serving/src/slipway_serving"):
    assert resource(name).exists(), name
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Both wheels, built and installed into a directory."""
    work = tmp_path_factory.mktemp("wheels")
    subprocess.run([ROOT / "scripts" / "pack-node", work], check=True, capture_output=True)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", work, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    wheels = sorted(work.glob("*.whl"))
    assert [wheel.name.partition("-")[0] for wheel in wheels] == ["slipway", "slipway_node"]
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", work / "site", *wheels]
    subprocess.run(install, check=True, capture_output=True)
    return work


def test_installed_wheels_have_everything(installed):
    surroundings = {**os.environ, "PYTHONPATH": str(installed / "site"), "SLIPWAY_CACHE": str(installed / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=surroundings, cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    module, programs = done.stdout.split()
    assert module.startswith(str(installed / "site"))
    assert "wheel-" in programs
    shown = subprocess.run(
        [f"{programs}/kubectl", "version", "--client"], capture_output=True, text=True, check=True
    ).stdout
    assert "v1.37.1" in shown
    shown = subprocess.run([f"{programs}/containerd", "--version"], capture_output=True, text=True, check=True).stdout
    assert "containerd" in shown
