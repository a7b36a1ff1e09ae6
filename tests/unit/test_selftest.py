"""The selftest: it leaves nothing behind, touches nothing of others, and says in a sentence what does not work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from slipway.kit.client import Unreachable
from slipway.kit.objects import MODEL_SERVICE, Key
from slipway.kit.testing import ApiServer, virtual_time
from slipway.operator import main
from slipway.selftest import LABEL, Options, SelftestFailed, read_options, selftest

KEY = Key("slipway-system", "slipway-test")
SPEC = {"model": {"uri": "oci://registry.example/slipway/serving:0.1.0"}}
OPTIONS = Options(KEY.name, KEY.namespace, SPEC, 60.0, {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"})
READY = [("Ready", "True", "Serving"), ("Progressing", "False", "RolloutComplete")]
FAILED = [("Ready", "False", "ImagePullBackOff"), ("Progressing", "True", "RollingOut")]


def http(answer: Callable[[httpx2.Request], httpx2.Response]) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer))


def sums(request: httpx2.Request) -> httpx2.Response:
    assert str(request.url) == "http://slipway-test.slipway-system.svc/predict"
    return httpx2.Response(200, text='{"sum": [6]}\n')


async def operate(server: ApiServer, conditions: list[tuple[str, str, str]], after: float) -> None:
    """Stands in for the operator: writes conditions of a ModelService that is there."""
    await asyncio.sleep(after)
    found = server.objects(MODEL_SERVICE)[KEY]
    generation = found["metadata"].get("generation", 1)
    found["status"] = {
        "conditions": [
            {"type": kind, "status": status, "reason": reason, "message": "told", "observedGeneration": generation}
            for kind, status, reason in conditions
        ]
    }
    server.put(MODEL_SERVICE, found)


async def tried(
    server: ApiServer,
    conditions: list[tuple[str, str, str]],
    answer: Callable[[httpx2.Request], httpx2.Response] = sums,
    after: float = 5.0,
) -> list[str]:
    said: list[str] = []
    async with http(answer) as client:
        operator = asyncio.create_task(operate(server, conditions, after))
        try:
            await selftest(server, client, OPTIONS, said.append)
        finally:
            operator.cancel()
    return said


@virtual_time
async def test_a_model_is_deployed_asked_and_removed() -> None:
    server = ApiServer()
    said = await tried(server, READY)
    assert said[-2:] == [f"GET {OPTIONS.url} answered: " + '{"sum": [6]}', "It is removed again."]
    assert server.objects(MODEL_SERVICE) == {}
    assert {call.verb for call in server.calls} == {"create", "get", "delete"}
    assert {call.key for call in server.calls if call.verb != "create"} == {KEY}


def test_the_pod_is_the_owner_so_that_a_killed_test_leaves_nothing() -> None:
    arguments = ["--name=a", "--namespace=b", '--spec={"model": {}}']
    options = read_options(arguments, {"POD_NAME": "pod", "POD_UID": "1"})
    manifest = options.manifest()
    assert manifest["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Pod", "name": "pod", "uid": "1"}]
    assert manifest["metadata"]["labels"] == {LABEL: "true"}
    assert "ownerReferences" not in read_options(arguments, {}).manifest()["metadata"]


@virtual_time
async def test_what_an_earlier_test_has_left_is_removed_first() -> None:
    server = ApiServer()
    left = OPTIONS.manifest() | {"spec": {"model": {"uri": "old"}}}
    server.put(MODEL_SERVICE, left)
    await tried(server, READY)
    assert server.objects(MODEL_SERVICE) == {}


@virtual_time
async def test_an_object_of_somebody_else_is_not_touched() -> None:
    server = ApiServer()
    theirs: dict[str, Any] = OPTIONS.manifest()
    del theirs["metadata"]["labels"]
    server.put(MODEL_SERVICE, theirs)
    with pytest.raises(SelftestFailed, match=r"is not a test's\. Choose another name: .*test\.name=NAME"):
        await tried(server, READY)
    assert KEY in server.objects(MODEL_SERVICE)
    assert {call.verb for call in server.calls} == {"get"}


@virtual_time
async def test_the_kubelets_words_are_passed_on_at_once() -> None:
    server = ApiServer()
    with pytest.raises(SelftestFailed, match=r"cannot become ready\. ImagePullBackOff: told"):
        await tried(server, FAILED)
    assert server.objects(MODEL_SERVICE) == {}


@virtual_time
async def test_without_an_operator_it_ends_in_time_and_cleans_up() -> None:
    server = ApiServer()
    with pytest.raises(SelftestFailed, match=r"not ready after 60 s\. The operator has not looked at it yet"):
        await tried(server, READY, after=1e9)
    assert server.objects(MODEL_SERVICE) == {}


@pytest.mark.parametrize(
    ("fails", "sentence"),
    [
        (lambda _: httpx2.Response(503, text="no replica"), "answered 503: no replica"),
        (httpx2.ConnectError("connection refused"), "does not answer from this pod: connection refused"),
    ],
)
def test_ready_and_no_answer_is_a_failure(fails: Any, sentence: str) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if isinstance(fails, Exception):
            raise fails
        return fails(request)  # type: ignore[no-any-return]

    @virtual_time
    async def run() -> None:
        server = ApiServer()
        with pytest.raises(SelftestFailed, match=sentence):
            await tried(server, READY, answer)
        assert server.objects(MODEL_SERVICE) == {}

    run()


@virtual_time
async def test_an_api_server_that_does_not_answer_is_the_callers_error() -> None:
    server = ApiServer()

    def fault(_: object) -> None:
        raise Unreachable("no route to host")

    server.fault = fault
    with pytest.raises(Unreachable):
        await tried(server, READY)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--name=a", "--namespace=b"], "required: --spec"),
        (["--name=a", "--namespace=b", "--spec={"], "--spec is not JSON"),
        (["--name=a", "--namespace=b", "--spec=[]"], "--spec is not a JSON object"),
    ],
)
def test_a_wrong_command_line_is_said(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_options(arguments, {})
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_the_operators_command_runs_it_and_outside_of_a_cluster_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert main(["selftest", "--name=a", "--namespace=b", "--spec={}"]) == 1
    assert capsys.readouterr().out.startswith("Failed: the API server did not do it: Not inside a cluster")
