"""Models that pods fetch: with credentials from a Secret, from servers that an authority of one's own vouches for."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.cluster import binaries
from slipway.cluster.pki import Authority
from slipway.progress import LineProgress

from .services import service, until_condition, until_ready
from .tools import get, host_pid, kubectl, slipway, until
from .traffic import FLOWER, ask

PASSWORD = "sesame-5931"
BCRYPT = "$2b$04$AqxKFhElMJ1QlgRcFPHf.uB2JFcshur5axtDH.QScGWMDB4ilt8Lq"  # of PASSWORD; the registry reads no other kind
AUTHORIZATION = f"Bearer {PASSWORD}"
FILES = Path(__file__).parent / "files_server.py"


class Host:
    """Servers at a node's address, which its pods can reach and nobody else's."""

    def __init__(self, cluster, model, directory):
        self.address = cluster.layout.control_plane.address
        self.model = model
        self.directory = directory
        self.authority = Authority("the team's own")
        self.authority.server("server", self.address).write(directory, "server")
        self.certificate = self.authority.pair.certificate.decode()
        (directory / "ca.pem").write_text(self.certificate)
        self._inside = ["nsenter", "--net", "--target", str(host_pid(cluster, "kubelet"))]
        self._processes = []

    def serve_files(self):
        (self.directory / "authorization").write_text(AUTHORIZATION)
        self.files = self._run(8443, sys.executable, FILES, self.address, 8443, self.directory, self.model)

    def serve_images(self):
        at = f"{self.address}:5443"
        (self.directory / "htpasswd").write_text(f"team:{BCRYPT}\n")
        tls = {"certificate": f"{self.directory}/server.crt", "key": f"{self.directory}/server.key"}
        configuration = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": f"{self.directory}/blobs"}},
            "http": {"addr": at, "tls": tls},
            "auth": {"htpasswd": {"realm": "models", "path": f"{self.directory}/htpasswd"}},
        }
        (self.directory / "registry.yaml").write_text(json.dumps(configuration))
        program = binaries.directory(LineProgress()) / "registry"
        self.registry = self._run(
            5443, "env", "OTEL_TRACES_EXPORTER=none", program, "serve", self.directory / "registry.yaml"
        )

    def _run(self, port, *command):
        with (self.directory / "server.log").open("a") as log:
            words = [*self._inside, *map(str, command)]
            self._processes.append(subprocess.Popen(words, stdout=log, stderr=log))
        until(lambda: self._listens(port), what=(self.directory / "server.log").read_text())
        return f"{self.address}:{port}"

    def stop(self):
        for process in self._processes:
            process.terminate()
            process.wait()

    def _listens(self, port):
        try:
            socket.create_connection((self.address, port), timeout=1).close()
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def host(platform, iris, tmp_path_factory):
    """A web server and a registry, both with a password, that hold the example's model."""
    made = Host(platform, iris, tmp_path_factory.mktemp("host"))
    made.serve_files()
    made.serve_images()
    yield made
    made.stop()


def secret(cluster, namespace, name, **values):
    """A Secret from files of `values`, as a person makes one."""
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}
    kubectl(cluster, "apply", "-f", "-", stdin=json.dumps(manifest | {"stringData": values}))


def fetched(namespace, uri, credentials, name="iris"):
    """A ModelService of a model that is fetched."""
    model = {"uri": uri, "format": "onnx", "secretRef": {"name": credentials}}
    manifest = {"apiVersion": "slipway.dev/v1alpha1", "kind": "ModelService"}
    return json.dumps(manifest | {"metadata": {"name": name, "namespace": namespace}, "spec": {"model": model}})


def images(cluster):
    """The model server's image and the fetcher's, as the operator has them."""
    (container,) = get(cluster, "deployment", "slipway-operator", "-n", "slipway-system")["spec"]["template"]["spec"][
        "containers"
    ]
    given = dict(word.split("=", 1) for word in container["args"] if "=" in word)
    return given["--serving-image"], given["--fetcher-image"]


def test_a_file_behind_a_password_and_a_private_authority(platform, namespace, host):
    secret(platform, namespace, "files", HTTPS_AUTHORIZATION=AUTHORIZATION, CA_CERTIFICATES=host.certificate)
    kubectl(platform, "apply", "-f", "-", stdin=fetched(namespace, f"https://{host.files}/model.onnx", "files"))
    assert ask(f"{until_ready(platform, namespace, 'iris')}/predict", FLOWER)[0] == 200
    shown = kubectl(platform, "get", "all,configmaps,controllerrevisions,events", "-n", namespace, "-o", "yaml")
    (pod,) = get(platform, "pods", "-n", namespace)["items"]
    told = kubectl(platform, "logs", pod["metadata"]["name"], "-c", "fetch", "-n", namespace)
    assert PASSWORD not in shown + told


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"HTTPS_AUTHORIZATION": "Bearer guess"}, "401"),
        ({"CA_CERTIFICATES": ""}, "the server's certificate is not trusted"),
    ],
    ids=["wrong-password", "unknown-authority"],
)
def test_why_it_is_not_given_is_in_the_condition(platform, namespace, host, wrong, said):
    right = {"HTTPS_AUTHORIZATION": AUTHORIZATION, "CA_CERTIFICATES": host.certificate}
    secret(platform, namespace, "files", **(right | wrong))
    kubectl(platform, "apply", "-f", "-", stdin=fetched(namespace, f"https://{host.files}/model.onnx", "files"))
    shown = until_condition(platform, namespace, "iris", "Ready", status="False", reason="FetchFailed")
    assert said in shown["message"]
    assert "guess" not in shown["message"]
    secret(platform, namespace, "files", **right)
    until_ready(platform, namespace, "iris")


def test_an_image_is_fetched_where_nodes_cannot_mount_it(platform, namespace, host, monkeypatch, tmp_path):
    token = base64.b64encode(f"team:{PASSWORD}".encode()).decode()
    logins = json.dumps({"auths": {host.registry: {"auth": token}}})
    (host.directory / "config.json").write_text(logins)
    monkeypatch.setenv("DOCKER_CONFIG", str(host.directory))
    monkeypatch.setenv("SSL_CERT_FILE", str(host.directory / "ca.pem"))
    uri = slipway("push", str(host.model), "iris:1", "--registry", host.registry).stdout.strip()
    monkeypatch.delenv("SSL_CERT_FILE")
    values = {".dockerconfigjson": logins, "CA_CERTIFICATES": host.certificate}
    manifest = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson"}
    manifest |= {"metadata": {"name": "pull", "namespace": namespace}, "stringData": values}
    kubectl(platform, "apply", "-f", "-", stdin=json.dumps(manifest))
    repository, _, digest = uri.partition("@")
    kubectl(platform, "apply", "-f", "-", stdin=fetched(namespace, f"{repository}:1", "pull", name="tagged"))
    until(lambda: service(platform, namespace, "tagged").get("status", {}).get("model", {}).get("digest") == digest)
    (tmp_path / "service.yaml").write_text(fetched(namespace, uri, "pull"))
    serving, fetcher = images(platform)
    chosen = ("--image", serving, "--fetcher-image", fetcher, "--no-image-volumes")
    manifests = slipway("render", "-f", str(tmp_path / "service.yaml"), *chosen).stdout
    kubectl(platform, "apply", "-f", "-", stdin=manifests)
    kubectl(platform, "rollout", "status", "deployment/iris", "-n", namespace, "--timeout=120s")
    pod = get(platform, "deployment", "iris", "-n", namespace)["spec"]["template"]["spec"]
    assert not [volume for volume in pod["volumes"] if "image" in volume]
    assert pod["initContainers"][0]["args"][0] == uri
