"""The same work with kopf, in a Python of its own: see `kit.py`.

python benchmarks/kit_peer_kopf.py events|cache PORT OBJECTS CHANGES PAUSE
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import urllib.request
from typing import Any

import kopf
from kit_marks import QUIET, Marks

MODE, PORT, OBJECTS, CHANGES = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
PAUSE = float(sys.argv[5])
URL = f"http://127.0.0.1:{PORT}"
marks = Marks()
seen = 0


@kopf.on.login()
def login(**_: Any) -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(server=URL)


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = False
    settings.scanning.disabled = True
    marks.set("started", memory=MODE == "cache")


def count() -> None:
    """Counts what was handled: all objects once, then as many changes."""
    global seen  # noqa: PLW0603  # kopf's handlers are functions of a module
    seen += 1
    if seen == OBJECTS:
        marks.set("listed", memory=MODE == "cache")
        if MODE == "events":
            asyncio.get_running_loop().call_later(QUIET, start_changes)
        else:
            stop.set()
    elif seen == OBJECTS + CHANGES:
        marks.set("changed")
        stop.set()


def start_changes() -> None:
    marks.set("quiet")
    asyncio.get_running_loop().run_in_executor(
        None, urllib.request.urlopen, f"{URL}/change?count={CHANGES}&pause={PAUSE}"
    )


cached: dict[tuple[str, str], tuple[str | None, str | None]] = {}


@kopf.on.event("pods")
async def reconcile(name: str, namespace: str, spec: kopf.Spec, status: kopf.Status, **_: Any) -> None:
    if MODE == "cache":
        cached[namespace, name] = spec.get("nodeName"), status.get("phase")
    count()


async def main() -> None:
    global stop  # noqa: PLW0603  # an event belongs to a loop
    stop = asyncio.Event()
    with contextlib.suppress(asyncio.CancelledError):
        await kopf.operator(standalone=True, clusterwide=True, stop_flag=stop)
    marks.tell()


logging.disable(logging.WARNING)
asyncio.run(main())
