"""What the operator is told at its start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`gateway` is namespace and name of the Gateway that routes belong to, None without one.

    `gateway_url` replaces the URL that the Gateway's status says.
    """

    serving_image: str
    gateway: tuple[str, str] | None = None
    gateway_url: str | None = None
