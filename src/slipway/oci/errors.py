"""The one error of this package."""

from __future__ import annotations


class OciError(Exception):
    """An image that cannot be made, or a registry that did not take it; `hint` is what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
