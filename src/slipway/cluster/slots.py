"""Which node numbers of this machine are taken, across users and state directories.

A slot is a file under `/var/lib/slipway/slots` that names the cluster's directory; without that directory it is free.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from slipway.cluster.errors import ClusterError
from slipway.cluster.layout import SLOTS

MACHINE = Path("/var/lib/slipway")


@contextlib.contextmanager
def machine_lock(machine: Path = MACHINE) -> Iterator[None]:
    """Only one command at a time changes what the whole machine shares."""
    machine.mkdir(parents=True, exist_ok=True)
    with (machine / "lock").open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def taken(machine: Path = MACHINE) -> dict[int, Path]:
    """The slots in use and the directories of their clusters."""
    owners = {int(file.name): Path(file.read_text(encoding="utf-8")) for file in (machine / "slots").glob("[0-9]*")}
    return {slot: owner for slot, owner in owners.items() if owner.is_dir()}


def take(count: int, owner: Path, machine: Path = MACHINE) -> list[int]:
    """Takes the lowest free slots for the cluster in `owner`. Call it under `machine_lock`."""
    used = taken(machine)
    free = [slot for slot in SLOTS if slot not in used][:count]
    if len(free) < count:
        raise ClusterError(
            f"This machine has {len(used)} local nodes already, and room for {len(SLOTS)}.",
            "Delete a cluster: slipway cluster list",
        )
    (machine / "slots").mkdir(exist_ok=True)
    for slot in free:
        (machine / "slots" / str(slot)).write_text(str(owner), encoding="utf-8")
    return free


def release(owner: Path, machine: Path = MACHINE) -> None:
    """Gives back every slot of the cluster in `owner`. Call it under `machine_lock`."""
    for file in (machine / "slots").glob("[0-9]*"):
        if file.read_text(encoding="utf-8") == str(owner):
            file.unlink()


def forget_machine(machine: Path = MACHINE) -> None:
    """Removes the record when no slot is taken. Call it under `machine_lock`."""
    if not taken(machine):
        for file in sorted(machine.rglob("*"), reverse=True):
            if file.name != "lock":
                file.rmdir() if file.is_dir() else file.unlink()
