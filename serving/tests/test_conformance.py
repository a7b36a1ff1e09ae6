"""The conformance suite: it passes what is right, and finds what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest

from slipway_serving.app import App
from slipway_serving.codec import binary
from slipway_serving.conformance import checks, models, report, suite, tensors
from slipway_serving.conformance.checks import Level, Outcome
from slipway_serving.conformance.client import Client
from slipway_serving.conformance.command import main
from slipway_serving.conformance.target import Target, discover
from slipway_serving.datatypes import DATATYPES
from slipway_serving.errors import RequestError
from slipway_serving.http.messages import JSON, Pending, Request, Response
from slipway_serving.http.server import HttpServer
from slipway_serving.metrics import Metrics
from slipway_serving.repository import Repository
from slipway_serving.sources import Settings

Fault = Callable[[Request, Response], Response]


class FaultyApp:
    """The server's application, whose answers are changed on their way out."""

    def __init__(self, app: App, fault: Fault) -> None:
        self._app = app
        self._fault = fault

    def handle(self, request: Request) -> Response | Pending:
        answer = self._app.handle(request)
        return answer if isinstance(answer, Pending) else self._fault(request, answer)

    def refuse(self, request: Request, error: RequestError) -> Response:
        return self._fault(request, self._app.refuse(request, error))

    def finish(self, request: Request, pending: Pending) -> Response:
        return self._fault(request, self._app.finish(request, pending))


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    models.write(directory)
    return directory / "slipway" / "identity"


@asynccontextmanager
async def served(path, fault: Fault = lambda _, response: response):
    """The address of a server in this process."""
    metrics = Metrics()
    repository = Repository(path, Settings(), metrics, "explicit")
    repository.discover()
    await repository.load_all()
    listener = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(FaultyApp(App(repository, metrics), fault))
    await server.listen(listener)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    await server.close(5)
    repository.close()


def outcomes(url: str, prefix: tuple[str, ...] = ("",), **options) -> dict[str, checks.Result]:
    target = discover(Client(url, timeout=options.pop("timeout", 10)), options.pop("model", "identity"), **options)
    chosen = [check for check in suite.checks(grpc=False) if check.id.startswith(prefix)]
    return {result.check.id: result for result in checks.run(chosen, target)}


def failed(results: dict[str, checks.Result]) -> set[str]:
    return {name for name, result in results.items() if result.outcome is Outcome.FAIL}


async def test_a_server_that_is_right_passes_all_that_is_required(identity):
    async with served(identity) as url:
        results = await asyncio.to_thread(outcomes, url, unload=True)
    required = [result for result in results.values() if result.check.level is Level.REQUIRED]
    assert {result.check.id for result in required if result.outcome is not Outcome.PASS} == {
        "errors.missing-input",  # the identity declares no inputs
        "errors.unknown-input",
    }
    assert report.is_conformant(results.values())
    assert results["loading.unload"].outcome is Outcome.PASS


Document = dict[str, Any]


def changed(path_end: str, change: Callable[[Document], Document]) -> Fault:
    """A fault in the JSON documents that a path answers with 200."""

    def fault(request: Request, response: Response) -> Response:
        if not request.path.endswith(path_end) or response.status != 200 or response.content_type != JSON:
            return response
        return replace(response, body=json.dumps(change(orjson.loads(response.body))).encode())

    return fault


def with_status(old: int, new: int, path_end: str = "") -> Fault:
    def fault(request: Request, response: Response) -> Response:
        hit = response.status == old and request.path.endswith(path_end)
        return replace(response, status=new) if hit else response

    return fault


def detail(_request: Request, response: Response) -> Response:
    """FastAPI's way to tell an error."""
    return replace(response, body=response.body.replace(b'{"error":', b'{"detail":', 1))


def silent_null(_request: Request, response: Response) -> Response:
    nulls = {"name": "x", "datatype": "FP32", "shape": [2], "data": [None, 1.0]}
    document = {"model_name": "identity", "outputs": [nulls]}
    return Response(orjson.dumps(document)) if response.status == 422 else response


def no_length(_request: Request, response: Response) -> Response:
    return replace(response, headers=[]) if response.content_type != JSON else response


def without(*keys: str) -> Callable[[Document], Document]:
    return lambda document: {key: value for key, value in document.items() if key not in keys}


def as_doubles(document: Document) -> Document:
    for each in document["outputs"]:
        each["data"] = [float(value) if type(value) is int else value for value in each["data"]]
    return document


def twice(document: Document) -> Document:
    return document | {"outputs": document["outputs"] * 2}


def ids(*prefixes: str, but: tuple[str, ...] = ()) -> set[str]:
    known = {check.id for check in suite.checks(grpc=False)}
    return {name for name in known if name.startswith(prefixes)} - set(but)


ALL_4XX = ids("4xx.") | ids("numbers.", but=("numbers.nan-out", "numbers.infinity-out"))
JSON_GROUPS = ("health.", "metadata.", "infer.", "errors.", "versions.", "4xx.", "numbers.")
FAULTS: dict[str, tuple[Fault, tuple[str, ...], set[str]]] = {
    # what is wrong: the fault, what is checked, and what has to fail
    "no id": (changed("/infer", without("id")), JSON_GROUPS, {"infer.id", "infer.id-any-text"}),
    "no model name": (changed("/infer", without("model_name")), JSON_GROUPS, {"infer.response"}),
    "a null": (changed("/infer", lambda d: d | {"parameters": None}), JSON_GROUPS, {"infer.optional-fields"}),
    "doubles": (changed("/infer", as_doubles), JSON_GROUPS, {"infer.int64", "infer.uint64"}),
    "outputs twice": (
        changed("/infer", twice),
        JSON_GROUPS,
        {"infer.requested-outputs", "infer.several-inputs", "infer.output-order"},
    ),
    "500 for clients' mistakes": (with_status(400, 500), JSON_GROUPS, ALL_4XX),
    "200 for clients' mistakes": (
        with_status(400, 200),
        ("errors.",),
        ids(
            "errors.", but=("errors.unknown-model", "errors.not-found", "errors.missing-input", "errors.unknown-input")
        ),
    ),
    "another form of errors": (
        detail,
        JSON_GROUPS,
        ids("errors.", but=("errors.not-found", "errors.missing-input", "errors.unknown-input"))
        | {"metadata.unknown-model", "metadata.unknown-path", "versions.unknown", "versions.unknown-infer"}
        | {"health.method", "infer.method", "infer.fp16"},
    ),
    "400 for 404": (
        with_status(404, 400),
        JSON_GROUPS,
        {"metadata.not-found", "metadata.unknown-path", "errors.not-found", "versions.not-found"},
    ),
    "ready though it is not there": (with_status(404, 200, "/ready"), JSON_GROUPS, {"health.unknown-model"}),
    "not ready": (
        with_status(200, 503, "/ready"),
        ("health.",),
        {"health.ready", "health.model-ready"},
    ),
    "a silent null": (silent_null, JSON_GROUPS, {"numbers.nan-out", "numbers.infinity-out"}),
    "versions null": (changed("/identity", lambda d: d | {"versions": None}), JSON_GROUPS, {"metadata.versions"}),
    "a strange datatype": (
        changed("/identity", lambda d: d | {"inputs": [{"name": "x", "datatype": "FLOAT", "shape": [-1]}]}),
        JSON_GROUPS,
        {"metadata.tensors"},
    ),
    "extensions as text": (changed("/v2", lambda d: d | {"extensions": "none"}), JSON_GROUPS, {"metadata.server"}),
    "binary parts without their length": (
        no_length,
        ("binary.",),
        ids("binary.", but=("binary.advertised", "binary.bytes-to-json", "binary.binary-to-json"))
        - ids(
            "binary.too", "binary.missing", "binary.unclaimed", "binary.negative", "binary.header", "binary.bytes-pre"
        ),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_fails_the_checks_that_are_about_it_and_no_others(identity, name):
    fault, groups, expected = FAULTS[name]
    async with served(identity, fault) as url:
        results = await asyncio.to_thread(outcomes, url, groups)
    assert failed(results) == expected


async def test_a_server_that_takes_anything_for_a_request_fails_all_refusals():
    async def answer(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
            await writer.drain()
        writer.close()

    async with raw_server(answer, limit=1 << 20) as url:
        results = await asyncio.to_thread(outcomes, url, ("http.",))
    refusals = {name for name, result in results.items() if "is refused" in result.check.says}
    assert len(refusals) >= 15
    assert failed(results) >= refusals


async def test_a_server_that_answers_a_smuggled_request_is_found():
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"

    async def answer_each(reader, writer):
        text = await reader.read()
        writer.write(answer * text.count(b" HTTP/1.1\r\n"))
        await writer.drain()
        writer.close()

    async with raw_server(answer_each) as url:
        target = Target(Client(url), "identity")
        chosen = [check for check in suite.checks(grpc=False) if check.id == "http.smuggling"]
        (smuggling,) = await asyncio.to_thread(lambda: list(checks.run(chosen, target)))
    assert (smuggling.outcome, smuggling.seen) == (Outcome.FAIL, "2 answers: 200, 200")


async def test_a_server_that_hangs_up_fails_without_an_exception():
    async def hang_up(_reader, writer):
        writer.close()

    async with raw_server(hang_up) as url:
        target = Target(Client(url), "identity", echoes={"INT32": ("x", "x")})
        results = await asyncio.to_thread(lambda: list(checks.run(suite.checks(grpc=False), target)))
    required = {result.outcome for result in results if result.check.level is Level.REQUIRED}
    assert required == {Outcome.FAIL, Outcome.NOT_TESTED}
    assert Outcome.PASS not in {result.outcome for result in results if not result.check.id.startswith("http.")}


async def test_a_server_that_never_answers_is_given_up_after_the_timeout():
    async def wait(reader, writer):
        await reader.read()
        writer.close()

    async with raw_server(wait) as url:
        target = Target(Client(url, timeout=0.05), "identity")
        chosen = [check for check in suite.checks(grpc=False) if check.id == "health.live"]
        (result,) = await asyncio.to_thread(lambda: list(checks.run(chosen, target)))
    assert (result.outcome, result.seen) == (Outcome.FAIL, "no answer in time")


@asynccontextmanager
async def raw_server(answer, **options):
    server = await asyncio.start_server(answer, "127.0.0.1", 0, **options)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_another_model_is_checked_as_far_as_its_metadata_allows(iris):
    async with served(iris) as url:
        results = await asyncio.to_thread(outcomes, url, JSON_GROUPS, model="iris")
    assert not failed(results)
    assert results["infer.fp32"].outcome is Outcome.PASS
    assert results["infer.int8"].outcome is Outcome.NOT_TESTED
    assert results["errors.unknown-input"].outcome is Outcome.PASS
    assert results["infer.requested-outputs"].outcome is Outcome.PASS


async def test_the_command_prints_a_table_and_its_status_says_whether_all_is_well(identity, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    async with served(identity) as url:
        assert await asyncio.to_thread(main, [url, "--only", "infer."]) == 0
    table = capsys.readouterr().out
    assert max(len(line) for line in table.splitlines()) <= 150
    assert "infer.uint64" in table
    assert "Every required check that could be made passes." in table
    async with served(identity, detail) as url:
        assert await asyncio.to_thread(main, [url, "--only", "errors.", "-o", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert {check["result"] for check in document["checks"]} == {"fail", "pass", "not tested"}


async def test_what_a_server_sends_cannot_act_on_the_terminal(identity, capsys):
    fault = changed("/v2", lambda document: document | {"name": "\x1b[2Jboo\x9b31m"})
    unescaped = changed("/v2", lambda document: document)

    def raw(request: Request, response: Response) -> Response:
        if not request.path.endswith("/v2"):
            return unescaped(request, response)
        return replace(response, body=b'{"name": "\xc2\x9b31m", "version": "\x1b[2J", "extensions": []}')

    for each in (fault, raw):
        async with served(identity, each) as url:
            await asyncio.to_thread(main, [url, "--only", "metadata.server"])
    table = capsys.readouterr().out
    assert not {"\x1b", "\x9b"} & set(table)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "URL is missing"),
        (["localhost:8080"], "'localhost:8080' is not the address of a server"),
        (["ftp://localhost"], "'ftp://localhost' is not the address of a server"),
        (["http://localhost:99999"], "Port out of range"),
        (["http://localhost", "--timeout", "0"], "invalid _seconds value: '0'"),
    ],
)
def test_wrong_arguments_are_a_sentence_and_status_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_server_that_is_not_there_is_a_sentence_and_status_2(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert main([f"http://127.0.0.1:{port}"]) == 2
    assert "cannot be reached" in capsys.readouterr().err


def test_models_are_written_and_a_place_that_cannot_be_written_is_told(tmp_path, capsys):
    assert main(["--write-models", str(tmp_path / "models")]) == 0
    written = {str(path.relative_to(tmp_path / "models")) for path in (tmp_path / "models").rglob("*.*")}
    assert written == {
        "slipway/identity/1/model.py",
        "kserve/identity.py",
        "mlserver/identity/runtime.py",
        "mlserver/identity/model-settings.json",
    }
    (tmp_path / "file").touch()
    assert main(["--write-models", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_word_is_a_command_and_a_path_of_that_name_stays_one():
    run = [sys.executable, "-m", "slipway_serving"]
    command = subprocess.run([*run, "conformance", "--version"], capture_output=True, text=True, check=False)
    assert command.stdout.startswith("slipway-serve conformance ")
    path = subprocess.run([*run, "./conformance"], capture_output=True, text=True, check=False)
    assert (path.returncode, "conformance does not exist" in path.stderr) == (1, True)


@pytest.mark.parametrize("datatype", tensors.SAMPLES)
def test_the_suites_binary_form_is_the_servers(datatype):
    raw = tensors.to_raw(datatype, tensors.SAMPLES[datatype])
    values = binary.array_from(memoryview(raw), DATATYPES[datatype], (4,), "x").astype(object).tolist()
    expected = [value.encode() if isinstance(value, str) else value for value in tensors.SAMPLES[datatype]]
    assert [float(value) for value in values] == expected if datatype == "BF16" else values == expected


def test_ids_are_unique_and_every_check_says_where_it_is_written():
    found = suite.checks(grpc=False)
    assert len({check.id for check in found}) == len(found)
    assert all(check.section and check.says for check in found)
