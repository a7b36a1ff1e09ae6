"""Which version this is."""

from __future__ import annotations


def version() -> str:
    """The version of the installed distribution."""
    from importlib.metadata import version as installed  # noqa: PLC0415  # only those who ask pay for it

    return installed("slipway")
