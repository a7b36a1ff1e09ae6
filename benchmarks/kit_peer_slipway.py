"""The work of `kit.py` with our toolkit.

python benchmarks/kit_peer_slipway.py events|cache PORT OBJECTS CHANGES PAUSE
"""

from __future__ import annotations

import asyncio
import sys

from kit_marks import QUIET, Marks

from slipway.kit.access import Access
from slipway.kit.controller import Controller, Result
from slipway.kit.manager import Manager
from slipway.kit.objects import POD, Key
from slipway.kit.rest import RestClient
from slipway.kit.store import keep

MODE, PORT, OBJECTS, CHANGES = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
PAUSE = float(sys.argv[5])
URL = f"http://127.0.0.1:{PORT}"
NARROW = keep("spec.nodeName", "status.phase", "status.conditions")


class Counting:
    """Does nothing with each object, and counts."""

    def __init__(self, marks: Marks, manager: Manager) -> None:
        self._marks = marks
        self._manager = manager
        self._seen = 0

    async def reconcile(self, _: Key) -> Result:
        self._seen += 1
        if self._seen == OBJECTS:
            self._marks.set("listed", memory=MODE == "cache")
            self._changes = asyncio.create_task(self._change())
        elif self._seen == OBJECTS + CHANGES:
            self._marks.set("changed")
            self._manager.stop()
        return Result()

    async def _change(self) -> None:
        await asyncio.sleep(QUIET)
        self._marks.set("quiet")
        await self._manager.client.raw("GET", f"/change?count={CHANGES}&pause={PAUSE}")


async def main() -> None:
    marks = Marks()
    async with RestClient(Access(URL)) as client:
        manager = Manager(client)
        store = manager.store(POD, projection=NARROW if MODE == "cache" else None)
        if MODE == "events":
            manager.add(Controller(POD, Counting(marks, manager), workers=4))
        marks.set("started", memory=MODE == "cache")
        task = asyncio.create_task(manager.run())
        if MODE == "cache":
            await store.synced.wait()
            marks.set("listed", memory=MODE == "cache")
            manager.stop()
        await task
        assert len(store) == OBJECTS
    marks.tell()


asyncio.run(main())
