"""What was measured, round by round, and its medians."""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from load import Measurement

SERVERS = frozenset({"slipway-serving", "kserve", "mlserver", "litserve", "bentoml"})
CARRIERS = frozenset({"numpy", "scikit-learn", "onnxruntime", "uvicorn", "uvloop", "httptools", "grpcio"})


@dataclass(frozen=True, slots=True)
class Spread:
    """Of some rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = list(values)
        return cls(round(statistics.median(found), 3), min(found), max(found))


def _by_two() -> defaultdict[str, defaultdict[str, list[Any]]]:
    return defaultdict(lambda: defaultdict(list))


@dataclass(slots=True)
class Figures:
    """By case, or by setup, and by contender: one entry a round."""

    limit: float
    """Of `strangers_share`: what is above it counts only where nothing is below."""
    settings: dict[str, Any] = field(default_factory=dict)
    runs: defaultdict[str, defaultdict[str, list[Measurement]]] = field(default_factory=_by_two)
    starts: defaultdict[str, defaultdict[str, list[dict[str, float]]]] = field(default_factory=_by_two)
    installed: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def measured(self, case: str, contender: str, measurement: Measurement) -> None:
        self.runs[case][contender].append(measurement)

    def footprint(self, contender: str, setup: str, start: dict[str, float]) -> None:
        self.starts[setup][contender].append({name: round(value, 2) for name, value in start.items()})

    def failed(self, where: str, why: str) -> None:
        self.failures.append(f"{where}: {why}")

    def installs(self, records: dict[str, dict[str, Any]]) -> None:
        self.installed = records

    def contenders(self) -> list[str]:
        return list(dict.fromkeys(name for found in (*self.starts.values(), *self.runs.values()) for name in found))

    def quiet(self, case: str, contender: str) -> list[Measurement]:
        """The undisturbed rounds; all, where every one was disturbed."""
        every = self.runs.get(case, {}).get(contender, [])
        return [each for each in every if each.strangers_share <= self.limit] or every

    def is_disturbed(self, case: str, contender: str) -> bool:
        return all(each.strangers_share > self.limit for each in self.quiet(case, contender))

    def spread(self, case: str, contender: str, figure: str) -> Spread | None:
        """None where it was not measured."""
        rounds = self.quiet(case, contender)
        return Spread.of(getattr(each, figure) for each in rounds) if rounds else None

    def median(self, case: str, contender: str, figure: str) -> float:
        return statistics.median(getattr(each, figure) for each in self.quiet(case, contender))

    def of_start(self, contender: str, setup: str, figure: str) -> Spread | None:
        """None where it was not measured."""
        rounds = self.starts.get(setup, {}).get(contender, [])
        return Spread.of(each[figure] for each in rounds) if rounds else None

    def document(self) -> dict[str, Any]:
        """All of it, as it is kept: medians, and the rounds behind them."""
        names = [each.name for each in dataclasses.fields(Measurement)]
        return {
            "settings": self.settings,
            "runs": _map(self.runs, lambda case, peer, rounds: self._row(case, peer, names, rounds)),
            "starts": _map(self.starts, lambda _setup, _peer, rounds: _columns(rounds)),
            "installed": {name: _without_versions(found) for name, found in self.installed.items()},
            "versions": {name: _key_versions(found["versions"]) for name, found in self.installed.items()},
            "failures": self.failures,
        }

    def _row(self, case: str, peer: str, names: list[str], rounds: list[Measurement]) -> dict[str, Any]:
        medians = {f"median_{name}": round(self.median(case, peer, name), 3) for name in ("rps", "p50_ms", "p99_ms")}
        disturbed = {"disturbed": True} if self.is_disturbed(case, peer) else {}
        return medians | disturbed | {name: [getattr(each, name) for each in rounds] for name in names}


def _map(found: dict[str, Any], row: Callable[[str, str, Any], Any]) -> dict[str, Any]:
    return {outer: {peer: row(outer, peer, rounds) for peer, rounds in inner.items()} for outer, inner in found.items()}


def _columns(rounds: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [each[name] for each in rounds] for name in rounds[0]}


def _without_versions(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("versions", "stamp")}


def _key_versions(listed: list[str]) -> list[str]:
    """The servers and what carries them; every other package is pinned in `peers/`."""
    return [entry for entry in listed if entry.partition("==")[0].lower().replace("_", "-") in SERVERS | CARRIERS]
