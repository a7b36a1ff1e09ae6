"""What the API server is told about a kind besides its fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slipway.api.base import ApiModel


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; those of priority 1 only show with `-o wide`."""

    name: str
    type: Literal["string", "integer", "date"]
    json_path: str
    description: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of the group `slipway.dev`. `model` has the fields `spec` and `status`."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    model: type[ApiModel]
    name_pattern: str
    name_most: int
    columns: tuple[Column, ...]
    namespaced: bool = True
