"""What is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """Requests of one kind, so many at a time. `protocol` is json, binary (REST with binary tensors) or grpc (raw)."""

    model: str
    protocol: str
    concurrency: int
    batching: bool = False

    @property
    def name(self) -> str:
        return f"{self.model} {self.protocol}{' batching' if self.batching else ''} c={self.concurrency}"


CASES = {
    case.name: case
    for case in (
        Case("iris", "json", 1),
        Case("iris", "json", 16),
        Case("iris", "json", 64),
        Case("mlp", "json", 16),
        Case("sum", "json", 1),
        Case("sum", "binary", 1),
        Case("sum", "binary", 16),
        Case("sum", "grpc", 1),
        Case("sum", "grpc", 16),
        Case("iris", "json", 16, batching=True),
        Case("iris", "json", 64, batching=True),
        Case("forest", "json", 64, batching=True),
    )
}
