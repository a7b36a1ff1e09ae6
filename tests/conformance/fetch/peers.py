"""Starts real servers of each protocol on loopback and fills them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

PEERS = Path(os.environ["SLIPWAY_FETCH_PEERS"])  # set by `run`
ACCOUNT = "devstoreaccount1"  # azurite's, as its key, which is public
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
AZURE_VERSION = "2021-08-06"


@contextmanager
def running(*command: str | Path, url: str, work: Path) -> Iterator[None]:
    """A server while the context is open; it listens when it enters."""
    with (work / "server.log").open("a") as log:
        server = subprocess.Popen([str(part) for part in command], cwd=work, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not _listens(url):
            assert server.poll() is None, (work / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait()


def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def send(method: str, url: str, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
    known = {"Content-Type": "application/octet-stream"} | dict(headers or {})
    request = urllib.request.Request(url, content or None, known, method=method)  # noqa: S310  # loopback
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310  # loopback
        pass


@contextmanager
def s3(work: Path, files: Mapping[str, bytes]) -> Iterator[str]:
    """moto with the bucket `models`; yields its URL."""
    at = port()
    url = f"http://127.0.0.1:{at}"
    with running(PEERS / "venv/bin/moto_server", "-H", "127.0.0.1", "-p", str(at), url=url, work=work):
        send("PUT", f"{url}/models")
        for name, content in files.items():
            send("PUT", f"{url}/models/{quote(name)}", content)
        yield url


@contextmanager
def gcs(work: Path, files: Mapping[str, bytes]) -> Iterator[str]:
    """fake-gcs-server with the bucket `models`; yields its URL."""
    at = port()
    url = f"http://127.0.0.1:{at}"
    options = ("-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(at), "-public-host", url[7:])
    with running(PEERS / "bin/fake-gcs-server", *options, url=url, work=work):
        kind = {"Content-Type": "application/json"}
        send("POST", f"{url}/storage/v1/b?project=p", json.dumps({"name": "models"}).encode(), kind)
        for name, content in files.items():
            place = f"{url}/upload/storage/v1/b/models/o?uploadType=media&name={quote(name, safe='')}"
            send("POST", place, content)
        yield url


@contextmanager
def azure(work: Path, files: Mapping[str, bytes]) -> Iterator[str]:
    """azurite with the container `models`; yields the URL of its account."""
    at = port()
    url = f"http://127.0.0.1:{at}"
    options = (
        "--silent",
        "--skipApiVersionCheck",
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        str(at),
        "--location",
        "data",
    )
    with running(PEERS / "node_modules/.bin/azurite-blob", *options, url=url, work=work):
        _azure(url, "models?restype=container", b"", {})
        for name, content in files.items():
            _azure(url, f"models/{quote(name)}", content, {"x-ms-blob-type": "BlockBlob"})
        yield f"{url}/{ACCOUNT}"


def _azure(url: str, path: str, content: bytes, headers: Mapping[str, str]) -> None:
    """A PUT signed with the account's key ("Authorize with Shared Key" in Azure's documentation)."""
    known = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": AZURE_VERSION, **headers}
    lines = "".join(f"{name}:{value}\n" for name, value in sorted(known.items()))
    bare, _, query = path.partition("?")
    resource = f"/{ACCOUNT}/{ACCOUNT}/{bare}" + (f"\n{query.replace('=', ':')}" if query else "")
    length = str(len(content)) if content else ""
    text = f"PUT\n\n\n{length}\n\napplication/octet-stream\n\n\n\n\n\n\n{lines}{resource}"
    signature = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
    authorization = f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"
    kind = {"Content-Type": "application/octet-stream", "Content-Length": str(len(content))}
    send("PUT", f"{url}/{ACCOUNT}/{path}", content, {**known, **kind, "Authorization": authorization})


@contextmanager
def registry(work: Path, password: str = "") -> Iterator[str]:
    """The distribution registry, with the user `user` where a password is given; yields HOST:PORT."""
    host = f"127.0.0.1:{port()}"
    auth = ""
    if password:
        program = f"import bcrypt; print(bcrypt.hashpw({password.encode()!r}, bcrypt.gensalt(4)).decode())"
        made = subprocess.run([PEERS / "venv/bin/python", "-c", program], capture_output=True, text=True, check=True)
        (work / "htpasswd").write_text(f"user:{made.stdout}")
        auth = f"auth: {{htpasswd: {{realm: test, path: {work / 'htpasswd'}}}}}\n"
    storage = f"storage: {{filesystem: {{rootdirectory: {work / 'blobs'}}}}}\n"
    (work / "registry.yaml").write_text(f"version: 0.1\n{storage}http: {{addr: '{host}'}}\n{auth}")
    with running(PEERS / "bin/registry", "serve", work / "registry.yaml", url=f"http://{host}", work=work):
        yield host


def _listens(url: str) -> bool:
    try:
        send("GET", url)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
