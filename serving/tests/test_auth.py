"""Who is let in: API keys, tokens, and files that change while the server runs."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from watched import BODY, INFER, counted, watched

from slipway_serving.apis.page import FILE
from slipway_serving.errors import ModelLoadError, UnauthorizedError
from slipway_serving.metrics import Metrics
from slipway_serving.middleware.authentication import Authenticator, parse_keys
from slipway_serving.middleware.files import FollowedFile
from slipway_serving.middleware.stack import middleware_of
from slipway_serving.middleware.tokens import Tokens, parse_jwks
from slipway_serving.options import Options

KEY = "s3cret-of-alice"


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# who may ask\n\nalice:{KEY}\nanother-key\n")
    return path


def bearer(key):
    return {"authorization": f"Bearer {key}"}


async def test_health_is_open_and_everything_else_needs_a_key(keys, python_model):
    async with watched(python_model(), api_key_file=keys) as client:
        for path in ("/v2/health/live", "/v2/health/ready", "/v2/health/ready/"):
            assert (await client.get(path)).status_code == 200
        for path in (
            "/",
            "/v2",
            "/metrics",
            "/v2/models/echo",
            "/predict",
            "/nowhere",
            "/v2/health",
            "/v2/health/li%76e/x",
        ):
            answer = await client.get(path)
            assert answer.status_code == 401
            assert answer.json()["error"].startswith("this server answers only those who have a key: send the header")
            assert answer.headers["www-authenticate"] == 'Bearer realm="slipway-serving"'
        answer = await client.post(INFER, json=BODY, headers=bearer("guess"))
        assert (answer.status_code, answer.json()) == (401, {"error": "the API key is not valid"})
        assert answer.headers["www-authenticate"] == 'Bearer realm="slipway-serving", error="invalid_token"'
        for headers in (bearer(KEY), {"authorization": f"bearer  {KEY}"}, {"x-api-key": "another-key"}):
            assert (await client.post(INFER, json=BODY, headers=headers)).status_code == 200
        both = {"authorization": "Basic Zm9vOmJhcg==", "x-api-key": KEY}
        text = (await client.get("/metrics", headers=both)).text
        assert counted(text, "slipway_serving_requests_unauthorized_total") == 9


@pytest.mark.parametrize("log", [False, True])
async def test_who_has_no_key_is_told_before_the_body_is_read(keys, tmp_path, python_model, log):
    options = {"access_log_file": tmp_path / "log"} if log else {}
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nContent-Length: %d\r\n\r\n"
    # Below and beyond --max-body; and no path that is open takes a body.
    asked = ((INFER, 900_000), (INFER, 1 << 40), ("/", 900_000), ("/v2/health/live", 900_000))
    async with watched(python_model(), api_key_file=keys, metrics_without_auth=True, **options) as client:
        for path, size in asked:
            reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
            writer.write(head % (path.encode(), size))
            async with asyncio.timeout(20):
                said = await reader.readuntil(b"}")
            writer.close()
            assert said.startswith(b"HTTP/1.1 401 ")
            assert b'\r\nwww-authenticate: Bearer realm="slipway-serving"\r\n' in said
            assert b"\r\nconnection: close\r\n" in said
        answer = await client.post(INFER, content=bytes(500_000))
        assert answer.status_code == 401
        answer = await client.post(INFER, content=json.dumps(BODY).ljust(500_000).encode(), headers=bearer(KEY))
        assert answer.status_code == 200
        text = (await client.get("/metrics")).text
    assert counted(text, "slipway_serving_requests_unauthorized_total") == 5
    if log:
        lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert [line["http.response.status_code"] for line in lines] == [401] * 5 + [200, 200]


HTML = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize("log", [False, True])
async def test_a_browser_gets_the_page_without_a_key_and_nothing_else(keys, tmp_path, python_model, log):
    options = {"access_log_file": tmp_path / "log"} if log else {}
    async with watched(python_model(), api_key_file=keys, **options) as client:
        for path in ("/", "/?", "//", "/%2f"):
            answer = await client.get(path, headers=HTML)
            assert (answer.status_code, answer.content) == (200, FILE.read_bytes())
        assert (await client.head("/", headers=HTML)).status_code == 200
        assert (await client.post("/", headers=HTML)).status_code == 405
        for headers in ({}, {"accept": "*/*"}, {"accept": "application/json"}):
            assert (await client.get("/", headers=headers)).status_code == 401
        document = (await client.get("/openapi.json", headers=bearer(KEY))).json()
        for path in ("/v2", "/v1/models", "/openapi.json", "/metrics", "/v2/models/stats", "/x", *document["paths"]):
            if path not in ("/v2/health/live", "/v2/health/ready", "/"):
                assert (await client.get(path, headers=HTML)).status_code == 401, path


async def test_metrics_can_be_open(keys, python_model):
    async with watched(python_model(), api_key_file=keys, metrics_without_auth=True) as client:
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/v2")).status_code == 401


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file has no keys, so nobody could be let in"),
        (b"# nothing\n\n", "the file has no keys"),
        (b"a b:hunter22", "line 1: a name, before the first ':'"),
        (b"ok:key\nalice: hunter22", "line 2: a key has 1 to 512 visible"),
        (b"\xff\xfehunter22", "line 1: a key has 1 to 512 visible"),
        (b"a:hunter22\nb:hunter22", "line 2 has a key that an earlier line has too"),
        (b"hunter22" * 200_000, "the file is larger than 1048576 bytes"),
    ],
)
def test_a_wrong_file_of_keys_is_refused_without_telling_what_is_in_it(tmp_path, content, message):
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=message) as caught:
        FollowedFile(path, parse_keys)
    assert "hunter22" not in str(caught.value)


def test_a_missing_file_of_keys_is_a_sentence(tmp_path):
    with pytest.raises(ModelLoadError, match="nothing cannot be read: No such file"):
        FollowedFile(tmp_path / "nothing", parse_keys)


def test_a_secret_that_is_replaced_by_a_changed_link_counts_within_a_second(tmp_path, caplog):
    """As the kubelet does it: keys -> ..data/keys, ..data -> a directory, and another directory is linked over it."""
    for name, key in (("1", "old-key"), ("2", "new-key")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keys").write_text(f"{key}\n")
    data = tmp_path / "..data"
    data.symlink_to("1")
    (tmp_path / "keys").symlink_to("..data/keys")
    clock = [0.0]
    keys = FollowedFile(tmp_path / "keys", parse_keys, lambda: clock[0])

    def change_to(target):
        (tmp_path / "..tmp").symlink_to(target)
        (tmp_path / "..tmp").rename(data)

    change_to("2")
    assert keys.get().find(b"old-key") == "key-1"
    clock[0] = 1.0
    assert keys.get().find(b"old-key") is None
    assert keys.get().find(b"new-key") == "key-1"
    change_to("gone")
    clock[0] = 2.0
    assert keys.get().find(b"new-key") == "key-1"
    assert "what it said before stays in force" in caplog.text
    (tmp_path / "2" / "keys").write_text("")
    change_to("2")
    clock[0] = 3.0
    assert keys.get().find(b"new-key") == "key-1"
    assert "the file has no keys" in caplog.text


LETTERS = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#:"), min_size=1, max_size=40
)


@given(known=st.lists(LETTERS, min_size=1, max_size=5, unique=True), guess=LETTERS)
def test_only_keys_of_the_file_are_found(known, guess):
    keys = parse_keys("\n".join(f"n{index}:{key}" for index, key in enumerate(known)).encode())
    assert [keys.find(key.encode()) for key in known] == [f"n{index}" for index in range(len(known))]
    assert (keys.find(guess.encode()) is not None) == (guess in known)


# Tokens

NOW = int(time.time())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
OKP = ed25519.Ed25519PrivateKey.generate()


def jwk(algorithm, key, **fields):
    return json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key())) | fields


JWKS = {
    "keys": [
        jwk("RS256", RSA, kid="rsa"),
        jwk("ES256", EC, kid="ec", alg="ES256", use="sig"),
        jwk("EdDSA", OKP, kid="okp"),
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"},
        jwk("RS256", RSA, kid="encryption", use="enc"),
    ]
}
SECRET = b"secretsecretsecretsecretsecret" * 3


@pytest.fixture
def jwks(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(JWKS))
    return path


def token(key=RSA, algorithm="RS256", kid="rsa", **claims):
    base = {"sub": "bob", "exp": NOW + 86_400, "aud": "iris", "iss": "https://issuer.example"}
    payload = {name: value for name, value in (base | claims).items() if value is not None}
    return jwt.encode(payload, key, algorithm, headers={"kid": kid} if kid else None)


def verifier(jwks, **options):
    return Tokens(FollowedFile(jwks, parse_jwks), issuer="https://issuer.example", audience="iris", **options)


@pytest.mark.parametrize(
    "good",
    [
        token(),
        token(algorithm="PS512"),
        token(EC, "ES256", "ec"),
        token(OKP, "EdDSA", "okp"),
        token(aud=["other", "iris"]),
    ],
)
def test_a_token_signed_with_a_key_of_the_file_is_good(jwks, good):
    assert verifier(jwks).verify(good.encode()).name == "bob"


def test_clocks_may_differ_by_some_seconds(jwks):
    assert verifier(jwks).verify(token(exp=int(time.time()) - 5).encode()).name == "bob"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (token(exp=NOW - 60), "it has expired"),
        (token(exp=None), "a claim is missing"),
        (token(nbf=NOW + 86_400), "it is not valid yet"),
        (token(aud="roses"), "it is for another audience"),
        (token(aud=None), "a claim is missing"),
        (token(iss="https://evil.example"), "it is of another issuer"),
        (token(rsa.generate_private_key(public_exponent=65537, key_size=2048)), "its form or its signature is wrong"),
        (token(kid="nobody"), "this server does not know the key"),
        (token(kid=None), "this server does not know the key"),
        (token(kid="encryption"), "this server does not know the key"),
        (token(SECRET, "HS256", "shared"), "this server does not know the key"),
        (token(SECRET, "HS256", "rsa"), "its algorithm is not one"),
        (token(RSA, "RS256", "ec"), "its algorithm is not one"),
        (token(None, "none", "rsa"), "its algorithm is not one"),
        (token(sub=["bob"]), "its form or its signature is wrong"),
        ("a.b.c", "its form or its signature is wrong"),
        (token(note="x" * 20_000), "it is larger than 16384 bytes"),
    ],
)
def test_any_other_token_is_refused_with_the_reason(jwks, bad, reason):
    with pytest.raises(UnauthorizedError, match=f"the token is not valid: {reason}"):
        verifier(jwks).verify(bad.encode())


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: f"{text}.e30.x".encode()))
def test_no_bytes_whatsoever_are_a_token_or_a_failure(tmp_path_factory, junk):
    path = tmp_path_factory.getbasetemp() / "jwks.json"
    path.write_text(json.dumps(JWKS))
    with pytest.raises(UnauthorizedError):
        verifier(path).verify(junk)


def test_a_good_token_is_remembered_until_it_expires_or_the_keys_change(jwks):
    clock = [float(NOW)]
    wall = [float(NOW)]
    tokens = Tokens(FollowedFile(jwks, parse_jwks, lambda: clock[0]), audience="iris", now=lambda: wall[0])
    good = token(exp=NOW + 600).encode()
    first = tokens.verify(good)
    assert tokens.verify(good) is first
    wall[0] += 700
    assert tokens.verify(good) is not first
    wall[0] -= 700
    first = tokens.verify(good)
    jwks.write_text(json.dumps({"keys": [jwk("ES256", EC, kid="ec")]}))
    clock[0] += 2
    with pytest.raises(UnauthorizedError, match="does not know the key"):
        tokens.verify(good)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "it is not JSON"),
        ("[]", "it is not a JWKS"),
        ('{"keys": {}}', "it is not a JWKS"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "it has no public key for signatures"),
        ('{"keys": [{"kty": "RSA", "n": "!", "e": "AQAB"}]}', r"keys\[0\] cannot be used"),
        (json.dumps({"keys": [jwk("RS256", RSA, alg="HS256")]}), r"keys\[0\] cannot be used: its algorithm is not one"),
        (
            json.dumps({"keys": [{"kty": "RSA", "n": "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJE", "e": "AQAB"}]}),
            r"keys\[0\] cannot be used: an RSA key has at least 2048 bits",
        ),
    ],
)
def test_a_wrong_jwks_is_a_sentence(tmp_path, content, message):
    path = tmp_path / "jwks.json"
    path.write_text(content)
    with pytest.raises(ModelLoadError, match=message):
        FollowedFile(path, parse_jwks)


async def test_keys_and_tokens_side_by_side(keys, jwks, python_model):
    options = {"api_key_file": keys, "jwt_jwks_file": jwks, "jwt_audience": "iris"}
    async with watched(python_model(), **options) as client:
        for key, status in ((KEY, 200), (token(), 200), (token(exp=1), 401), ("guess", 401), ("a.b", 401)):
            answer = await client.post(INFER, json=BODY, headers=bearer(key))
            assert answer.status_code == status
        assert answer.json() == {"error": "the API key is not valid"}


def test_the_same_class_reads_metadata_of_grpc(keys):
    authenticator = Authenticator(FollowedFile(keys, parse_keys))
    assert authenticator.authenticate({b"authorization": f"Bearer {KEY}".encode()}).name == "alice"
    with pytest.raises(UnauthorizedError):
        authenticator.authenticate({})


def test_tokens_without_the_extra_are_a_sentence(monkeypatch, jwks):
    monkeypatch.delitem(sys.modules, "slipway_serving.middleware.tokens")
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ModelLoadError, match="--jwt-jwks-file needs the package 'jwt'") as caught:
        middleware_of(Options(jwks, jwt_jwks_file=jwks), Metrics().registry)
    assert caught.value.hint == "install it with: pip install 'slipway-serving[jwt]'"


def test_a_server_of_tokens_for_anybody_says_so(jwks, caplog):
    middleware_of(Options(jwks, jwt_jwks_file=jwks), Metrics().registry)
    assert "say which is meant with --jwt-audience" in caplog.text
