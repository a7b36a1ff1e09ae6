"""Downloads, against a server with the layout of the official releases."""

import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from slipway.cluster import binaries, releases
from slipway.cluster.errors import ClusterError
from slipway.cluster.paths import resource
from slipway.progress import LineProgress

PINNED = releases.versions((resource("node") / "go.mod").read_text())
PROGRAM = b"#!/bin/sh\nexit 0\n"


def archive(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as content:
        for name, text in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            content.addfile(entry, io.BytesIO(text))
    return buffer.getvalue()


def digest(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Mirror:
    """Serves files by path, honours ranges, and asks for a token where a path is in `guarded`."""

    def __init__(self):
        self.files, self.guarded, self.ranges, self.asked = {}, set(), [], []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                mirror.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, request):
        path = request.path.partition("?")[0].lstrip("/")
        self.asked.append(path)
        content = self.files.get(path)
        if path in self.guarded and request.headers.get("Authorization") != "Bearer guest":
            realm = 'Bearer realm="https://auth.example/token",service="registry"'
            return self.send(request, 401, b"", {"WWW-Authenticate": realm})
        if content is None:
            return self.send(request, 404, b"")
        if wanted := request.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.ranges.append(start)
            return self.send(request, 206, content[start:]) if start < len(content) else self.send(request, 416, b"")
        return self.send(request, 200, content)

    @staticmethod
    def send(request, status, content, headers=None):
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def add(self, url, content):
        self.files[url.removeprefix("https://")] = content


@pytest.fixture
def mirror(monkeypatch):
    server = Mirror()
    monkeypatch.setenv("SLIPWAY_RELEASES", server.url)
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def complete(mirror):
    for release in releases.releases(PINNED):
        content = archive({member: PROGRAM for member, _ in release.members}) if release.members else PROGRAM
        mirror.add(release.url, content)
        mirror.add(release.checksum, f"{hashlib.sha256(content).hexdigest()}  {release.name}\n".encode())
    for image in releases.image_releases(PINNED):
        add_image(mirror, image)
    mirror.add("https://auth.example/token", b'{"token": "guest"}')
    return mirror


def add_image(mirror, image):
    layer = archive({image.member or "gateway-helm/Chart.yaml": PROGRAM})
    manifest = json.dumps({"layers": [{"digest": digest(layer)}]}).encode()
    index = {"manifests": [{"digest": digest(manifest), "platform": {"os": "linux", "architecture": "amd64"}}]}
    base = f"https://{image.registry}/v2/{image.repository}"
    mirror.add(f"{base}/blobs/{digest(layer)}", layer)
    mirror.add(f"{base}/manifests/{digest(manifest)}", manifest)
    mirror.add(f"{base}/manifests/{image.tag}", json.dumps(index).encode() if image.member else manifest)
    if "docker" in image.registry:
        mirror.guarded.add(f"{base}/manifests/{image.tag}".removeprefix("https://"))


def test_everything_is_downloaded_and_complete(complete, tmp_path):
    assert releases.reachable()
    releases.download(tmp_path, LineProgress(io.StringIO()))
    assert binaries.complete(tmp_path)
    assert (tmp_path / "kubelet").stat().st_mode & 0o111
    assert not list(tmp_path.glob(".*.part"))


def test_a_second_run_fetches_nothing(complete, tmp_path):
    releases.download(tmp_path, LineProgress(io.StringIO()))
    complete.asked.clear()
    releases.download(tmp_path, LineProgress(io.StringIO()))
    assert complete.asked == []


def test_an_interrupted_download_goes_on_where_it_stopped(complete, tmp_path):
    etcd = next(item for item in releases.releases(PINNED) if "etcd" in item.name)
    whole = complete.files[etcd.url.removeprefix("https://")]
    (tmp_path / f".{etcd.name}.part").write_bytes(whole[:20])
    releases.download(tmp_path, LineProgress(io.StringIO()))
    assert 20 in complete.ranges
    assert (tmp_path / "etcd").read_bytes() == PROGRAM


def test_a_wrong_checksum_is_refused_and_nothing_is_installed(complete, tmp_path):
    etcd = next(item for item in releases.releases(PINNED) if "etcd" in item.name)
    complete.add(etcd.url, archive({member: b"something else" for member, _ in etcd.members}))
    with pytest.raises(ClusterError, match="checksum"):
        releases.download(tmp_path, LineProgress(io.StringIO()))
    assert not (tmp_path / "etcd").exists()


def test_a_layer_that_does_not_match_its_digest_is_refused(complete, tmp_path):
    for path in [path for path in complete.files if "pause/blobs" in path]:
        complete.files[path] = archive({"pause": b"something else"})
    with pytest.raises(ClusterError, match="digest"):
        releases.download(tmp_path, LineProgress(io.StringIO()))
    assert not (tmp_path / "pause").exists()


def test_releases_that_do_not_answer_are_out_of_reach(mirror):
    assert not releases.reachable()


@pytest.mark.parametrize("text", ["{0}\n", "{0}  etcd.tar.gz\n", "0000  other\n{0} *etcd.tar.gz\n"])
def test_checksum_files_of_all_forms_are_read(text):
    total = "a" * 64
    assert releases.checksum(text.format(total), "etcd.tar.gz") == total


def test_a_checksum_file_without_the_file_is_refused():
    with pytest.raises(ClusterError, match=r"no SHA-256 of etcd\.tar\.gz"):
        releases.checksum("b" * 64 + "  other.tar.gz\n", "etcd.tar.gz")


def test_an_incomplete_directory_named_by_hand_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("SLIPWAY_NODE_BINARIES", str(tmp_path))
    with pytest.raises(ClusterError, match="lacks etcd"):
        binaries.directory(LineProgress(io.StringIO()))
