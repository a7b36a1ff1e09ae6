from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import parse_qs

import httpx2
import pytest

from slipway.oci import Entry, Image, Layer, OciError, RegistryClient
from slipway.oci.keychain import stored_login
from slipway.oci.login import IDENTITY, Login, RegistryLogin

HOST = "registry.example.com"
IMAGE = f"{HOST}/team/iris"


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def docker(home: Path, **content: object) -> dict[str, str]:
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker" / "config.json").write_text(json.dumps(content))
    return {"HOME": str(home)}


def test_nobody_is_logged_in_where_there_are_no_files(tmp_path: Path) -> None:
    assert stored_login(IMAGE, {"HOME": str(tmp_path)}) is None


def test_docker_login_is_heeded(tmp_path: Path) -> None:
    known = docker(tmp_path, auths={HOST: {"auth": basic("me", "secret")}})
    assert stored_login(IMAGE, known) == ("me", "secret")
    assert stored_login("ghcr.io/team/iris", known) is None
    moved = {"HOME": "/nowhere", "DOCKER_CONFIG": str(tmp_path / ".docker")}
    assert stored_login(IMAGE, moved) == ("me", "secret")


@pytest.mark.parametrize("variable", ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"])
def test_podman_login_is_heeded_where_docker_has_none(variable: str, tmp_path: Path) -> None:
    known = docker(tmp_path, auths={"other.example.com": {"auth": basic("other", "x")}})
    (tmp_path / "containers").mkdir()
    file = tmp_path / "containers" / "auth.json"
    file.write_text(json.dumps({"auths": {HOST: {"auth": basic("me", "secret")}}}))
    where = str(file) if variable == "REGISTRY_AUTH_FILE" else str(tmp_path)
    assert stored_login(IMAGE, known | {variable: where}) == ("me", "secret")


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        ({"credsStore": "desktop", "auths": {HOST: {}}}, ("desktop", HOST)),
        ({"credsStore": "desktop", "credHelpers": {HOST: "ecr-login"}}, ("ecr-login", HOST)),
    ],
)
def test_a_credential_helper_is_asked(content: dict[str, object], asked: tuple[str, str], tmp_path: Path) -> None:
    questions: list[tuple[str, str]] = []

    def ask(name: str, server: str) -> str:
        questions.append((name, server))
        return json.dumps({"ServerURL": server, "Username": "me", "Secret": "secret"})

    assert stored_login(IMAGE, docker(tmp_path, **content), ask) == ("me", "secret")
    assert questions == [asked]


def test_dockers_own_registry_is_filed_by_its_old_name(tmp_path: Path) -> None:
    known = docker(tmp_path, credsStore="desktop")
    questions: list[str] = []
    assert stored_login("docker.io/team/iris", known, lambda _, server: questions.append(server)) is None
    assert questions == ["https://index.docker.io/v1/"]


def test_a_real_helper_is_a_program_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "docker-credential-test"
    program.write_text('#!/bin/sh\nread server\n[ "$1 $server" = "get registry.example.com" ] || exit 1\n'
                       'echo \'{"Username": "me", "Secret": "secret"}\'\n')  # fmt: skip
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    known = docker(tmp_path, credsStore="test")
    assert stored_login(IMAGE, known) == ("me", "secret")
    assert stored_login("ghcr.io/team/iris", known) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a file of registry logins"),
        ("[]", "is not a file of registry logins"),
        ('{"credsStore": "../../bin/sh"}', "cannot name a credential helper"),
        ('{"credsStore": "not-there"}', "docker-credential-not-there does not answer"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(OciError, match=message) as failed:
        stored_login(IMAGE, {"DOCKER_CONFIG": str(tmp_path)})
    assert failed.value.hint


class Guarded:
    """A registry that gives tokens to who has the login, and sends uploads to another place."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self.elsewhere: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "auth.example.com":
            return httpx2.Response(200 if self._knows(request) else 401, json={"token": "t"})
        if request.url.host == "storage.example.com":
            self.elsewhere.append(request)
            return httpx2.Response(201)
        if request.headers.get("Authorization") != "Bearer t":
            realm = 'Bearer realm="https://auth.example.com/token",service="r",scope="repository:team/iris:pull,push"'
            return httpx2.Response(401, headers={"WWW-Authenticate": realm})
        if request.method == "POST":
            return httpx2.Response(202, headers={"Location": "https://storage.example.com/upload?id=1"})
        return httpx2.Response({"HEAD": 404, "PUT": 201}[request.method])

    def _knows(self, request: httpx2.Request) -> bool:
        user, password = self._login
        if user == IDENTITY:
            given = parse_qs(request.content.decode())
            asked = given.get("grant_type"), given.get("refresh_token"), given.get("service")
            return asked == (["refresh_token"], [password], ["r"])
        return request.headers.get("Authorization") == f"Basic {basic(user, password)}"


@pytest.mark.parametrize("login", [("me", "secret"), (IDENTITY, "refresh-me")])
def test_a_push_logs_in_and_takes_its_token_nowhere_else(login: Login) -> None:
    registry = Guarded(login)
    image = Image.of(Layer.of([Entry.file("weights", b"w" * 100)]))
    transport = httpx2.MockTransport(registry)
    with RegistryClient(f"https://{HOST}", auth=RegistryLogin(login), transport=transport) as client:
        assert client.upload(image, "team/iris", "v1") == image.digest
    assert len(registry.elsewhere) == 2
    assert not [request for request in registry.elsewhere if "Authorization" in request.headers]
    with RegistryClient(f"https://{HOST}", auth=RegistryLogin(("me", "guess")), transport=transport) as client:
        with pytest.raises(OciError) as failed:
            client.upload(image, "team/iris", "v1")
        assert failed.value.hint == f"Log in: docker login {HOST}"


def test_an_identity_token_in_a_file_is_one(tmp_path: Path) -> None:
    known = docker(tmp_path, auths={HOST: {"auth": basic("0000", ""), "identitytoken": "refresh-me"}})
    assert stored_login(IMAGE, known) == (IDENTITY, "refresh-me")


def test_a_place_without_tls_gets_no_model_and_no_password() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return httpx2.Response(202, headers={"Location": "http://registry.example.com/upload"})
        return httpx2.Response(404)

    image = Image.of(Layer.of([Entry.file("weights", b"w" * 100)]))
    client = RegistryClient(
        f"https://{HOST}", auth=RegistryLogin(("me", "secret")), transport=httpx2.MockTransport(answer)
    )
    with client, pytest.raises(OciError, match="a place without TLS"):
        client.upload(image, "team/iris", "v1")


def test_a_login_is_no_answer_to_another_place() -> None:
    asked: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host != HOST:
            asked.append(request.headers.get("Authorization"))
            return httpx2.Response(401, headers={"WWW-Authenticate": "Basic"})
        if request.method == "POST":
            return httpx2.Response(202, headers={"Location": "https://other.example.com/upload"})
        return httpx2.Response(404)

    image = Image.of(Layer.of([Entry.file("weights", b"w" * 100)]))
    client = RegistryClient(
        f"https://{HOST}", auth=RegistryLogin(("me", "secret")), transport=httpx2.MockTransport(answer)
    )
    with client, pytest.raises(OciError, match="answered 401"):
        client.upload(image, "team/iris", "v1")
    assert set(asked) == {None}


def test_a_registry_may_ask_for_the_login_after_it_has_read_a_layer() -> None:
    bodies: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "PUT":
            bodies.append(request.read())
            if "Authorization" not in request.headers:
                return httpx2.Response(401, headers={"WWW-Authenticate": "Basic"})
            return httpx2.Response(201)
        if request.method == "POST":
            return httpx2.Response(202, headers={"Location": "/upload"})
        return httpx2.Response(404)

    image = Image.of(Layer.of([Entry.file("weights", b"w" * 100)]))
    client = RegistryClient(
        f"https://{HOST}", auth=RegistryLogin(("me", "secret")), transport=httpx2.MockTransport(answer)
    )
    with client:
        client.upload(image, "team/iris", "v1")
    assert bodies[0] == bodies[1] != b""


def test_a_layer_that_is_refused_stops_the_others() -> None:
    sent: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "PUT":
            sent.append(str(request.url))
            return httpx2.Response(403)
        if request.method == "POST":
            return httpx2.Response(202, headers={"Location": "/upload"})
        return httpx2.Response(404)

    image = Image.of(*(Layer.of([Entry.file(str(number), bytes([number]) * 100)]) for number in range(40)))
    client = RegistryClient(f"https://{HOST}", transport=httpx2.MockTransport(answer))
    with client, pytest.raises(OciError, match="answered 403"):
        client.upload(image, "team/iris", "v1")
    assert len(sent) < 40
