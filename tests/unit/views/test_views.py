"""What people see of pods and services, on objects as the API server gives them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.reasons import CONDITION_TYPES
from slipway.views.ages import age
from slipway.views.conditions import condition
from slipway.views.modelservice import describe, next_step, outcome, row, why
from slipway.views.pods import PodView, has_run, pod_view, worst

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def pod(*containers: dict[str, Any], phase: str = "Running", ready: bool = False, **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}, *status.pop("conditions", [])]
    return {
        "metadata": {"name": "iris-1", "namespace": "default", "labels": {"slipway.dev/revision": "r1"}},
        "spec": {"nodeName": "node-1"},
        "status": {"phase": phase, "conditions": conditions, "containerStatuses": [*containers], **status},
    }


def container(state: dict[str, Any], *, last: dict[str, Any] | None = None, restarts: int = 0) -> dict[str, Any]:
    return {"name": "model", "ready": False, "restartCount": restarts, "state": state, "lastState": last or {}}


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


BACK_OFF = waiting("CrashLoopBackOff", "back-off 20s restarting failed container=model")
FETCH = container({}, last=ended(1, message="10 MB\nstatus 404"), restarts=1) | {"name": "fetch"}
PULL = 'Back-off pulling image "r/m:1": ErrImagePull: not found'


@pytest.mark.parametrize(
    ("manifest", "reason", "words", "code"),
    [
        (pod(container(waiting("ImagePullBackOff", PULL)), phase="Pending"), "ImagePullBackOff", PULL, None),
        (pod(container(waiting("ErrImagePull", "no such host"))), "ErrImagePull", "no such host", None),
        (
            pod(container(waiting("CreateContainerConfigError", 'secret "s" not found'))),
            "CreateContainerConfigError",
            'secret "s" not found',
            None,
        ),
        (
            pod(container(BACK_OFF, last=ended(1, message="Traceback\n  ...\nValueError: no model\n"), restarts=3)),
            "CrashLoopBackOff",
            "container model ended with exit code 1 (Error), 3 restarts: ValueError: no model",
            1,
        ),
        (
            pod(container(BACK_OFF, last=ended(137, "OOMKilled"), restarts=2)),
            "OOMKilled",
            "container model ended with exit code 137 (OOMKilled), 2 restarts",
            137,
        ),
        (pod(container(ended(137, "OOMKilled"))), "OOMKilled", "exit code 137", 137),
        (pod(container({"running": {}}, last=ended(137, "OOMKilled"), restarts=1)), "OOMKilled", "1 restarts", 137),
        (pod(container({"running": {}}, last=ended(2), restarts=1)), "Error", "exit code 2", 2),
        (
            pod(container(waiting("CreateContainerError", "no space"), last=ended(1))),
            "CreateContainerError",
            "no space",
            1,
        ),
        (
            pod(
                phase="Pending",
                conditions=[
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/1 nodes are available: 1 Insufficient memory.",
                    }
                ],
            ),
            "Unschedulable",
            "0/1 nodes are available: 1 Insufficient memory.",
            None,
        ),
        (pod(phase="Failed", reason="Evicted", message="The node was low on memory"), "Evicted", "low on memory", None),
        (
            pod(initContainerStatuses=[container(waiting("ErrImageNeverPull", "not present"))]),
            "ErrImageNeverPull",
            "not present",
            None,
        ),
        (pod(initContainerStatuses=[FETCH | {"state": BACK_OFF}]), "FetchFailed", "1 restarts: status 404", 1),
        (pod(initContainerStatuses=[FETCH | {"state": {"running": {}}}]), "FetchFailed", "status 404", 1),
        (
            pod(initContainerStatuses=[FETCH | {"lastState": ended(137, "OOMKilled"), "state": BACK_OFF}]),
            "OOMKilled",
            "container fetch",
            137,
        ),
    ],
)
def test_the_kubelets_words(manifest: dict[str, Any], reason: str, words: str, code: int | None) -> None:
    view = pod_view(manifest)
    assert (view.reason, view.state, view.exit_code) == (reason, reason, code)
    assert words in view.message
    assert not view.ready


@pytest.mark.parametrize(
    ("manifest", "state"),
    [
        (pod({"name": "model", "ready": True, "state": {"running": {}}}, ready=True), "Running"),
        (pod(container({"running": {}})), "Loading"),
        (pod(container(waiting("ContainerCreating")), phase="Pending"), "Pending"),
        (pod(container(waiting("PodInitializing"), last=ended(0)), phase="Pending"), "Pending"),
        (pod(phase="Pending"), "Pending"),
        ({"metadata": {"name": "new"}}, "Pending"),
    ],
)
def test_nothing_is_wrong_with_a_pod_on_its_way(manifest: dict[str, Any], state: str) -> None:
    view = pod_view(manifest)
    assert (view.state, view.reason, view.message) == (state, "", "")


def test_a_ready_pod_that_once_failed_is_fine_and_says_how_it_ended() -> None:
    status = container({"running": {}}, last=ended(137, "OOMKilled"), restarts=4) | {"ready": True}
    view = pod_view(pod(status, ready=True))
    assert (view.state, view.reason, view.exit_code, view.restarts) == ("Running", "", 137, 4)
    assert (view.node, view.revision) == ("node-1", "r1")


def test_a_pod_that_is_told_to_stop_has_no_trouble() -> None:
    manifest = pod(container(ended(143)))
    manifest["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert pod_view(manifest).state == "Terminating"
    assert pod_view(manifest).reason == ""


def test_the_worst_pod_is_the_one_that_ran_and_failed() -> None:
    never = PodView("a", "r", "ImagePullBackOff", ready=False, reason="ImagePullBackOff")
    crashed = PodView("b", "r", "OOMKilled", ready=False, reason="OOMKilled", exit_code=137, restarts=1)
    fine = PodView("c", "r", "Running", ready=True)
    assert worst([never, crashed, fine]) == crashed
    assert worst([fine]) is None


def service(*conditions: tuple[str, str, str, str], generation: int = 1, **status: Any) -> dict[str, Any]:
    made = [
        {"type": kind, "status": value, "reason": reason, "message": message, "observedGeneration": 1}
        for kind, value, reason, message in conditions
    ]
    return {
        "metadata": {
            "name": "iris",
            "namespace": "default",
            "generation": generation,
            "creationTimestamp": "2026-01-01T11:00:00Z",
        },
        "spec": {"model": {"uri": "oci://r/iris:1"}},
        "status": {"conditions": made, **status},
    }


COMPLETE = ("Progressing", "False", "RolloutComplete", "revision a is complete")
SERVING = ("Ready", "True", "Serving", "http://x answers")
CRASH = ("Progressing", "False", "CrashLoopBackOff", "pod iris-1: exit code 1")


@pytest.mark.parametrize(
    ("manifest", "result"),
    [
        (service(SERVING, COMPLETE), "ready"),
        (service(SERVING, COMPLETE, generation=2), "waiting"),
        (service(SERVING, CRASH), "failed"),
        (service(("Ready", "False", "CrashLoopBackOff", ""), CRASH), "failed"),
        (service(SERVING, ("Progressing", "True", "RollingOut", "")), "waiting"),
        (service(("Ready", "False", "Unschedulable", ""), ("Progressing", "False", "Unschedulable", "")), "waiting"),
        (service(("Ready", "False", "RoutePending", ""), COMPLETE), "waiting"),
        (service(), "waiting"),
    ],
)
def test_outcome(manifest: dict[str, Any], result: str) -> None:
    assert outcome(manifest) == result


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        (service(), "The operator has not looked at it yet"),
        (service(SERVING, COMPLETE), "Serving: http://x answers"),
        (
            service(SERVING, CRASH, revision="b"),
            "Serves, but revision b does not start: CrashLoopBackOff: pod iris-1: exit code 1",
        ),
        (service(("Ready", "False", "NoReplicaReady", "")), "NoReplicaReady"),
    ],
)
def test_why(manifest: dict[str, Any], sentence: str) -> None:
    assert why(manifest) == sentence


NO_IMAGE = ("Progressing", "False", "ImagePullBackOff", PULL)
NOT_SERVING = ("Ready", "False", "ImagePullBackOff", PULL)
UNPULLED = pod(container(waiting("ImagePullBackOff", PULL)), phase="Pending")


@pytest.mark.parametrize(
    ("manifest", "pods", "step"),
    [
        (service(SERVING, COMPLETE), [], "slipway predict iris"),
        (service(SERVING, CRASH), [pod(container(BACK_OFF, last=ended(1), restarts=1))], "slipway logs iris"),
        (
            service(NOT_SERVING, NO_IMAGE),
            [UNPULLED],
            "correct what it says, then slipway deploy iris PATH|URI, or -f FILE",
        ),
        (
            service(SERVING, NO_IMAGE),
            [pod(container({"running": {}}), ready=True), UNPULLED],
            "correct what it says and deploy it again, or go back: slipway rollout undo iris",
        ),
        (
            service(("Ready", "False", "InvalidSpec", ""), ("Progressing", "False", "InvalidSpec", "")),
            [],
            "correct what it says, then slipway deploy iris PATH|URI, or -f FILE",
        ),
        (service(), [UNPULLED], "slipway describe iris -w: it is still at work"),
        (service(), [], "slipway status"),
    ],
)
def test_what_to_do_next(manifest: dict[str, Any], pods: list[dict[str, Any]], step: str) -> None:
    assert next_step(manifest, pods) == step


@pytest.mark.parametrize(
    ("manifest", "ran"),
    [
        (pod(), False),
        (UNPULLED, False),
        (pod(container({"running": {}})), True),
        (pod(container(BACK_OFF, last=ended(1))), True),
        (pod(container(waiting("RunContainerError"), last=ended(128, "StartError"))), False),
        (pod(container({"running": {}}) | {"name": "sidecar"}), False),
        (pod(initContainerStatuses=[FETCH]), False),
    ],
)
def test_only_a_server_that_has_run_has_logs(manifest: dict[str, Any], ran: bool) -> None:
    assert has_run(manifest) is ran


def test_row() -> None:
    line = row(service(SERVING, CRASH, url="http://x", replicas=3, readyReplicas=2, revision="b"), now=NOW)
    assert line.reason == "Serving, update CrashLoopBackOff"
    assert (line.ready, line.replicas, line.url, line.revision, line.age) == ("True", "2/3", "http://x", "b", "1h")


def test_row_of_an_object_that_nobody_has_looked_at() -> None:
    line = row({"metadata": {"name": "iris"}}, now=NOW)
    assert (line.ready, line.reason, line.replicas, line.age) == ("Unknown", "", "0/0", "")


def test_describe_shows_everything_in_order() -> None:
    events = [
        {"lastTimestamp": "2026-01-01T11:59:00Z", "type": "Warning", "reason": "B", "message": "two\nlines"},
        {
            "eventTime": "2026-01-01T11:58:00.000000Z",
            "type": "Normal",
            "reason": "A",
            "involvedObject": {"kind": "Pod"},
        },
    ]
    children = [{"kind": "Service", "metadata": {"name": "iris"}}, {"kind": "Deployment", "metadata": {"name": "iris"}}]
    manifest = service(SERVING, COMPLETE, model={"digest": "sha256:ab"})
    sections = describe(manifest, children=children, pods=[pod(container({"running": {}}))], events=events, now=NOW)
    assert [section.title for section in sections] == ["ModelService", "Conditions", "Pods", "Objects", "Events"]
    summary, conditions, pods, objects, told = (section.rows for section in sections)
    assert ("Digest", "sha256:ab") in summary
    assert [line[0] for line in conditions] == list(CONDITION_TYPES)
    assert pods[0][:2] == ("iris-1", "Loading")
    assert objects == (("Deployment", "iris"), ("Service", "iris"))
    assert [line[2] for line in told] == ["A", "B"]
    assert told[1][4] == "two lines"


def test_describe_leaves_out_what_is_not_there() -> None:
    sections = describe(service(), children=[], pods=[], events=[], now=NOW)
    assert [section.title for section in sections] == ["ModelService", "Conditions"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (45, "45s"),
        (60, "1m"),
        (200, "3m20s"),
        (3600, "1h"),
        (36000, "10h"),
        (90000, "1d1h"),
        (86400 * 400, "1y35d"),
    ],
)
def test_ages(seconds: int, text: str) -> None:
    assert age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == text


@given(st.text() | st.none())
def test_no_text_breaks_an_age(text: str | None) -> None:
    assert isinstance(age(text, NOW), str)


def test_a_condition_that_is_missing_is_unknown() -> None:
    assert condition({}, "Ready").status == "Unknown"
    assert condition({"status": {"conditions": None}}, "Ready").status == "Unknown"


def test_memory_that_ran_out_is_said_with_its_limit():
    status = container(BACK_OFF, last=ended(137, "OOMKilled"), restarts=2)
    status["resources"] = {"limits": {"memory": "24Mi"}}
    assert pod_view(pod(status)).message.endswith("its memory limit is 24Mi, give it more")
