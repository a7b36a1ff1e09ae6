"""The one error of this package."""

from __future__ import annotations


class ClusterError(Exception):
    """Something about the machine or a cluster that a person must see to; `hint` is what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
