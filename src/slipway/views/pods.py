"""The kubelet's and the scheduler's words about a pod."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from slipway.api.names import FETCH_CONTAINER, LABEL_REVISION, MODEL_CONTAINER
from slipway.api.reasons import FETCH_FAILED
from slipway.views.conditions import condition

_STARTING: Final = ("ContainerCreating", "PodInitializing")
_NEVER_RAN: Final = ("StartError", "ContainerCannotRun")
_OOM: Final = "OOMKilled"
_LAST_LINE_MOST: Final = 300


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod in words.

    `state` is what it is doing (`Running`, `Loading`, `Pending`, `Terminating`, or the reason that keeps it from
    running); `reason` and `message` say what is wrong and are empty when nothing is known to be; `exit_code` is of the
    last termination; `load_seconds` from the start of a server that never failed until it was last ready; a pod that is
    `over` has ended for good, such as one that was evicted, and is kept for its last words.
    """

    name: str
    revision: str
    state: str
    ready: bool
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    restarts: int = 0
    node: str = ""
    created: str = ""
    load_seconds: int | None = None
    over: bool = False


@dataclass(frozen=True, slots=True)
class _Trouble:
    reason: str
    message: str
    exit_code: int | None = None


def pod_view(pod: dict[str, Any]) -> PodView:
    """What a pod is doing, and what is wrong with it."""
    metadata, status = pod["metadata"], pod.get("status", {})
    containers = status.get("containerStatuses") or []
    ready = condition(pod, "Ready").holds
    terminating = "deletionTimestamp" in metadata
    trouble = None if ready or terminating else _trouble(pod)
    return PodView(
        name=metadata["name"],
        revision=metadata.get("labels", {}).get(LABEL_REVISION, ""),
        state="Terminating" if terminating else trouble.reason if trouble else _doing(status, ready=ready),
        ready=ready and not terminating,
        reason=trouble.reason if trouble else "",
        message=trouble.message if trouble else "",
        exit_code=trouble.exit_code if trouble else _last_exit(containers),
        restarts=sum(container.get("restartCount", 0) for container in containers),
        node=pod.get("spec", {}).get("nodeName", ""),
        created=metadata.get("creationTimestamp", ""),
        load_seconds=_load_seconds(pod) if ready else None,
        over=status.get("phase") in {"Failed", "Succeeded"},
    )


def _load_seconds(pod: dict[str, Any]) -> int | None:
    for container in pod.get("status", {}).get("containerStatuses") or []:
        started = (container.get("state") or {}).get("running", {}).get("startedAt")
        ready = condition(pod, "Ready").since
        if not started or not ready or container.get("restartCount", 0):
            return None
        return max(0, int((datetime.fromisoformat(ready) - datetime.fromisoformat(started)).total_seconds()))
    return None


def worst(pods: list[PodView]) -> PodView | None:
    """The pod whose trouble explains most: one that ran and failed before one that never ran; None without trouble.

    What ended a pod that is over counts where there is no other: it was replaced.
    """
    present = [pod for pod in pods if not pod.over] or pods
    troubled = [pod for pod in present if pod.reason]
    return max(troubled, key=lambda pod: (pod.exit_code is not None, pod.restarts, pod.name), default=None)


def has_run(pod: dict[str, Any]) -> bool:
    """Whether the server in it has ever run: without that there are no logs."""
    for container in pod.get("status", {}).get("containerStatuses") or []:
        if container.get("name") == MODEL_CONTAINER:
            states = [container.get("state") or {}, container.get("lastState") or {}]
            ends = [state["terminated"] for state in states if "terminated" in state]
            return "running" in states[0] or any(end.get("reason") not in _NEVER_RAN for end in ends)
    return False


def _doing(status: dict[str, Any], *, ready: bool) -> str:
    phase = str(status.get("phase", "Pending"))
    return "Loading" if phase == "Running" and not ready else phase


def _trouble(pod: dict[str, Any]) -> _Trouble | None:
    status = pod.get("status", {})
    if status.get("phase") == "Failed" and status.get("reason"):
        return _Trouble(status["reason"], status.get("message", ""))
    scheduled = condition(pod, "PodScheduled")
    if scheduled.status == "False":
        return _Trouble(scheduled.reason or "Unschedulable", scheduled.message)
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        trouble = _container_trouble(container)
        if trouble:
            return trouble
    return None


def _container_trouble(container: dict[str, Any]) -> _Trouble | None:
    if container.get("ready"):
        return None
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if waiting.get("reason") in _STARTING:
        waiting = {}
    if ended and ended.get("exitCode") == 0 and not waiting:
        ended = None
    if not waiting and not ended:
        return None
    if not ended:
        return _Trouble(waiting.get("reason", "Waiting"), waiting.get("message", ""))
    return _ended(container, waiting, ended)


def _ended(container: dict[str, Any], waiting: dict[str, Any], ended: dict[str, Any]) -> _Trouble:
    """A container that has run before. That it ran out of memory says more than that it is restarted for it."""
    code, word = ended.get("exitCode"), ended.get("reason", "Error")
    restarts = container.get("restartCount", 0)
    said = f"container {container.get('name')} ended with exit code {code} ({word}), {restarts} restarts"
    memory_limit = container.get("resources", {}).get("limits", {}).get("memory", "")
    advice = f"its memory limit is {memory_limit}, give it more" if word == _OOM and memory_limit else ""
    message = ": ".join(filter(None, (said, advice, _last_line(ended.get("message", "")))))
    if waiting and waiting.get("reason") != "CrashLoopBackOff":
        return _Trouble(waiting.get("reason", "Waiting"), waiting.get("message") or message, code)
    if container.get("name") == FETCH_CONTAINER and word != _OOM:
        return _Trouble(FETCH_FAILED, message, code)
    return _Trouble(word if word == _OOM or not waiting else "CrashLoopBackOff", message, code)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_LAST_LINE_MOST] if lines else ""


def _last_exit(containers: list[dict[str, Any]]) -> int | None:
    for container in containers:
        ended = (container.get("lastState") or {}).get("terminated")
        if ended:
            code = ended.get("exitCode")
            return int(code) if code is not None else None
    return None
