"""Conditions of any object, read without surprises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ConditionView:
    """One condition. `status` is `True`, `False` or `Unknown`; `since` is a timestamp or empty."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: str = ""
    generation: int = 0

    @property
    def holds(self) -> bool:
        """Whether it is true."""
        return self.status == "True"


def conditions(manifest: dict[str, Any]) -> list[ConditionView]:
    """All conditions in `status.conditions`."""
    return read_conditions(manifest.get("status", {}).get("conditions"))


def condition(manifest: dict[str, Any], type_: str) -> ConditionView:
    """The condition of a type; `Unknown` where there is none."""
    return pick(conditions(manifest), type_)


def pick(found: list[ConditionView], type_: str) -> ConditionView:
    """The condition of a type among those found; `Unknown` where there is none."""
    return next((view for view in found if view.type == type_), ConditionView(type_, "Unknown"))


def read_conditions(items: list[dict[str, Any]] | None) -> list[ConditionView]:
    """Conditions from a list in an object."""
    return [
        ConditionView(
            item.get("type", ""),
            item.get("status", "Unknown"),
            item.get("reason") or "",
            item.get("message") or "",
            item.get("lastTransitionTime") or "",
            item.get("observedGeneration") or 0,
        )
        for item in items or []
    ]
