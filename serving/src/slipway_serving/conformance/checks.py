"""What a check is, and how all of them are run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from http.client import HTTPException
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slipway_serving.conformance.target import Target

Run = Callable[["Target"], str]
"""Performs a check and returns what was seen; raises one of the exceptions below otherwise."""


class Level(StrEnum):
    """How binding a check is."""

    REQUIRED = "required"
    """The protocol demands it of every server, or of every server that offers gRPC."""
    EXTENSION = "extension"
    """A server may leave it out; where it offers it, it has to work as its text says."""
    ROBUST = "robust"
    """The protocol leaves it open, or other standards rule it: what clients and operators rely on all the same."""


class Outcome(StrEnum):
    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    NOT_SUPPORTED = "not supported"
    """The server says that it does not offer this."""
    NOT_TESTED = "not tested"
    """The model that was named cannot show it, or it was not asked for."""


class CheckFailed(Exception):  # noqa: N818  # an outcome
    """The server does not do what the check demands; the message is what was seen."""


class NotSupported(Exception):  # noqa: N818  # an outcome
    """The server does not offer what is checked."""


class NotTested(Exception):  # noqa: N818  # an outcome
    """The check cannot be made here; the message says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table."""

    id: str
    group: str
    level: Level
    says: str
    """What a server has to do."""
    section: str
    """Where that is written."""
    run: Run = field(repr=False)


@dataclass(frozen=True, slots=True)
class Result:
    check: Check
    outcome: Outcome
    seen: str


class Group:
    """Checks of one subject; its methods are decorators for functions that perform one."""

    def __init__(self, name: str, section: str) -> None:
        self.name = name
        self.checks: list[Check] = []
        self._section = section

    def add(self, level: Level, name: str, says: str, run: Run, section: str = "") -> None:
        self.checks.append(Check(f"{self.name}.{name}", self.name, level, says, section or self._section, run))

    def _decorator(self, level: Level, name: str, says: str, section: str) -> Callable[[Run], Run]:
        def decorate(run: Run) -> Run:
            self.add(level, name, says, run, section)
            return run

        return decorate

    def required(self, name: str, says: str, section: str = "") -> Callable[[Run], Run]:
        return self._decorator(Level.REQUIRED, name, says, section)

    def extension(self, name: str, says: str, section: str = "") -> Callable[[Run], Run]:
        return self._decorator(Level.EXTENSION, name, says, section)

    def robust(self, name: str, says: str, section: str = "") -> Callable[[Run], Run]:
        return self._decorator(Level.ROBUST, name, says, section)


def expect(condition: bool, seen: str) -> None:
    """Raises CheckFailed with what was seen where the condition does not hold."""
    if not condition:
        raise CheckFailed(seen)


def run(checks: Iterable[Check], target: Target) -> Iterator[Result]:
    """Performs the checks one after the other. Never raises for what a server does."""
    for check in checks:
        outcome, seen = _perform(check, target)
        yield Result(check, outcome, seen)


def _perform(check: Check, target: Target) -> tuple[Outcome, str]:
    try:
        return Outcome.PASS, check.run(target)
    except CheckFailed as failure:
        return Outcome.FAIL, str(failure)
    except NotSupported as reason:
        return Outcome.NOT_SUPPORTED, str(reason)
    except NotTested as reason:
        return Outcome.NOT_TESTED, str(reason)
    except TimeoutError:
        return Outcome.FAIL, "no answer in time"
    except (OSError, HTTPException) as error:
        return Outcome.FAIL, f"no valid HTTP answer: {type(error).__name__} {error}".strip()
