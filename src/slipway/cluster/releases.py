"""Downloading the local cluster's programs from their official releases, each checked against the checksum beside it.

`SLIPWAY_RELEASES` names a mirror that has the same paths below the name of each host: `MIRROR/dl.k8s.io/release/…`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.cluster.errors import ClusterError
from slipway.cluster.paths import resource
from slipway.progress import Progress

PROBE_TIMEOUT = 3.0
TIMEOUT = 60.0
BLOCK = 1 << 20
BINARY_MODE = 0o755
ARCH = "amd64"

KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


@dataclass(frozen=True, slots=True)
class Release:
    """One file of a release. `members` maps paths in the archive to program names; empty: the file is the program."""

    url: str
    checksum: str
    members: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class ImageRelease:
    """What is released only in an image, whose digests vouch for it: a file, or all of it where `member` is empty."""

    registry: str
    repository: str
    tag: str
    member: str
    target: str


def versions(go_mod: str) -> dict[str, str]:
    """The versions that go.mod pins, by module: `v1.37.1`."""
    return dict(re.findall(r"^\s*(\S+) (v\d\S*)", go_mod, re.MULTILINE))


def releases(pinned: dict[str, str]) -> list[Release]:
    """Where the releases of those versions lie."""
    kubernetes = pinned["k8s.io/kubernetes"]
    return [
        *[_kubernetes(name, kubernetes) for name in KUBERNETES],
        _etcd(pinned["go.etcd.io/etcd/server/v3"]),
        _github(
            "containerd/containerd",
            pinned["github.com/containerd/containerd/v2"],
            "containerd-{bare}-linux-{arch}.tar.gz",
            ".sha256sum",
            {f"bin/{name}": name for name in ("containerd", "containerd-shim-runc-v2")},
        ),
        _github(
            "containernetworking/plugins",
            pinned["github.com/containernetworking/plugins"],
            "cni-plugins-linux-{arch}-{version}.tgz",
            ".sha256",
            {f"./{name}": name for name in ("bridge", "host-local", "loopback", "portmap")},
        ),
        _github(
            "coredns/coredns",
            pinned["github.com/coredns/coredns"],
            "coredns_{bare}_linux_{arch}.tgz",
            ".sha256",
            {"coredns": "coredns"},
        ),
        _github(
            "distribution/distribution",
            pinned["github.com/distribution/distribution/v3"],
            "registry_{bare}_linux_{arch}.tar.gz",
            ".sha256",
            {"registry": "registry"},
        ),
        _helm(pinned["helm.sh/helm/v4"]),
    ]


def image_releases(pinned: dict[str, str]) -> list[ImageRelease]:
    """What has no release but an image."""
    gateway = pinned["github.com/envoyproxy/gateway"]
    return [
        ImageRelease(
            "registry.k8s.io",
            "metrics-server/metrics-server",
            pinned["sigs.k8s.io/metrics-server"],
            "metrics-server",
            "metrics-server",
        ),
        ImageRelease("registry.k8s.io", "pause", "3.10", "pause", "pause"),
        ImageRelease(
            "registry-1.docker.io", "envoyproxy/gateway", gateway, "usr/local/bin/envoy-gateway", "envoy-gateway"
        ),
        ImageRelease("registry-1.docker.io", "envoyproxy/gateway-helm", gateway, "", "charts"),
    ]


def _kubernetes(name: str, version: str) -> Release:
    url = f"https://dl.k8s.io/release/{version}/bin/linux/{ARCH}/{name}"
    return Release(url, f"{url}.sha256")


def _etcd(version: str) -> Release:
    base = f"https://github.com/etcd-io/etcd/releases/download/{version}"
    stem = f"etcd-{version}-linux-{ARCH}"
    return Release(f"{base}/{stem}.tar.gz", f"{base}/SHA256SUMS", ((f"{stem}/etcd", "etcd"),))


def _helm(version: str) -> Release:
    url = f"https://get.helm.sh/helm-{version}-linux-{ARCH}.tar.gz"
    return Release(url, f"{url}.sha256sum", ((f"linux-{ARCH}/helm", "helm"),))


def _github(repository: str, version: str, file: str, suffix: str, members: dict[str, str]) -> Release:
    name = file.format(version=version, bare=version.removeprefix("v"), arch=ARCH)
    url = f"https://github.com/{repository}/releases/download/{version}/{name}"
    return Release(url, url + suffix, tuple(members.items()))


def located(url: str) -> str:
    """The address to ask: the official one, or the mirror's."""
    mirror = os.environ.get("SLIPWAY_RELEASES", "").rstrip("/")
    return f"{mirror}/{url.removeprefix('https://')}" if mirror else url


def _pinned() -> dict[str, str]:
    return versions((resource("node") / "go.mod").read_text(encoding="utf-8"))


def reachable() -> bool:
    """Whether the releases answer, asked once and briefly."""
    try:
        _get(releases(_pinned())[0].checksum, timeout=PROBE_TIMEOUT)
    except (ClusterError, OSError):
        return False
    return True


def download(target: Path, progress: Progress) -> None:
    """Fetches everything into `target`, four at a time; what is there already is not fetched again.

    Raises `ClusterError` naming the file that could not be had or did not match its checksum.
    """
    pinned = _pinned()
    jobs: list[Callable[[], None]] = [
        *[lambda release=release: _fetch(release, target) for release in releases(pinned)],
        *[lambda image=image: _fetch_image(image, target) for image in image_releases(pinned)],
    ]
    with progress.step("Downloading the cluster's programs") as step, ThreadPoolExecutor(4) as pool:
        for count, done in enumerate([pool.submit(job) for job in jobs], 1):
            done.result()
            step.detail(f"{count} of {len(jobs)}")


def _fetch(release: Release, target: Path) -> None:
    names = [name for _, name in release.members] or [release.name]
    if all((target / name).exists() for name in names):
        return
    expected = checksum(_get(release.checksum).decode("ascii", "replace"), release.name)
    archive = target / f".{release.name}.part"
    _resume(release.url, archive)
    if _sha256(archive) != expected:
        archive.unlink()
        raise ClusterError(f"{release.url} does not match its checksum {expected[:12]}….", "Run the command again.")
    _unpack(archive, release, target)
    archive.unlink(missing_ok=True)


def checksum(text: str, name: str) -> str:
    """The SHA-256 of `name` in a checksum file: a line of sum and name, or the sum alone."""
    for line in text.splitlines():
        words = line.split()
        if (
            words
            and re.fullmatch(r"[0-9a-f]{64}", words[0])
            and (len(words) == 1 or Path(words[-1].lstrip("*")).name == name)
        ):
            return words[0]
    raise ClusterError(f"The checksum file has no SHA-256 of {name}.", "Check the mirror in SLIPWAY_RELEASES.")


def _unpack(archive: Path, release: Release, target: Path) -> None:
    if not release.members:
        _install(archive.read_bytes(), target / release.name)
        return
    with tarfile.open(archive) as content:
        for member, name in release.members:
            _install(_member(content, member, release.url), target / name)


def _member(content: tarfile.TarFile, name: str, where: str) -> bytes:
    for entry in content:
        if entry.isfile() and entry.name.removeprefix("./") == name.removeprefix("./"):
            file = content.extractfile(entry)
            return file.read() if file else b""
    raise ClusterError(f"{where} has no file {name}.", "Check the mirror in SLIPWAY_RELEASES.")


def _install(content: bytes, path: Path) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.chmod(BINARY_MODE)
    beside.replace(path)


def _fetch_image(image: ImageRelease, target: Path) -> None:
    if (target / image.target).exists():
        return
    for layer in _layers(image):
        with tarfile.open(fileobj=io.BytesIO(layer)) as content:
            if not image.member:
                content.extractall(target / image.target, filter="data")
                return
            names = {entry.name.removeprefix("./") for entry in content}
            if image.member in names:
                _install(_member(content, image.member, image.repository), target / image.target)
                return
    raise ClusterError(f"The image {image.repository}:{image.tag} has no file {image.member}.")


def _layers(image: ImageRelease) -> Iterator[bytes]:
    """The layers of an image for this machine, the last first, each checked against its digest."""
    base = f"https://{image.registry}/v2/{image.repository}"
    headers = {"Accept": ", ".join(MANIFESTS)} | _token(image, f"{base}/manifests/{image.tag}")
    manifest = json.loads(_get(f"{base}/manifests/{image.tag}", headers))
    if "manifests" in manifest:
        digest = _for_this_machine(manifest["manifests"], image)
        manifest = json.loads(_verified(_get(f"{base}/manifests/{digest}", headers), digest))
    for layer in reversed(manifest["layers"]):
        yield _verified(_get(f"{base}/blobs/{layer['digest']}", headers), layer["digest"])


def _for_this_machine(manifests: list[dict[str, Any]], image: ImageRelease) -> str:
    for entry in manifests:
        platform = entry.get("platform", {})
        if platform.get("os") == "linux" and platform.get("architecture") == ARCH:
            return str(entry["digest"])
    raise ClusterError(f"The image {image.repository}:{image.tag} has no version for linux/{ARCH}.")


def _token(image: ImageRelease, url: str) -> dict[str, str]:
    """The header of an anonymous pull, where the registry asks for one (OCI distribution, token authentication)."""
    try:
        with _open(url, {"Accept": ", ".join(MANIFESTS)}, TIMEOUT):
            return {}
    except urllib.error.HTTPError as error:
        challenge = dict(re.findall(r'(\w+)="([^"]*)"', error.headers.get("WWW-Authenticate", "")))
        if error.code != 401 or "realm" not in challenge:  # noqa: PLR2004 - 401: Unauthorized
            raise ClusterError(f"{url} answers {error.code}.") from error
    query = urllib.parse.urlencode(
        {"service": challenge.get("service", ""), "scope": f"repository:{image.repository}:pull"}
    )
    return {"Authorization": f"Bearer {json.loads(_get(challenge['realm'] + '?' + query))['token']}"}


def _verified(content: bytes, digest: str) -> bytes:
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise ClusterError(f"A download does not match its digest {digest[:19]}….", "Run the command again.")
    return content


def _resume(url: str, file: Path) -> None:
    """Fetches `url` into `file`, going on where an interrupted download ended if the server can."""
    have = file.stat().st_size if file.exists() else 0
    try:
        with _open(url, {"Range": f"bytes={have}-"} if have else {}, TIMEOUT) as answer:
            resumed = answer.status == 206  # noqa: PLR2004 - 206: Partial Content
            with file.open("ab" if resumed else "wb") as out:
                while block := answer.read(BLOCK):
                    out.write(block)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # noqa: PLR2004 - 416: nothing is left to fetch
            raise ClusterError(
                f"{url} answers {error.code}.", "Check the network, or the mirror in SLIPWAY_RELEASES."
            ) from error
    except OSError as error:
        raise ClusterError(
            f"{url} broke off: {error}", "Run the command again: it goes on where it stopped."
        ) from error


def _get(url: str, headers: dict[str, str] | None = None, timeout: float = TIMEOUT) -> bytes:
    try:
        with _open(url, headers or {}, timeout) as answer:
            content: bytes = answer.read()
    except OSError as error:
        raise ClusterError(
            f"{url} cannot be fetched: {error}", "Check the network, or the mirror in SLIPWAY_RELEASES."
        ) from error
    return content


def _open(url: str, headers: dict[str, str], timeout: float) -> Any:
    request = urllib.request.Request(located(url), headers=headers)  # noqa: S310 - https, or the mirror that the user named
    return urllib.request.urlopen(request, timeout=timeout)  # noqa: S310


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
