"""A ModelService as people see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from slipway.api.reasons import CONDITION_TYPES, NEEDS_A_PERSON, PROGRESSING, READY, ROLLOUT_COMPLETE
from slipway.views.ages import age
from slipway.views.conditions import ConditionView, condition
from slipway.views.pods import PodView, has_run, pod_view


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list. `ready` is `True`, `False` or `Unknown`; `replicas` is `ready/existing`."""

    name: str
    namespace: str
    ready: str
    reason: str
    url: str
    replicas: str
    revision: str
    age: str


@dataclass(frozen=True, slots=True)
class Section:
    """A titled table; `header` is empty where the first column names the rest."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Outcome = Literal["ready", "failed", "waiting"]


def row(ms: dict[str, Any], *, now: datetime) -> Row:
    """The line of a service in a list."""
    metadata, status = ms["metadata"], ms.get("status", {})
    ready = condition(ms, READY)
    return Row(
        name=metadata["name"],
        namespace=metadata.get("namespace", ""),
        ready=ready.status,
        reason=_reason(ms),
        url=status.get("url", ""),
        replicas=f"{status.get('readyReplicas', 0)}/{status.get('replicas', 0)}",
        revision=status.get("revision", ""),
        age=age(metadata.get("creationTimestamp"), now),
    )


def outcome(ms: dict[str, Any]) -> Outcome:
    """Whether waiting for what is asked for now has an end.

    `ready`: the newest revision is complete and a request would succeed. `failed`: a person is needed, see `why`.
    What the operator wrote about an older generation of the object does not count.
    """
    ready, progressing = condition(ms, READY), condition(ms, PROGRESSING)
    generation = ms["metadata"].get("generation", 0)
    if min(ready.generation, progressing.generation) < generation:
        return "waiting"
    if ready.holds and progressing.reason == ROLLOUT_COMPLETE:
        return "ready"
    if progressing.status == "False" and progressing.reason in NEEDS_A_PERSON:
        return "failed"
    return "failed" if ready.status == "False" and ready.reason in NEEDS_A_PERSON else "waiting"


def waits_for(ms: dict[str, Any]) -> str:
    """What keeps the newest revision from going on, when that is neither ours to give nor a person's fault; else empty.

    For example room on a node: it goes on by itself when there is some.
    """
    progressing = condition(ms, PROGRESSING)
    if progressing.generation < ms["metadata"].get("generation", 0) or not _failed(progressing):
        return ""
    return "" if progressing.reason in NEEDS_A_PERSON else _sentence(progressing)


def why(ms: dict[str, Any]) -> str:
    """One sentence: why it is ready, or why not, or why the newest revision is not."""
    ready, progressing = condition(ms, READY), condition(ms, PROGRESSING)
    if ready.status == "Unknown" and not ready.reason:
        return "The operator has not looked at it yet"
    if ready.holds and _failed(progressing):
        return (
            f"Serves, but revision {ms.get('status', {}).get('revision', '')} does not start: {_sentence(progressing)}"
        )
    return _sentence(ready)


def next_step(ms: dict[str, Any], pods: list[dict[str, Any]]) -> str:
    """What is most likely wanted now. Where no failed replica has run there are no logs to send anybody to."""
    name = ms["metadata"]["name"]
    match outcome(ms):
        case "ready":
            return f"slipway predict {name}"
        case "waiting":
            return f"slipway describe {name} -w: it is still at work" if pods else "slipway status"
    if has_last_words(pods):
        return f"slipway logs {name}"
    if condition(ms, READY).holds:
        return f"correct what it says and deploy it again, or go back: slipway rollout undo {name}"
    return f"correct what it says, then slipway deploy {name} PATH|URI, or -f FILE"


def has_last_words(pods: list[dict[str, Any]]) -> bool:
    """Whether a replica that is not ready has run, so that its logs may say why."""
    return any(has_run(pod) for pod in pods if not condition(pod, "Ready").holds)


def describe(
    ms: dict[str, Any],
    *,
    children: list[dict[str, Any]],
    pods: list[dict[str, Any]],
    events: list[dict[str, Any]],
    now: datetime,
) -> list[Section]:
    """Everything about one service, newest events last."""
    sections = [_summary(ms, now), _conditions(ms, now)]
    if pods:
        sections.append(_pods([pod_view(pod) for pod in pods], now))
    if children:
        rows = sorted((child["kind"], child["metadata"]["name"]) for child in children)
        sections.append(Section("Objects", ("KIND", "NAME"), tuple(rows)))
    if events:
        sections.append(_events(events, now))
    return sections


def _reason(ms: dict[str, Any]) -> str:
    ready, progressing = condition(ms, READY), condition(ms, PROGRESSING)
    return f"{ready.reason}, update {progressing.reason}" if ready.holds and _failed(progressing) else ready.reason


def _failed(progressing: ConditionView) -> bool:
    return progressing.status == "False" and progressing.reason != ROLLOUT_COMPLETE


def _sentence(view: ConditionView) -> str:
    return f"{view.reason}: {view.message}" if view.message else view.reason


def _summary(ms: dict[str, Any], now: datetime) -> Section:
    line, spec = row(ms, now=now), ms.get("spec", {})
    rows = (
        ("Name", line.name),
        ("Namespace", line.namespace),
        ("Model", spec.get("model", {}).get("uri", "")),
        ("Digest", ms.get("status", {}).get("model", {}).get("digest", "")),
        ("URL", line.url),
        ("Replicas", f"{line.replicas} ready"),
        ("Revision", line.revision),
        ("Age", line.age),
        ("Why", why(ms)),
    )
    return Section("ModelService", (), tuple(pair for pair in rows if pair[1]))


def _conditions(ms: dict[str, Any], now: datetime) -> Section:
    views = [condition(ms, type_) for type_ in CONDITION_TYPES]
    rows = tuple((view.type, view.status, view.reason, age(view.since, now), view.message) for view in views)
    return Section("Conditions", ("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), rows)


def _pods(pods: list[PodView], now: datetime) -> Section:
    rows = tuple(
        (pod.name, pod.state, str(pod.restarts), pod.revision, pod.node, age(pod.created, now), pod.message)
        for pod in sorted(pods, key=lambda pod: pod.name)
    )
    return Section("Pods", ("NAME", "STATE", "RESTARTS", "REVISION", "NODE", "AGE", "MESSAGE"), rows)


def _events(events: list[dict[str, Any]], now: datetime) -> Section:
    ordered = sorted(events, key=_event_time)
    rows = tuple(
        (
            age(_event_time(event), now),
            event.get("type", ""),
            event.get("reason", ""),
            f"{event.get('involvedObject', {}).get('kind', '')}/{event.get('involvedObject', {}).get('name', '')}",
            " ".join(event.get("message", "").split()),
        )
        for event in ordered
    )
    return Section("Events", ("AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"), rows)


def _event_time(event: dict[str, Any]) -> str:
    return str(
        event.get("lastTimestamp")
        or (event.get("series") or {}).get("lastObservedTime")
        or event.get("eventTime")
        or event.get("metadata", {}).get("creationTimestamp", "")
    )
