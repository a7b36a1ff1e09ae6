"""What a tag means: asked of the model's registry, with its login; what cannot be learnt is no error."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from slipway.api.modelservice import Model
from slipway.api.server import NameRef
from slipway.cluster.pki import Authority
from slipway.controllers.modelservice.resolve import RegistryResolver
from slipway.kit.client import Unreachable
from slipway.kit.objects import SECRET, Manifest
from slipway.kit.testing import ApiServer, Call
from slipway.oci import OciError, RegistryClient
from slipway.oci.login import RegistryLogin, login_in
from slipway.operator import open_registry

DIGEST = f"sha256:{'a' * 64}"
CONFIG = json.dumps({"auths": {"registry.example": {"username": "ml", "password": "secret"}}})


def secret() -> Manifest:
    data = {".dockerconfigjson": base64.b64encode(CONFIG.encode()).decode()}
    metadata = {"name": "pull", "namespace": "team"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


class Registry:
    """A registry with one image, for those who log in."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if "Authorization" not in request.headers:
            return httpx2.Response(401, headers={"WWW-Authenticate": 'Basic realm="registry"'})
        self.asked.append(f"{request.method} {request.url.path}")
        found = request.url.path == "/v2/models/iris/manifests/v1"
        return httpx2.Response(200 if found else 404, headers={"Docker-Content-Digest": DIGEST} if found else {})

    def open(self, image: str, of: Manifest | None) -> RegistryClient:
        login = login_in(image, base64.b64decode(of["data"][".dockerconfigjson"]), "the Secret") if of else None
        transport = httpx2.MockTransport(self)
        return RegistryClient("https://registry.example", auth=RegistryLogin(login), transport=transport)


def server() -> ApiServer:
    made = ApiServer()
    made.put(SECRET, secret())
    return made


def model(uri: str, **more: Any) -> Model:
    return Model(uri=uri, **more)


@pytest.mark.parametrize(
    ("asked", "digest"),
    [
        (model("oci://registry.example/models/iris:v1", secret_ref=NameRef(name="pull")), DIGEST),
        (model("oci://registry.example/models/iris:v2", secret_ref=NameRef(name="pull")), None),
        (model("oci://registry.example/models/iris:v1"), None),
        (model("oci://registry.example/models/iris:v1", secret_ref=NameRef(name="absent")), None),
        (model(f"oci://registry.example/models/iris@{DIGEST}"), None),
        (model("pvc://claim/iris"), None),
        (model("s3://bucket/iris"), None),
    ],
)
async def test_a_tag_is_asked_for_with_the_login_of_its_secret(asked: Model, digest: str | None) -> None:
    registry = Registry()
    assert await RegistryResolver(server(), registry.open).digest("team", asked) == digest
    assert all(request.endswith(("/v1", "/v2")) for request in registry.asked)


async def test_an_api_server_that_does_not_answer_leaves_the_tag() -> None:
    api = server()

    def broken(_: Call) -> None:
        raise Unreachable("gone")

    api.fault = broken
    asked = model("oci://registry.example/models/iris:v1", secret_ref=NameRef(name="pull"))
    assert await RegistryResolver(api, Registry().open).digest("team", asked) is None


def test_a_registry_with_certificates_is_known_by_its_directory(tmp_path: Path) -> None:
    (tmp_path / "other.example").mkdir()
    with open_registry(tmp_path, "registry.example/models/iris", secret()) as client:
        assert client.url == "https://registry.example"
    with pytest.raises(OSError, match="No such file"):
        open_registry(tmp_path, "other.example/models/iris", None)


def test_authorities_of_the_secret_are_trusted() -> None:
    def holding(text: str) -> Manifest:
        return {"data": {"CA_CERTIFICATES": base64.b64encode(text.encode()).decode()}}

    known = Authority("the team's own").pair.certificate.decode()
    with open_registry(None, "registry.example/models/iris", holding(known)) as client:
        assert client.url == "https://registry.example"
    with pytest.raises(OciError, match="CA_CERTIFICATES does not hold certificates"):
        open_registry(None, "registry.example/models/iris", holding("ca.crt"))
