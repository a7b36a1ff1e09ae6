"""Whether what was installed answers, and why not, from the objects alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.views.conditions import condition

Object = dict[str, Any]

HOPELESS = {"ImagePullBackOff", "InvalidImageName", "CrashLoopBackOff", "CreateContainerConfigError"}
RESTARTS = 3  # an operator that starts before its API is there ends once or twice


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object that has to be ready; `name` may be the beginning of the name of one that a controller makes."""

    kind: str
    name: str
    what: str


def missing(objects: Sequence[Object], wanted: Iterable[Wanted]) -> list[str]:
    """What is not ready yet, in words."""
    return [one.what for one in wanted if not any(_is(found, one) and ready(found) for found in objects)]


def _is(found: Object, one: Wanted) -> bool:
    return bool(found["kind"] == one.kind and found["metadata"]["name"] == one.name)


def ready(found: Object) -> bool:
    """Whether a Deployment has rolled out, or a Gateway is programmed."""
    status = found.get("status", {})
    if found["kind"] == "Deployment":
        replicas = found["spec"].get("replicas", 1)
        counts = {status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")}
        return status.get("observedGeneration", 0) >= found["metadata"]["generation"] and counts == {replicas}
    programmed = condition(found, "Programmed")
    return programmed.holds and programmed.generation >= found["metadata"]["generation"]


def hopeless(objects: Iterable[Object]) -> str:
    """The first pod that will not become ready by waiting, and why; empty when there is none."""
    for pod in objects:
        if pod["kind"] != "Pod" or "deletionTimestamp" in pod["metadata"]:
            continue
        status = pod.get("status", {})
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            waiting = container.get("state", {}).get("waiting", {})
            crashes = waiting.get("reason") == "CrashLoopBackOff"
            if waiting.get("reason") in HOPELESS and (not crashes or container.get("restartCount", 0) >= RESTARTS):
                return f"Pod {pod['metadata']['name']}: {waiting['reason']}. {waiting.get('message', '')}".strip()
    return ""
