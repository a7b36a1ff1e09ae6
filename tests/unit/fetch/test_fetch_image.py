from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.oci import Entry, Image, Layer, OciError, model_image
from slipway.oci.image import CONFIG, MANIFEST, architecture, digest_of
from slipway.oci.login import login_of
from slipway.oci.registry import registry_url

from .conftest import Fetcher
from .server import Handler, Request

LARGE = bytes(range(256)) * 70_000  # above 16 MiB: a layer of its own


class Registry:
    """Serves one image at models/iris; asks for tokens where `login` is set."""

    def __init__(self, fetcher: Fetcher, image: Image, login: str = "") -> None:
        self.web, self.login, self.tokens = fetcher.web, login, 0
        self.uri = f"oci://{fetcher.web.url.removeprefix('http://')}/models/iris"
        self.digest = image.digest
        for reference in ("latest", "v1", image.digest):
            self.web.put(f"/v2/models/iris/manifests/{reference}", image.manifest)
        for layer in image.layers:
            self.web.put(f"/v2/models/iris/blobs/{layer.digest}", b"".join(layer.read()))
        self.web.hook = self._hook

    def _hook(self, request: Request, handler: Handler) -> bool:
        if not self.login:
            return False
        if request.path == "/token":
            basic = base64.b64encode(self.login.encode()).decode()
            assert request.query == {"service": ["registry"], "scope": ["repository:models/iris:pull"]}
            right = request.headers.get("authorization") == f"Basic {basic}"
            self.tokens += right
            handler.answer(200 if right else 401, json.dumps({"token": f"t{self.tokens}"}).encode())
            return True
        if request.headers.get("authorization") != f"Bearer t{self.tokens}" or not self.tokens:
            scope = 'service="registry",scope="repository:models/iris:pull"'
            handler.answer(401, b"", {"WWW-Authenticate": f'Bearer realm="{self.web.url}/token",{scope}'})
            return True
        return False


@pytest.fixture
def image(tmp_path: Path) -> Image:
    model = tmp_path / "pushed"
    (model / "sub").mkdir(parents=True)
    (model / "model.onnx").write_bytes(LARGE)
    (model / "sub" / "labels.txt").write_text("a\nb\n")
    return model_image(model)


def docker_config(path: Path, host: str, login: str) -> Path:
    path.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(login.encode()).decode()}}}))
    return path


@pytest.mark.parametrize("suffix", ["", ":v1", "@DIGEST", ":v1@DIGEST"])
def test_a_pushed_model_comes_back(fetcher: Fetcher, image: Image, suffix: str) -> None:
    registry = Registry(fetcher, image)
    fetcher.run(registry.uri + suffix.replace("DIGEST", registry.digest))
    assert fetcher.files == {"model.onnx": LARGE, "sub/labels.txt": b"a\nb\n"}


def test_a_compressed_model_comes_back(fetcher: Fetcher) -> None:
    image = Image.of(Layer.of([Entry.file("model.onnx", b"x" * 10_000)], compress=True))
    fetcher.run(Registry(fetcher, image).uri)
    assert fetcher.files == {"model.onnx": b"x" * 10_000}


def test_a_layer_is_resumed_and_verified(fetcher: Fetcher, image: Image) -> None:
    registry = Registry(fetcher, image)
    path = f"/v2/models/iris/blobs/{image.layers[-1].digest}"
    fetcher.web.things[path].break_at = [5_000_000]
    fetcher.run(registry.uri)
    assert fetcher.web.ranges(path)[-1] not in {"", "bytes=0-"}
    fetcher.web.things[path].content = bytes(image.layers[-1].size)
    assert "arrived with another SHA-256 than its source says" in fetcher.fails(registry.uri)


def test_a_token_is_got_with_the_login_of_a_docker_config_and_again_when_it_expires(
    fetcher: Fetcher, image: Image, tmp_path: Path
) -> None:
    registry = Registry(fetcher, image, "user:pa:ss")
    host = registry.uri.split("/")[2]
    config = docker_config(tmp_path / ".dockerconfigjson", host, "user:pa:ss")
    fetcher.environment = {"DOCKER_CONFIG": str(config)}
    fetcher.run(registry.uri)
    assert fetcher.files["sub/labels.txt"] == b"a\nb\n"
    fetcher.environment = {"DOCKER_CONFIG": str(tmp_path)}
    fetcher.run(registry.uri)


def test_wrong_and_missing_logins_are_a_sentence(fetcher: Fetcher, image: Image, tmp_path: Path) -> None:
    registry = Registry(fetcher, image, "user:right")
    for config in ("", str(docker_config(tmp_path / "c.json", registry.uri.split("/")[2], "user:wr0ng"))):
        fetcher.environment = {"DOCKER_CONFIG": config}
        sentence = fetcher.fails(registry.uri)
        assert "refuses the credentials, or asks for some (status 401); name a dockerconfigjson Secret for" in sentence
        assert "wr0ng" not in sentence


def test_a_login_is_not_sent_where_anyone_could_read_it(fetcher: Fetcher, image: Image) -> None:
    registry = Registry(fetcher, image)

    def challenge(request: Request, handler: Handler) -> bool:
        handler.answer(401, b"", {"WWW-Authenticate": 'Bearer realm="http://elsewhere.example/token"'})
        return True

    fetcher.web.hook = challenge
    assert "asks to log in at a place without TLS" in fetcher.fails(registry.uri)


def test_an_index_leads_to_the_image_of_this_machine(fetcher: Fetcher, image: Image) -> None:
    registry = Registry(fetcher, image)
    entries = [
        {"digest": f"sha256:{'0' * 64}", "platform": {"os": "linux", "architecture": "other"}},
        {"digest": image.digest, "platform": {"os": "linux", "architecture": architecture()}},
    ]
    fetcher.web.put("/v2/models/iris/manifests/latest", json.dumps({"manifests": entries}).encode())
    fetcher.run(registry.uri)
    assert fetcher.files["model.onnx"] == LARGE


def test_a_manifest_of_another_digest_is_refused(fetcher: Fetcher, image: Image) -> None:
    registry = Registry(fetcher, image)
    fetcher.web.put(f"/v2/models/iris/manifests/{image.digest}", b"{}")
    assert "the registry sent another manifest than" in fetcher.fails(f"{registry.uri}@{image.digest}")


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (b"{", "its manifest is not understood"),
        (b"[]", "its manifest is not understood"),
        (b"{}", "lists no layers"),
        (b'{"manifests": []}', "it has no image for linux/"),
        (b'{"layers": [{"mediaType": "a/b", "digest": "sha256:1", "size": 1}]}', "layer 1 is none that is unpacked"),
        (b'{"layers": [1]}', "layer 1 is none that is unpacked"),
    ],
)
def test_a_manifest_of_another_kind_is_a_sentence(fetcher: Fetcher, image: Image, manifest: bytes, why: str) -> None:
    registry = Registry(fetcher, image)
    fetcher.web.put("/v2/models/iris/manifests/latest", manifest)
    assert why in fetcher.fails(registry.uri)


def test_a_layer_that_leads_out_is_refused(fetcher: Fetcher) -> None:
    evil = Layer.of([Entry("link", target="../../outside")])
    manifest = {
        "config": {"mediaType": CONFIG, "digest": digest_of(b"{}"), "size": 2},
        "layers": [{"mediaType": evil.media_type, "digest": evil.digest, "size": evil.size}],
    }
    registry = Registry(fetcher, Image.of(evil))
    fetcher.web.put("/v2/models/iris/manifests/latest", json.dumps(manifest | {"mediaType": MANIFEST}).encode())
    assert "the link 'link' leads out or nowhere" in fetcher.fails(registry.uri)
    assert fetcher.files == {}


def test_a_missing_image_and_a_wrong_name(fetcher: Fetcher, image: Image) -> None:
    registry = Registry(fetcher, image)
    assert "the registry has no such image (status 404)" in fetcher.fails(f"{registry.uri}:v2")
    assert "that is not the name of an image" in fetcher.fails("oci://host/Models")


def test_the_longest_entry_of_a_docker_config_wins(tmp_path: Path) -> None:
    entries = {"https://r.example/v1/": "a:1", "r.example/team": "b:2", "index.docker.io": "c:3"}
    auths = {name: {"auth": base64.b64encode(login.encode()).decode()} for name, login in entries.items()}
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": auths | {"p.example": {"username": "d", "password": "4"}}})
    )
    found = {
        image: login_of(image, str(tmp_path))
        for image in ("r.example/team/x", "r.example/teams/x", "docker.io/x/y", "p.example/x", "q.example/x")
    }
    assert list(found.values()) == [("b", "2"), ("a", "1"), ("c", "3"), ("d", "4"), None]


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"r": 1}}', '{"auths": {"r": {"auth": "!"}}}'])
def test_a_damaged_docker_config_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(OciError, match="is not a file of registry logins"):
        login_of("r/x", str(tmp_path))
    with pytest.raises(OciError, match="cannot be read"):
        login_of("r/x", str(tmp_path / "none"))


@given(st.from_regex(r"[a-z0-9.-]{1,20}(:[0-9]{1,5})?", fullmatch=True))
def test_only_this_machine_is_spoken_to_without_tls(host: str) -> None:
    assert registry_url(host).startswith("https://") or host.startswith(("localhost", "127."))
    assert registry_url("127.0.0.1:5000") == "http://127.0.0.1:5000"
    assert registry_url("docker.io") == "https://registry-1.docker.io"
