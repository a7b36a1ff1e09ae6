"""The program `slipway-fetch` against servers that others wrote."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import peers
import pytest

from slipway.fetch import checksum
from slipway.oci import RegistryClient, model_image, push
from slipway.progress import LineProgress

FILES = {"iris/model.onnx": os.urandom(20_000_000), "iris/sub/a b+é%20.txt": b"labels", "iris-2/model.onnx": b"another"}
WANTED = {"model.onnx": FILES["iris/model.onnx"], "sub/a b+é%20.txt": b"labels"}


@dataclass
class Peer:
    """Where the same files are at each peer, and what it takes to read them."""

    base: str
    environment: dict[str, str]
    wrong: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module", params=["s3", "gs", "azure"])
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    work = tmp_path_factory.mktemp(request.param)
    if request.param == "s3":
        keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
        with peers.s3(work, FILES) as url:
            yield Peer("s3://models", {**keys, "AWS_ENDPOINT_URL": url})
    elif request.param == "gs":
        with peers.gcs(work, FILES) as url:
            yield Peer("gs://models", {"GOOGLE_BASE_URL": url, "GOOGLE_SKIP_SIGNATURE": "true"})
    else:
        with peers.azure(work, FILES) as url:
            known = {"AZURE_STORAGE_ENDPOINT": url, "AZURE_STORAGE_ACCOUNT_KEY": peers.ACCOUNT_KEY}
            yield Peer(f"azure://{peers.ACCOUNT}/models", known)


def run(uri: str, directory: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slipway.fetch", uri, str(directory), *options]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def found(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def last(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_prefix_and_an_object(peer: Peer, tmp_path: Path) -> None:
    done = run(f"{peer.base}/iris", tmp_path / "1", **peer.environment)
    assert done.returncode == 0, done.stderr
    assert found(tmp_path / "1") == WANTED
    digest = f"sha256:{hashlib.sha256(WANTED['model.onnx']).hexdigest()}"
    done = run(f"{peer.base}/iris/model.onnx", tmp_path / "2", "--checksum", digest, **peer.environment)
    assert done.returncode == 0, done.stderr
    assert found(tmp_path / "2") == {"model.onnx": WANTED["model.onnx"]}


def test_the_checksum_of_a_directory_and_the_cache(peer: Peer, tmp_path: Path) -> None:
    cached = ("--cache", str(tmp_path / "cache"))
    for name in ("1", "2"):
        done = run(f"{peer.base}/iris/", tmp_path / name, *cached, **peer.environment)
        assert done.returncode == 0, done.stderr
        assert ("fetched" in done.stderr) == (name == "1")
    assert found(tmp_path / "1") == found(tmp_path / "2") == WANTED
    right = ("--checksum", checksum(tmp_path / "1"))
    assert run(f"{peer.base}/iris", tmp_path / "3", *right, **peer.environment).returncode == 0
    wrong = ("--checksum", f"sha256:{'0' * 64}")
    assert "its checksum is sha256:" in last(run(f"{peer.base}/iris", tmp_path / "4", *wrong, **peer.environment))


def test_a_part_that_is_there_is_resumed(peer: Peer, tmp_path: Path) -> None:
    """The first process may write 4 or 8 MB of the 20; the rest comes by range."""
    command = f"{sys.executable} -m slipway.fetch {peer.base}/iris/model.onnx {tmp_path}/m"
    limited = ["sh", "-c", f"ulimit -f 8192; exec {command}"]
    stopped = subprocess.run(limited, env=os.environ | peer.environment, capture_output=True, text=True, check=False)
    assert stopped.returncode != 0
    parts = [path for path in (tmp_path / "m").rglob("parts/*") if path.stat().st_size]
    assert len(parts) == 1
    assert 0 < parts[0].stat().st_size < len(WANTED["model.onnx"])
    done = run(f"{peer.base}/iris/model.onnx", tmp_path / "m", **peer.environment)
    assert done.returncode == 0, done.stderr
    assert found(tmp_path / "m") == {"model.onnx": WANTED["model.onnx"]}


def test_a_missing_object(peer: Peer, tmp_path: Path) -> None:
    assert "there is nothing of that name in the" in last(run(f"{peer.base}/iri", tmp_path, **peer.environment))


def test_a_missing_container(peer: Peer, tmp_path: Path) -> None:
    if peer.base.startswith("gs"):
        # fake-gcs-server answers 500 where Google answers 404, so that it is tried again until the time is over.
        done = run("gs://nothere/iris", tmp_path, "--timeout", "3", **peer.environment)
        assert "the time of 3 s is over" in last(done)
    else:
        done = run(f"{peer.base.replace('models', 'nothere')}/iris", tmp_path, **peer.environment)
        assert "there is no bucket 'nothere'" in last(done) or "there is no container 'nothere'" in last(done)


def test_wrong_credentials_of_azure(tmp_path: Path) -> None:
    with peers.azure(tmp_path, {"iris/model.onnx": b"x"}) as url:
        wrong = {"AZURE_STORAGE_ENDPOINT": url, "AZURE_STORAGE_ACCOUNT_KEY": f"AAAA{peers.ACCOUNT_KEY[4:]}"}
        sentence = last(run(f"azure://{peers.ACCOUNT}/models/iris", tmp_path / "m", **wrong))
    assert "the store refuses the credentials, or they may not read it (status 403" in sentence
    assert peers.ACCOUNT_KEY[4:] not in sentence


def test_wrong_credentials_of_s3(tmp_path: Path) -> None:
    with peers.s3(tmp_path, {"iris/model.onnx": b"x"}) as url:
        peers.send("POST", f"{url}/moto-api/reset-auth", b"0")  # from now on moto asks for credentials
        wrong = {"AWS_ACCESS_KEY_ID": "wr0ng", "AWS_SECRET_ACCESS_KEY": "wr0ng-secret", "AWS_ENDPOINT_URL": url}
        sentence = last(run("s3://models/iris", tmp_path / "m", AWS_REGION="us-east-1", **wrong))
    assert "the store refuses the credentials, or they may not read it (status 403" in sentence
    assert "wr0ng" not in sentence


@pytest.mark.parametrize("password", ["", "s3cret"])
def test_a_model_pushed_to_the_distribution_registry(tmp_path: Path, password: str) -> None:
    model = tmp_path / "model"
    (model / "sub").mkdir(parents=True)
    (model / "model.onnx").write_bytes(WANTED["model.onnx"])
    (model / "sub" / "labels.txt").write_text("a\n")
    with peers.registry(tmp_path, password) as host:
        auth = httpx2.BasicAuth("user", password) if password else None
        with RegistryClient(f"http://{host}", auth=auth) as client:
            digest = push(model_image(model), client, "models/iris", "v1", LineProgress())
        login = {"auth": base64.b64encode(f"user:{password}".encode()).decode()}
        (tmp_path / ".dockerconfigjson").write_text(json.dumps({"auths": {host: login}}))
        for reference in (":v1", f"@{digest}"):
            target = tmp_path / reference[1:4]
            done = run(f"oci://{host}/models/iris{reference}", target, DOCKER_CONFIG=str(tmp_path))
            assert done.returncode == 0, done.stderr
            assert found(target) == found(model)
        if password:
            sentence = last(run(f"oci://{host}/models/iris:v1", tmp_path / "no"))
            assert "asks for some (status 401); name a dockerconfigjson Secret" in sentence
