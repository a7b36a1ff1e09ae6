"""CPU time and memory of this process at named moments, printed as JSON at the end. Used by the peers of `kit.py`."""

from __future__ import annotations

import gc
import json
import resource
from pathlib import Path

QUIET = 8.0  # seconds after the list and before the changes: kopf's workers of idle objects end after five


class Marks:
    """The first mark is `begin`, when the imports are done."""

    def __init__(self) -> None:
        self._marks: dict[str, dict[str, float]] = {}
        self.set("begin")

    def set(self, name: str, *, memory: bool = False) -> None:
        """CPU seconds of user and system so far; with `memory` the resident MB once garbage is collected."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        self._marks[name] = {"cpu_s": used.ru_utime + used.ru_stime}
        if memory:
            gc.collect()
            status = Path("/proc/self/status").read_text(encoding="ascii")
            resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
            self._marks[name]["rss_mb"] = int(resident.split()[1]) * 1024 / 1e6

    def tell(self) -> None:
        """Prints all marks."""
        print(json.dumps(self._marks), flush=True)
