import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.client.client import AsyncClient
from slipway.client.errors import FailedError, NotFoundError, UnreachableError, WaitTimeoutError
from slipway.client.logs import LogQuery, follow, logs
from slipway.client.platform import platform_state
from slipway.client.wait import wait_ready
from slipway.kit.client import NotFound, Unreachable
from slipway.kit.objects import DEPLOYMENT, EVENT, MODEL_SERVICE, POD, Key
from slipway.kit.testing import ApiServer, virtual_time

START = datetime(2026, 1, 1, tzinfo=UTC)


def service(ready="False", reason="NoReplicaReady", progressing="RollingOut", message="starts"):
    about = {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
    done = "False" if progressing in {"RolloutComplete", "ImagePullBackOff"} else "True"
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "iris", "namespace": "ml"},
        "spec": {"model": {"uri": "oci://r/iris:1"}},
        "status": {
            "conditions": [
                {"type": "Ready", "status": ready, "reason": reason, "message": message, **about},
                {"type": "Progressing", "status": done, "reason": progressing, "message": message, **about},
            ]
        },
    }


READY = service("True", "Serving", "RolloutComplete", "")


def pod(name="iris-1", restarts=0):
    labels = {"slipway.dev/modelservice": "iris"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "ml", "labels": labels},
        "status": {"phase": "Running", "containerStatuses": [{"name": "model", "restartCount": restarts}]},
    }


def client_of(server):
    return AsyncClient(server, context="prod", namespace="ml")


class Cluster(ApiServer):
    """With a kubelet that serves logs: `written` has the timestamp and text of each line of each container of a pod."""

    def __init__(self):
        super().__init__()
        self.written: dict[str, list[list[tuple[str, str]]]] = {}
        self.seconds = 0

    def write(self, name, text):
        """The newest container of the pod says something."""
        self.seconds += 1
        stamp = (START + timedelta(seconds=self.seconds)).isoformat()
        self.written.setdefault(name, [[]])[-1].append((stamp, text))

    def restart(self, name):
        self.written.setdefault(name, [[]]).append([])
        self.put(POD, pod(name, len(self.written[name]) - 1))

    async def raw(self, _method, path, **_):
        await self._begin("raw", None, Key("", path))
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        containers = self.written.get(parts.path.split("/")[-2], [[]])
        index = -2 if "previous" in query else -1
        if len(containers) < -index:
            raise NotFound(404, "NotFound", "previous terminated container not found")
        lines = [line for line in containers[index] if line[0] >= query.get("sinceTime", [""])[0]]
        lines = lines[-int(query["tailLines"][0]) :] if "tailLines" in query else lines
        return "".join(f"{stamp} {text}\n" for stamp, text in lines).encode()


@virtual_time
async def test_waiting_ends_when_the_service_answers():
    server, said = ApiServer(), []
    server.put(MODEL_SERVICE, service())
    waiting = asyncio.create_task(wait_ready(client_of(server), "iris", 60, said.append))
    await asyncio.sleep(3)
    server.put(POD, pod())
    await asyncio.sleep(3)
    server.put(MODEL_SERVICE, READY)
    assert (await waiting)["status"] == READY["status"]
    assert said[:2] == ["NoReplicaReady: starts", "0 of 1 ready, others Loading; NoReplicaReady: starts"]


@virtual_time
async def test_a_change_is_seen_at_once():
    server = ApiServer()
    server.put(MODEL_SERVICE, service())
    watch = client_of(server).watch("iris")
    async with contextlib.aclosing(watch):
        await anext(watch)
        await anext(watch)  # what the watches found when they began
        before = asyncio.get_running_loop().time()
        asyncio.get_running_loop().call_later(1.0, server.put, MODEL_SERVICE, READY)
        assert (await anext(watch)).service["status"] == READY["status"]
        assert asyncio.get_running_loop().time() - before < 1.1


@virtual_time
async def test_waiting_outlives_an_api_server_that_does_not_answer():
    server, said = ApiServer(), []
    server.put(MODEL_SERVICE, service())
    waiting = asyncio.create_task(wait_ready(client_of(server), "iris", 60, said.append))
    await asyncio.sleep(2)

    def fault(_):
        raise Unreachable("connection refused")

    server.fault = fault
    server.disconnect()
    await asyncio.sleep(10)
    assert said[-1] == "Cannot reach prod: connection refused"
    server.fault = lambda _: None
    server.put(MODEL_SERVICE, READY)
    await waiting


@virtual_time
async def test_waiting_ends_at_what_does_not_heal():
    server = ApiServer()
    server.put(MODEL_SERVICE, service("False", "ImagePullBackOff", "ImagePullBackOff", "manifest unknown"))
    with pytest.raises(FailedError, match="cannot become ready: ImagePullBackOff: manifest unknown"):
        await wait_ready(client_of(server), "iris", 60, lambda _: None)


@virtual_time
async def test_waiting_has_an_end_and_says_what_it_saw_last():
    server, said = ApiServer(), []
    server.put(MODEL_SERVICE, service())
    with pytest.raises(WaitTimeoutError, match="iris is not ready after 100 s: NoReplicaReady: starts"):
        await wait_ready(client_of(server), "iris", 100, said.append)
    assert len(said) == 3  # at once, and each half a minute


@virtual_time
async def test_waiting_for_a_service_that_is_deleted():
    server = ApiServer()
    server.put(MODEL_SERVICE, service())
    waiting = asyncio.create_task(wait_ready(client_of(server), "iris", 60, lambda _: None))
    await asyncio.sleep(1)
    server.remove(MODEL_SERVICE, Key("ml", "iris"))
    with pytest.raises(NotFoundError):
        await waiting


@virtual_time
async def test_snapshot_has_only_what_belongs_to_it():
    server = ApiServer()
    server.put(MODEL_SERVICE, service())
    server.put(POD, pod())
    server.put(POD, pod("other") | {"metadata": {"name": "other", "namespace": "ml"}})
    for about in ("iris", "iris-1", "other"):
        metadata = {"name": f"event-{about}", "namespace": "ml"}
        server.put(
            EVENT, {"apiVersion": "v1", "kind": "Event", "metadata": metadata, "involvedObject": {"name": about}}
        )
    snapshot = await client_of(server).snapshot("iris")
    assert [item["metadata"]["name"] for item in snapshot.pods] == ["iris-1"]
    assert [item["involvedObject"]["name"] for item in snapshot.events] == ["iris", "iris-1"]


@virtual_time
async def test_lists_have_all_pages():
    server = ApiServer()
    for number in range(1201):
        server.put(MODEL_SERVICE, READY | {"metadata": {"name": f"iris-{number:04}", "namespace": "ml"}})
    found = await client_of(server).list()
    assert [item["metadata"]["name"] for item in found] == [f"iris-{number:04}" for number in range(1201)]


@virtual_time
async def test_platform_that_is_not_installed():
    server = ApiServer()
    server.missing.add(MODEL_SERVICE)
    for call in (client_of(server).list(), client_of(server).get("iris"), client_of(server).find("iris")):
        with pytest.raises(NotFoundError, match="The platform is not installed on prod"):
            await call


@virtual_time
async def test_a_platform_without_its_operator_does_not_operate():
    server = ApiServer()
    assert not (await platform_state(client_of(server))).operated
    metadata = {"name": "slipway-operator", "namespace": "slipway-system"}
    containers = [{"image": "registry/slipway/operator:0.1.0"}]
    spec = {"replicas": 2, "template": {"spec": {"containers": containers}}}
    made = server.put(DEPLOYMENT, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    assert (await platform_state(client_of(server))).operated
    server.put(DEPLOYMENT, made | {"spec": spec | {"replicas": 0}})
    assert not (await platform_state(client_of(server))).operated


@virtual_time
async def test_delete():
    server = ApiServer()
    server.put(MODEL_SERVICE, READY)
    await client_of(server).delete("iris")
    assert not server.objects(MODEL_SERVICE)


@virtual_time
async def test_unreachable_cluster_is_named():
    server = ApiServer()

    def fault(_):
        raise Unreachable("connection refused")

    server.fault = fault
    with pytest.raises(UnreachableError, match="Cannot reach prod: connection refused"):
        await client_of(server).list()


@virtual_time
async def test_logs_take_the_last_lines_of_each_replica():
    cluster = Cluster()
    for name in ("iris-1", "iris-2"):
        cluster.put(POD, pod(name))
        for number in range(5):
            cluster.write(name, f"line {number}")
    found = [(line.pod, line.text) async for line in logs(client_of(cluster), "iris", LogQuery(tail=2))]
    assert found == [(name, f"line {number}") for name in ("iris-1", "iris-2") for number in (3, 4)]


@virtual_time
async def test_a_progress_bar_is_one_line_and_ends_nothing():
    cluster, shown = Cluster(), []
    cluster.put(POD, pod("iris-1"))
    cluster.write("iris-1", "Loading: 10%\rLoading: 100%\u2028done")

    async def read():
        async for line in follow(client_of(cluster), "iris", LogQuery()):
            shown.append(line.text)  # noqa: PERF401  # it has no end

    reading = asyncio.create_task(read())
    await asyncio.sleep(5)
    cluster.write("iris-1", "ready")
    await asyncio.sleep(5)
    reading.cancel()
    assert shown == ["Loading: 10%\rLoading: 100%\u2028done", "ready"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(["iris-1", "iris-2"])),
        st.tuples(st.just("restart"), st.sampled_from(["iris-1", "iris-2"])),
        st.just(("sleep", "")),
        st.just(("fail", "")),
    ),
    max_size=20,
)


@settings(deadline=None)  # how fast the machine is, is not what is tested
@given(STEPS)
@virtual_time
async def test_following_shows_each_line_once_in_order(steps):
    """Through restarts, as long as a container is not restarted twice between two looks, and lost connections."""
    cluster, shown, written = Cluster(), [], []
    cluster.put(POD, pod("iris-1"))
    cluster.put(POD, pod("iris-2"))

    async def read():
        async for line in follow(client_of(cluster), "iris", LogQuery()):
            shown.append((line.pod, line.text))  # noqa: PERF401  # it has no end

    def fail(_):
        cluster.fault = lambda _: None
        raise Unreachable("connection reset")

    reading = asyncio.create_task(read())
    for number, (verb, name) in enumerate(steps):
        match verb:
            case "write":
                cluster.write(name, str(number))
                written.append((name, str(number)))
            case "restart":
                cluster.restart(name)
                await asyncio.sleep(3)
            case "sleep":
                await asyncio.sleep(1.5)
            case "fail":
                cluster.fault = fail
    await asyncio.sleep(5)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    for name in ("iris-1", "iris-2"):
        assert [line for line in shown if line[0] == name] == [line for line in written if line[0] == name]
