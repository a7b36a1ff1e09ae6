from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from slipway.kit.access import Access
from slipway.kit.client import Forbidden, Unreachable
from slipway.kit.credentials import ConfigError, ExecAuth, ExecPlugin, TokenFileAuth
from slipway.kit.objects import POD
from slipway.kit.rest import RestClient


def identity() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "someone")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def kubeconfig(path: Path, *, cluster: Any = None, user: Any = None, name: str = "c", **more: Any) -> Path:
    document = {
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "team"}}],
        "clusters": [{"name": name, "cluster": {"server": "https://host:6443/", **(cluster or {})}}],
        "users": [{"name": name, "user": user or {}}],
        **more,
    }
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


async def authorization(access: Access) -> str:
    """What a request says of who sends it."""
    seen: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers.get("Authorization", ""))
        return httpx2.Response(200, json={"items": []})

    async with RestClient(access, transport=httpx2.MockTransport(answer)) as client:
        await client.list(POD)
    return seen[-1]


async def test_a_context_with_a_token(tmp_path: Path):
    access = Access.from_kubeconfig(kubeconfig(tmp_path / "config", user={"token": "secret"}))
    assert (access.server, access.namespace) == ("https://host:6443", "team")
    assert await authorization(access) == "Bearer secret"


async def test_a_user_with_a_password_and_one_with_nothing(tmp_path: Path):
    access = Access.from_kubeconfig(kubeconfig(tmp_path / "a", user={"username": "u", "password": "p"}))
    assert await authorization(access) == "Basic " + base64.b64encode(b"u:p").decode()
    assert await authorization(Access.from_kubeconfig(kubeconfig(tmp_path / "b"))) == ""


def test_certificates_come_as_data_or_as_files_beside_the_kubeconfig(tmp_path: Path):
    certificate, key = identity()
    encoded = {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }
    (tmp_path / "ca.pem").write_bytes(certificate)
    access = Access.from_kubeconfig(
        kubeconfig(tmp_path / "a", user=encoded, cluster={"certificate-authority": "ca.pem", "tls-server-name": "api"})
    )
    assert isinstance(access.verify, ssl.SSLContext)
    assert [dict(entry)["serialNumber"] for entry in access.verify.get_ca_certs()] == ["01"]
    assert access.server_name == "api"
    insecure = Access.from_kubeconfig(kubeconfig(tmp_path / "b", cluster={"insecure-skip-tls-verify": True}))
    assert isinstance(insecure.verify, ssl.SSLContext)
    assert insecure.verify.verify_mode == ssl.CERT_NONE


def test_the_files_of_the_variable_are_merged_and_the_first_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = kubeconfig(tmp_path / "one", cluster={"server": "https://one"})
    second = kubeconfig(tmp_path / "two", cluster={"server": "https://two"}, name="d")
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'absent'}:{second}")
    assert Access.from_kubeconfig().server == "https://one"
    assert Access.from_kubeconfig(context="d").server == "https://two"


WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no file": (lambda path: path, "no such kubeconfig file"),
    "no mapping": (lambda path: write(path, "- a"), "a mapping is expected"),
    "no YAML": (lambda path: write(path, "a: [unclosed"), "not a readable kubeconfig"),
    "no text": (lambda path: write(path, b"\xff\xfe\x00"), "not a readable kubeconfig"),
    "no context": (lambda path: write(path, "{}"), "has no current context. Name one of: .there are none"),
    "unknown": (lambda path: kubeconfig(path, **{"current-context": "x"}), "has no context x. There are: c"),
    "no cluster": (lambda path: kubeconfig(path, clusters=[]), "has no cluster c"),
    "no server": (lambda path: kubeconfig(path, cluster={"server": 7}), "has no server address"),
    "bad base64": (
        lambda path: kubeconfig(path, cluster={"certificate-authority-data": "?"}),
        "certificate-authority cannot be read",
    ),
    "no file of it": (
        lambda path: kubeconfig(path, user={"client-certificate": "absent"}),
        "client-certificate cannot be read",
    ),
    "no PEM": (
        lambda path: kubeconfig(path, cluster={"certificate-authority-data": "Zm9v"}),
        "not in PEM form",
    ),
    "old provider": (lambda path: kubeconfig(path, user={"auth-provider": {"name": "gcp"}}), "use an exec plugin"),
    "old plugin": (
        lambda path: kubeconfig(path, user={"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1"}}),
        "exec needs a command and one of the versions",
    ),
}


EXEC = {"apiVersion": "client.authentication.k8s.io/v1", "command": "x"}
WRONG |= {
    "proxy": (lambda path: kubeconfig(path, cluster={"proxy-url": "host:1"}), "proxy-url is not an http"),
    "args": (lambda path: kubeconfig(path, user={"exec": {**EXEC, "args": 5}}), "exec has args that are no list"),
    "env": (
        lambda path: kubeconfig(path, user={"exec": {**EXEC, "env": [{"name": "A"}]}}),
        "no list of name and value",
    ),
}


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_kubeconfig_is_refused_in_a_sentence(tmp_path: Path, make: Callable[[Path], Path], message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        Access.from_kubeconfig(make(tmp_path / "config"))
    assert isinstance(caught.value, Unreachable)


def test_inside_a_pod(tmp_path: Path):
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(ConfigError, match="Not inside a cluster"):
        Access.in_cluster(tmp_path, environ)
    (tmp_path / "token").write_text("t")
    with pytest.raises(ConfigError, match="certificate-authority cannot be read"):
        Access.in_cluster(tmp_path, environ)
    (tmp_path / "ca.crt").write_bytes(identity()[0])
    access = Access.in_cluster(tmp_path, environ)
    assert (access.server, access.namespace) == ("https://[fd00::1]:443", "default")
    (tmp_path / "namespace").write_text("slipway-system\n")
    assert Access.in_cluster(tmp_path, environ).namespace == "slipway-system"


async def test_a_token_file_is_read_again_when_it_is_old_and_when_it_is_refused(tmp_path: Path):
    path, now = tmp_path / "token", [0.0]
    access = Access("https://host", auth=TokenFileAuth(path, monotonic=lambda: now[0]))
    path.write_text("one\n")
    assert await authorization(access) == "Bearer one"
    path.write_text("two")
    assert await authorization(access) == "Bearer one"
    now[0] = 61.0
    assert await authorization(access) == "Bearer two"
    path.write_text("three")

    def refuse_old(request: httpx2.Request) -> httpx2.Response:
        fresh = request.headers["Authorization"] == "Bearer three"
        return httpx2.Response(200 if fresh else 401, json={"items": []})

    async with RestClient(access, transport=httpx2.MockTransport(refuse_old)) as client:
        await client.list(POD)
        path.write_text("four")
        await client.list(POD)
        path.unlink()
        now[0] = 200.0
        with pytest.raises(ConfigError, match=r"token file .* cannot be read"):
            await client.list(POD)


def plugin(tmp_path: Path, script: str, **spec: Any) -> dict[str, Any]:
    path = tmp_path / "plugin"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), **spec}}


async def test_an_exec_plugin_is_asked_once_and_told_what_it_needs(tmp_path: Path):
    script = f"""echo run >> {tmp_path}/runs
printf %s "$KUBERNETES_EXEC_INFO" > {tmp_path}/info
echo '{{"status": {{"token": "'$PREFIX-$1'"}}}}'"""
    user = plugin(tmp_path, script, args=["arg"], env=[{"name": "PREFIX", "value": "pre"}], provideClusterInfo=True)
    access = Access.from_kubeconfig(kubeconfig(tmp_path / "config", user=user))
    assert await authorization(access) == "Bearer pre-arg"
    assert await authorization(access) == "Bearer pre-arg"
    assert (tmp_path / "runs").read_text() == "run\n"
    assert json.loads((tmp_path / "info").read_text()) == {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "spec": {"interactive": False, "cluster": {"server": "https://host:6443/"}},
    }


async def test_an_exec_plugin_is_asked_again_when_its_token_ends_or_is_refused(tmp_path: Path):
    script = f"""echo run >> {tmp_path}/runs
echo '{{"status": {{"token": "t", "expirationTimestamp": "2026-01-01T00:00:00Z"}}}}'"""
    spec = plugin(tmp_path, script)["exec"]
    now = [0.0]
    auth = ExecAuth(ExecPlugin(spec["apiVersion"], [spec["command"]]), now=lambda: now[0])
    await authorization(Access("https://host", auth=auth))
    now[0] = datetime(2026, 1, 2, tzinfo=UTC).timestamp()
    await authorization(Access("https://host", auth=auth))
    assert (tmp_path / "runs").read_text() == "run\nrun\n"
    refused = httpx2.MockTransport(lambda _: httpx2.Response(401, json={"message": "Unauthorized"}))
    async with RestClient(Access("https://host", auth=auth), transport=refused) as client:
        with pytest.raises(Forbidden, match="Unauthorized"):
            await client.list(POD)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo said why >&2; exit 3", r"failed \(exit 3\): said why"),
        ("echo nonsense", "did not print an ExecCredential"),
        ("echo '{\"status\": {}}'", "gave no token"),
        ("echo '{\"status\": [1]}'", "did not print an ExecCredential"),
    ],
)
async def test_a_plugin_that_fails_is_an_error_of_the_configuration(tmp_path: Path, script: str, message: str):
    access = Access.from_kubeconfig(kubeconfig(tmp_path / "config", user=plugin(tmp_path, script)))
    with pytest.raises(ConfigError, match=message):
        await authorization(access)


async def test_a_plugin_that_is_not_installed_says_how_to_get_it(tmp_path: Path):
    spec = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "absent-plugin", "installHint": "Get it."}
    access = Access.from_kubeconfig(kubeconfig(tmp_path / "config", user={"exec": spec}))
    with pytest.raises(ConfigError, match=r"plugin absent-plugin cannot be started: .* Get it\."):
        await authorization(access)
