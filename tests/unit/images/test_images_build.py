from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from slipway.cluster import binaries, images, packages
from slipway.cluster.errors import ClusterError
from slipway.cluster.paths import resource
from slipway.oci import Entry, Image, Layer, RegistryClient
from slipway.progress import LineProgress


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with all programs of a cluster, each a few bytes, and a cache of its own."""
    place = tmp_path / "programs"
    for name in (*binaries.PROGRAMS, binaries.CHART):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(name.encode())
    monkeypatch.setenv("SLIPWAY_NODE_BINARIES", str(place))
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    return place


def said() -> tuple[LineProgress, io.StringIO]:
    stream = io.StringIO()
    return LineProgress(stream), stream


def files(image: Image) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for layer in image.layers:
        with tarfile.open(fileobj=io.BytesIO(b"".join(layer.read()))) as archive:
            found |= {info.name: archive.extractfile(info).read() for info in archive if info.isfile()}  # type: ignore[union-attr]  # a file
    return found


def test_a_program_becomes_an_image_of_it_alone_once(programs: Path) -> None:
    progress, stream = said()
    first = images.build_all(progress, [images.PAUSE, images.ENVOY_GATEWAY])
    again = images.build_all(progress, [images.PAUSE])
    assert files(first[images.PAUSE]) == {"usr/local/bin/pause": b"pause"}
    assert first[images.PAUSE].config["config"]["Entrypoint"] == ["/usr/local/bin/pause"]
    assert first[images.PAUSE].config["config"]["User"] == "65532:65532"
    assert again[images.PAUSE].digest == first[images.PAUSE].digest
    assert stream.getvalue().count("Building the image layer pause …") == 1


def test_the_model_servers_image_is_a_model_too(programs: Path, tmp_path: Path) -> None:
    progress, _ = said()
    builder = images.Builder(tmp_path / "cache" / "images", progress)
    assert sorted(files(Image.of(builder.example()))) == ["model.py", "model.yaml"]
    container = (resource("images") / "serving" / "Containerfile").read_text()
    copied = [f"serving/src/slipway_serving/example/{name}" for name in images.EXAMPLE]
    assert f"COPY {' '.join(copied)} /\n" in container


def test_a_changed_program_is_another_image(programs: Path) -> None:
    progress, _ = said()
    before = images.build_all(progress, [images.PAUSE])[images.PAUSE]
    (programs / "pause").write_bytes(b"pause 2")
    after = images.build_all(progress, [images.PAUSE])[images.PAUSE]
    assert before.digest != after.digest


def test_what_an_interrupted_build_left_does_not_stop_the_next(programs: Path, tmp_path: Path) -> None:
    left = tmp_path / "cache" / "images" / "work" / "pause"
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    progress, _ = said()
    assert files(images.build_all(progress, [images.PAUSE])[images.PAUSE]) == {"usr/local/bin/pause": b"pause"}
    assert not left.parent.exists()


def test_a_damaged_cache_is_a_sentence_with_what_to_delete(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "cache" / "images").mkdir(parents=True)
    (tmp_path / "cache" / "images" / "index.json").write_text("{")
    progress, _ = said()
    with pytest.raises(ClusterError, match="is damaged") as failed:
        images.build_all(progress, [images.PAUSE])
    assert failed.value.hint.startswith("Delete it: rm -r ")


def test_each_command_of_a_package_has_a_layer_of_its_own(programs: Path, tmp_path: Path) -> None:
    class Bare(images.Builder):
        def base(self) -> Layer:
            return Layer.of([Entry.file("base", b"")])

        def interpreter(self) -> Any:
            return SimpleNamespace(compile=lambda *_: None)

    package = tmp_path / "slipway"
    package.mkdir()
    (package / "__init__.py").write_text("")
    builder = Bare(tmp_path / "store", said()[0])
    layers = [builder.sources(package, command) for command in (packages.OPERATOR, packages.FETCHER, packages.OPERATOR)]
    assert layers[0].digest == layers[2].digest
    programs_of = [[name for name in files(Image.of(layer)) if "/bin/" in name] for layer in layers[:2]]
    assert programs_of == [["usr/local/bin/slipway-operator"], ["usr/local/bin/slipway-fetch"]]


def test_every_cluster_with_the_platform_has_the_fetcher() -> None:
    assert images.FETCHER == "slipway/fetcher"  # as the chart calls it
    assert images.FETCHER in images.NAMES


@pytest.mark.parametrize(
    ("name", "lock", "command"),
    [("operator", "slipway", packages.OPERATOR), ("fetcher", "fetch", packages.FETCHER)],
)
def test_a_containerfile_has_the_same_packages_and_command(name: str, lock: str, command: packages.Command) -> None:
    text = (resource("images") / name / "Containerfile").read_text()
    assert f"source=requirements/{lock}.txt" in text
    assert f'ENTRYPOINT ["python3", "-m", "{command.module.removesuffix(".main")}"]' in text


def test_the_pause_image_is_exported_for_import_by_hand(programs: Path, tmp_path: Path) -> None:
    progress, _ = said()
    images.export_pause(tmp_path / "pause.tar", progress)
    with tarfile.open(tmp_path / "pause.tar") as archive:
        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]  # it is a file
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "localhost/slipway/pause:1"


def test_only_what_the_registry_lacks_is_sent_and_every_reference_has_its_digest() -> None:
    there, lacking = (Image.of(Layer.of([Entry.file(name, b"x")])) for name in ("there", "lacking"))
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(f"{request.method} {request.url.path}")
        if request.method == "HEAD" and "/slipway/envoy/manifests" in request.url.path:
            return httpx2.Response(200, headers={"Docker-Content-Digest": there.digest})
        if request.method == "HEAD":
            return httpx2.Response(200 if "/blobs/" in request.url.path else 404)
        return httpx2.Response(201)

    progress, stream = said()
    with RegistryClient("https://registry.example", transport=httpx2.MockTransport(answer)) as client:
        references = images.send({images.ENVOY: there, images.PAUSE: lacking}, client, "registry:5000", progress)
    assert references == {
        images.ENVOY: f"registry:5000/slipway/envoy:{images.tag(images.ENVOY)}@{there.digest}",
        images.PAUSE: f"registry:5000/slipway/pause:1@{lacking.digest}",
    }
    assert [line for line in asked if line.startswith("PUT")] == ["PUT /v2/slipway/pause/manifests/1"]
    assert "Sending 1 images to registry:5000" in stream.getvalue()
