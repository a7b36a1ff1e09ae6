"""The Python client, as programs use it: its page, its names, its threads."""

import asyncio
import inspect
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import slipway as package
from slipway import client as client_package
from slipway.client.client import AsyncClient
from slipway.client.errors import NotFoundError, UnreachableError
from slipway.client.sync import Client
from slipway.kit.objects import CONTROLLER_REVISION, EVENT, MODEL_SERVICE, POD
from slipway.kit.testing import ApiServer

PAGE = Path(__file__).parents[3] / "docs" / "client.md"
PREDICT = "/api/v1/namespaces/ml/services/http:iris:http/proxy/predict"
IRIS = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "ModelService",
    "metadata": {"name": "iris", "namespace": "ml"},
    "spec": {"model": {"uri": "oci://r/iris:1"}},
}


def revision(number):
    labels = {"slipway.dev/modelservice": "iris", "slipway.dev/revision": f"r{number}"}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {"name": f"iris-r{number}", "namespace": "ml", "labels": labels},
        "revision": number,
        "data": {"spec": {"model": {"uri": f"oci://r/iris:{number}"}}},
    }


def test_the_examples_of_the_page_work(cluster, capsys):
    cluster.others["POST", PREDICT] = (200, b'{"predictions": [0]}')
    cluster.put(CONTROLLER_REVISION, revision(1))
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for source in examples:
        exec(compile(source, str(PAGE), "exec"), {"__name__": "example"})  # noqa: S102  # our own page
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("{'predictions': [0]}")
    assert lines[1].startswith("1 oci://r/iris:1 ")
    assert lines[2] == "True"


def test_importing_the_package_costs_nothing():
    code = "import sys, slipway; print(sorted({'httpx2', 'yaml', 'anyio', 'asyncio', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_public_names():
    assert package.__all__ == ["AsyncClient", "Client"]
    assert package.Client is Client
    assert package.AsyncClient is AsyncClient
    for name in client_package.__all__:
        assert getattr(client_package, name).__name__ == name
    assert client_package.__all__ == sorted(client_package.__all__)
    for module in (package, client_package):
        with pytest.raises(AttributeError):
            _ = module.Cleint


def public(cls):
    return {name for name, _ in inspect.getmembers(cls) if not name.startswith("_")}


def test_both_clients_have_the_same_methods():
    of_async_only = {"connect", "to", "errors", "find", "snapshot", "pods", "controller_revisions", "namespaces"}
    assert public(AsyncClient) - public(Client) == of_async_only
    assert public(Client) - public(AsyncClient) == {"using", "close", "describe", "context", "namespace"}
    for name in public(Client) & public(AsyncClient) - {"port_forward"}:
        ours, theirs = defaults(getattr(Client, name)), defaults(getattr(AsyncClient, name))
        assert ours == {key: value for key, value in theirs.items() if key != "manager"}


def defaults(function):
    return {key: value.default for key, value in inspect.signature(function).parameters.items()}


def test_every_method_of_the_page_is_there():
    table = [line.split("|")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    named = {name for cell in table for name in re.findall(r"`(\w+)\(", cell)}
    assert named <= public(Client)
    assert public(Client) - named == {"using", "close", "context", "namespace", "version"}


@pytest.fixture
def iris(cluster):
    cluster.put(MODEL_SERVICE, IRIS)
    with Client() as client:
        yield cluster, client


def test_what_there_is(iris):
    cluster, client = iris
    cluster.others["GET", "/version"] = (200, b'{"gitVersion": "v1.37.1"}')
    labels = {"slipway.dev/modelservice": "iris"}
    cluster.put(
        POD, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ml", "labels": labels}}
    )
    about = {"metadata": {"name": "e", "namespace": "ml"}, "involvedObject": {"name": "p"}}
    cluster.put(EVENT, {"apiVersion": "v1", "kind": "Event", **about})
    log = "/api/v1/namespaces/ml/pods/p/log"
    cluster.others["GET", log] = (200, b"2026-01-01T00:00:00Z hello")
    assert (client.context, client.namespace, client.version()) == ("prod", "ml", "v1.37.1")
    assert [item["metadata"]["name"] for item in client.list(all_namespaces=True)] == ["iris"]
    assert client.get("iris")["spec"] == IRIS["spec"]
    assert [pod["metadata"]["name"] for pod in client.describe("iris").pods] == ["p"]
    assert [event["metadata"]["name"] for event in client.events("iris")] == ["e"]
    assert [line.text for line in client.logs("iris")] == ["hello"]


def test_changes(iris):
    cluster, client = iris
    for number in (1, 2):
        cluster.put(CONTROLLER_REVISION, revision(number))
    assert client.apply({**IRIS, "spec": {"scaling": {"min": 1, "max": 1}}})["spec"]["scaling"] == {"min": 1, "max": 1}
    assert client.scale("iris", minimum=2, maximum=4, dry_run=True)["spec"]["scaling"] == {"min": 2, "max": 4}
    assert client.undo("iris", force=True)["spec"]["model"] == {"uri": "oci://r/iris:1"}
    assert "slipway.dev/restarted-at" in client.restart("iris")["metadata"]["annotations"]
    assert client.rollout_status("iris")["metadata"]["name"] == "iris"
    client.delete("iris")
    with pytest.raises(NotFoundError):
        client.get("iris")


def test_watches_end_when_they_are_left(iris):
    cluster, client = iris
    services = client.watch_all()
    assert [item["metadata"]["name"] for item in next(services)] == ["iris"]
    cluster.put(MODEL_SERVICE, {**IRIS, "metadata": {"name": "rose", "namespace": "ml"}})
    while len(found := next(services)) == 1:
        pass
    assert [item["metadata"]["name"] for item in found] == ["iris", "rose"]
    services.close()
    assert next(client.watch("iris")).service["metadata"]["name"] == "iris"


def test_threads_share_a_client(iris):
    _, client = iris
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(client.get, ["iris"] * 40))
    assert [item["metadata"]["name"] for item in found] == ["iris"] * 40


def test_nothing_is_left_behind(cluster):
    before = threading.active_count()
    client = Client()
    client.close()
    client.close()
    assert threading.active_count() == before


def test_a_connection_that_cannot_be_made(home):
    before = threading.active_count()
    with pytest.raises(NotFoundError):
        Client("nope")
    assert threading.active_count() == before


def test_another_cluster_is_named(cluster, home, write_kubeconfig, unused_tcp_port):
    other = write_kubeconfig(home / "other", f"http://127.0.0.1:{unused_tcp_port}", "staging")
    with Client(kubeconfig=other) as client, pytest.raises(UnreachableError, match="Cannot reach staging"):
        client.list()


def test_an_api_server_in_memory_will_do():
    class Given:
        async def __aenter__(self):
            return AsyncClient(ApiServer(), namespace="ml")

        async def __aexit__(self, *_):
            await asyncio.sleep(0)

    with Client.using(Given) as client:
        assert client.list() == []
        assert client.apply(IRIS)["metadata"]["generation"] == 1
