from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.oci import Entry, Image, Layer, OciError, RegistryClient, push
from slipway.oci.registry import check_name

from .conftest import Registry


class Watched:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def step(self, text: str) -> AbstractContextManager[Any]:
        self.said.append(text)
        return nullcontext(self)

    def detail(self, text: str) -> None:
        self.said.append(text)

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def image() -> Image:
    layers = [Layer.of([Entry.file(name, name.encode() * 1000)]) for name in ("one", "two", "three")]
    return Image.of(*layers, entrypoint=("/run",), user="65532", env={"A": "1"})


def client(registry: Registry, pauses: list[float] | None = None) -> RegistryClient:
    return RegistryClient(registry.url, pause=(pauses if pauses is not None else []).append)


@pytest.mark.parametrize("relative", [True, False])
def test_a_pushed_image_is_there_by_tag_and_by_digest(registry: Registry, image: Image, relative: bool) -> None:
    registry.relative = relative
    progress = Watched()
    with client(registry) as target:
        digest = push(image, target, "models/iris", "v1", progress)
        assert digest == image.digest
        assert target.digest("models/iris", "v1") == digest
        assert target.manifest("models/iris", digest) == image.manifest
    manifest = json.loads(image.manifest)
    assert {manifest["config"]["digest"], *(entry["digest"] for entry in manifest["layers"])} == set(registry.blobs)
    config = json.loads(registry.blobs[manifest["config"]["digest"]])
    assert config["config"] == {"Entrypoint": ["/run"], "Env": ["A=1"], "User": "65532"}
    assert progress.said[0] == "Pushing models/iris:v1"
    assert progress.said[-1] == "0.0 of 0.0 MB"


def test_what_the_registry_has_is_not_sent_again(registry: Registry, image: Image) -> None:
    with client(registry) as target:
        push(image, target, "models/iris", "v1", Watched())
        sent = len(registry.methods("POST"))
        push(image, target, "models/iris", "v2", Watched())
    assert sent == len(image.layers) + 1
    assert len(registry.methods("POST")) == sent


def test_an_image_that_is_not_there_is_none(registry: Registry) -> None:
    with client(registry) as target:
        assert target.digest("models/iris", "v1") is None


def test_a_connection_that_breaks_is_tried_again_with_growing_pauses(registry: Registry) -> None:
    pauses: list[float] = []
    registry.break_off = 2
    image = Image.of(Layer.of([Entry.file("weights", bytes(3_000_000))]))
    progress = Watched()
    with client(registry, pauses) as target:
        push(image, target, "models/iris", "v1", progress)
    assert image.layers[0].digest in registry.blobs
    assert pauses == [0.25, 0.5]
    assert progress.said[-1] == "3.0 of 3.0 MB"


def test_a_registry_that_is_not_ready_is_asked_again(registry: Registry, image: Image) -> None:
    registry.refuse = [503, 429, 500]
    with client(registry) as target:
        assert push(image, target, "models/iris", "v1", Watched()) == image.digest


def test_a_registry_that_stays_unready_is_named_with_its_reason(registry: Registry) -> None:
    registry.refuse = [503] * 4
    with client(registry) as target, pytest.raises(OciError, match="UNAVAILABLE later") as failed:
        target.manifest("models/iris", "v1")
    assert failed.value.message.startswith(f"The registry {registry.url} answered 503 to GET models/iris/manifests/v1")
    assert failed.value.hint


def test_nobody_there_is_a_sentence() -> None:
    pauses: list[float] = []
    with RegistryClient("http://127.0.0.1:1", pause=pauses.append) as target, pytest.raises(OciError) as failed:
        target.digest("models/iris", "v1")
    assert failed.value.message.startswith("The registry http://127.0.0.1:1 cannot be reached: ")
    assert len(pauses) == 3


def test_a_refused_login_says_how_to_log_in() -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(401))
    with RegistryClient("https://registry.example", transport=transport) as target, pytest.raises(OciError) as failed:
        target.digest("models/iris", "v1")
    assert failed.value.hint == "Log in: docker login registry.example"


def test_a_manifest_that_does_not_fit_its_digest_is_refused() -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=b"{}"))
    with (
        RegistryClient("https://registry.example", transport=transport) as target,
        pytest.raises(OciError, match="sent another manifest"),
    ):
        target.manifest("models/iris", f"sha256:{'0' * 64}")


def test_a_layer_that_changed_since_it_was_made_is_refused(registry: Registry, image: Image) -> None:
    one = image.layers[0]
    changed = Layer(one.media_type, one.digest, one.size, one.diff_id, lambda: iter([bytes(one.size)]))
    with client(registry) as target, pytest.raises(OciError, match="DIGEST_INVALID the digest does not fit"):
        push(Image.of(changed), target, "models/iris", "v1", Watched())
    assert registry.methods("PUT")[-1].startswith("/v2/models/iris/blobs/")


@pytest.mark.parametrize("name", ["Iris", "a b", "a//b", "/a", "a/", "../a", "", "a\n"])
def test_a_wrong_repository_is_refused_before_anything_is_sent(registry: Registry, image: Image, name: str) -> None:
    with client(registry) as target, pytest.raises(OciError, match="cannot name a repository"):
        push(image, target, name, "v1", Watched())
    assert registry.requests == []


@given(st.text(max_size=130))
def test_a_tag_passes_only_when_it_needs_no_escaping(tag: str) -> None:
    try:
        check_name("models/iris", tag)
    except OciError:
        return
    assert httpx2.URL(f"http://x/{tag}").raw_path == f"/{tag}".encode()


@pytest.mark.parametrize("host", ["a..b", "..", f"{'a' * 64}.example"])
def test_a_host_that_cannot_be_is_an_error_of_ours(host: str) -> None:
    with pytest.raises(OciError, match="cannot be reached"):
        RegistryClient(f"https://{host}", attempts=1).digest("models/iris", "v1")


def test_an_answer_that_cannot_be_understood_is_an_error_of_ours() -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"Content-Encoding": "gzip"}, content=b"no gzip")

    broken = RegistryClient("https://r.example", transport=httpx2.MockTransport(answer))
    with broken, pytest.raises(OciError, match="cannot be reached"):
        broken.manifest("models/iris", "v1")
