from __future__ import annotations

import ipaddress
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .server import Bucket, Web, serving

PEM = serialization.Encoding.PEM


@dataclass
class Authority:
    """Files of an authority that nobody knows, and of a server at 127.0.0.1 that it vouches for."""

    certificate: Path
    server: Path


def signed(name: str, key: ec.EllipticCurvePrivateKey, by: str, signer: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, by))
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    return (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=name == by, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    mine, servers = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    private = servers.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files = Authority(tmp_path / "ca.pem", tmp_path / "server.pem")
    files.certificate.write_bytes(signed("authority", mine, "authority", mine).public_bytes(PEM))
    files.server.write_bytes(signed("server", servers, "authority", mine).public_bytes(PEM) + private)
    return files


@pytest.fixture
def secure(authority: Authority) -> Iterator[Web]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server)
    with serving(context) as web:
        yield web


def program(uri: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slipway.fetch", uri, str(directory), "--timeout", "60"]
    known = {name: value for name, value in os.environ.items() if name not in {"SSL_CERT_FILE", "SSL_CERT_DIR"}}
    return subprocess.run(command, env=known | environment, capture_output=True, text=True, check=False)


def test_an_authority_is_trusted_when_it_is_named(secure: Web, authority: Authority, tmp_path: Path) -> None:
    secure.put("/model.onnx", b"x" * 1000)
    uri = f"{secure.url}/model.onnx"
    refused = program(uri, tmp_path / "m")
    assert refused.returncode == 1
    assert "the server's certificate is not trusted (" in refused.stderr.splitlines()[-1]
    assert "under the key CA_CERTIFICATES of the model's Secret" in refused.stderr.splitlines()[-1]
    done = program(uri, tmp_path / "m", SSL_CERT_FILE=str(authority.certificate))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m" / "model.onnx").read_bytes() == b"x" * 1000


def test_object_stores_trust_the_same_authority(secure: Web, authority: Authority, tmp_path: Path) -> None:
    bucket = Bucket(secure)
    bucket.put("iris/model.onnx", b"x" * 1000)
    refused = program("s3://models/iris", tmp_path / "m", **bucket.environment())
    assert "the server's certificate is not trusted" in refused.stderr.splitlines()[-1]
    done = program("s3://models/iris", tmp_path / "m", SSL_CERT_FILE=str(authority.certificate), **bucket.environment())
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m" / "model.onnx").read_bytes() == b"x" * 1000


def test_authorities_come_with_the_credentials(secure: Web, authority: Authority, tmp_path: Path) -> None:
    bucket = Bucket(secure)
    bucket.put("iris/model.onnx", b"x" * 1000)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    given = {"CA_CERTIFICATES": authority.certificate.read_text(), "TMPDIR": str(temporary)}
    for source in ("s3://models/iris/model.onnx", f"{secure.url}/models/iris/model.onnx"):
        done = program(source, tmp_path / "m", **bucket.environment(), **given)
        assert done.returncode == 0, done.stderr
    assert list(temporary.iterdir()) == []


def test_authorities_are_added_to_those_that_are_known(secure: Web, authority: Authority, tmp_path: Path) -> None:
    secure.put("/model.onnx", b"x")
    another = ec.generate_private_key(ec.SECP256R1())
    more = "# Főtanúsítvány\n" + signed("another", another, "another", another).public_bytes(PEM).decode()
    uri = f"{secure.url}/model.onnx"
    done = program(uri, tmp_path / "m", SSL_CERT_FILE=str(authority.certificate), CA_CERTIFICATES=more)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("given", ["ca.crt", "-----BEGIN CERTIFICATE-----\nMIIB\n", "Zürich"])
def test_what_is_no_certificate_is_said(given: str, tmp_path: Path) -> None:
    done = program("https://127.0.0.1:1/model.onnx", tmp_path / "m", CA_CERTIFICATES=given)
    assert done.returncode == 1
    assert "CA_CERTIFICATES does not hold certificates; give whole blocks" in done.stderr.splitlines()[-1]
