"""What slipway-serve is held to, beside the best of the peers. A pure computation on figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from figures import Figures, Spread

OURS = "slipway"
KSERVE = "kserve"
MLSERVER = ("mlserver", "mlserver-inprocess")


@dataclass(frozen=True, slots=True)
class Bound:
    """One sentence of what was promised, and what came out. `value` is None where something was not measured."""

    text: str
    wanted: float
    at_least: bool
    value: float | None
    detail: str = ""

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        met = self.value >= self.wanted if self.at_least else self.value <= self.wanted
        return "met" if met else "MISSED"

    def document(self) -> dict[str, Any]:
        sign = ">=" if self.at_least else "<="
        value = None if self.value is None else round(self.value, 2)
        return {
            "bound": self.text,
            "wanted": f"{sign} {self.wanted:g}",
            "value": value,
            "verdict": self.verdict,
            "detail": self.detail,
        }


def bounds(figures: Figures) -> list[Bound]:
    """Every bound, in the order in which they were set."""
    peers = [name for name in figures.contenders() if name != OURS]
    return [*_speed(figures, peers), *_latency(figures, peers), *_footprint(figures, peers)]


def _speed(figures: Figures, peers: list[str]) -> list[Bound]:
    iris, forest = "iris json c=16", "forest json batching c=64"
    found = [_ratio(figures, "iris, c=16: rps over the best peer's", 3, ours=iris, cases=[iris], peers=peers)]
    for concurrency in (16, 64):
        ours, plain = f"iris json batching c={concurrency}", f"iris json c={concurrency}"
        text = f"iris, batching, c={concurrency}: rps over the best peer's, batching or not"
        found.append(_ratio(figures, text, 8, ours=ours, cases=[ours, plain], peers=peers))
    text = "forest, batching, c=64: rps over MLServer's"
    found.append(_ratio(figures, text, 3, ours=forest, cases=[forest], peers=MLSERVER))
    return found + [bound for concurrency in (1, 16) for bound in _tensor(figures, peers, concurrency)]


def _tensor(figures: Figures, peers: list[str], concurrency: int) -> list[Bound]:
    binary, grpc = f"sum binary c={concurrency}", f"sum grpc c={concurrency}"
    rest, raw = f"1 MiB, REST binary, c={concurrency}: rps over", f"1 MiB, gRPC raw, c={concurrency}: rps over"
    return [
        _ratio(figures, f"{rest} KServe's REST binary", 100, ours=binary, cases=[binary], peers=[KSERVE]),
        _ratio(figures, f"{rest} KServe's gRPC raw", 1.5, ours=binary, cases=[grpc], peers=[KSERVE]),
        _ratio(figures, f"{raw} the best peer's", 1.5, ours=grpc, cases=[grpc], peers=peers),
    ]


def _ratio(
    figures: Figures, text: str, wanted: float, *, ours: str, cases: Iterable[str], peers: Iterable[str]
) -> Bound:
    """Requests a second of ours over those of the fastest of the peers in any of the cases."""
    own = figures.spread(ours, OURS, "rps")
    rivals = [(case, peer) for case in cases for peer in peers if figures.spread(case, peer, "rps")]
    if own is None or not rivals:
        return Bound(text, wanted, at_least=True, value=None)
    case, peer = max(rivals, key=lambda each: figures.median(*each, "rps"))
    theirs = figures.median(case, peer, "rps")
    low, high = (each / theirs for each in (own.least, own.most))
    by_cpu = figures.median(case, peer, "cpu_us") / figures.median(ours, OURS, "cpu_us")
    detail = f"{low:.1f} to {high:.1f} by our rounds; {by_cpu:.1f} by CPU a request; best: {peer}, {case}"
    return Bound(text, wanted, at_least=True, value=own.median / theirs, detail=detail)


def _latency(figures: Figures, peers: Iterable[str]) -> list[Bound]:
    text = "iris, c=16: our p99 over the least p50 of a peer"
    case = "iris json c=16"
    own = figures.spread(case, OURS, "p99_ms")
    others = [(spread.median, peer) for peer in peers if (spread := figures.spread(case, peer, "p50_ms"))]
    if own is None or not others:
        return [Bound(text, 1, at_least=False, value=None)]
    least, peer = min(others)
    return [Bound(text, 1, at_least=False, value=own.median / least, detail=f"{own.median} ms; {peer}: {least} ms")]


def _footprint(figures: Figures, peers: Iterable[str]) -> list[Bound]:
    memory = "resident memory, five models, over the best peer's"
    own = figures.of_start(OURS, "plain", "pss_mib")
    others = [(spread.median, peer) for peer in peers if (spread := figures.of_start(peer, "plain", "pss_mib"))]
    if own is None or not others:
        ratio = Bound(memory, 0.85, at_least=False, value=None)
    else:
        least, peer = min(others)
        detail = f"{own.median} MiB; {peer}: {least} MiB"
        ratio = Bound(memory, 0.85, at_least=False, value=own.median / least, detail=detail)
    bare = figures.installed.get(OURS, {})
    return [
        ratio,
        _at_most("resident memory, five ONNX models, MiB", 130, figures.of_start(OURS, "onnx", "pss_mib")),
        _at_most("start to first prediction, s", 1.5, figures.of_start(OURS, "plain", "start_s")),
        _at_most("start to predictions of all five models, s", 1.5, figures.of_start(OURS, "plain", "all_models_s")),
        Bound("bare install, MiB", 120, at_least=False, value=bare.get("bare_mib")),
        Bound("bare install, distributions", 20, at_least=False, value=bare.get("bare_distributions")),
    ]


def _at_most(text: str, wanted: float, spread: Spread | None) -> Bound:
    if spread is None:
        return Bound(text, wanted, at_least=False, value=None)
    return Bound(text, wanted, at_least=False, value=spread.median, detail=f"{spread.least} to {spread.most}")
