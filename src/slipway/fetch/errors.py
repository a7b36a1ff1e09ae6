"""What can go wrong.

Exception
├── FetchError   final: a person must act
├── Transient    worth another try
└── Changed      the source is not what was listed: list it again
"""

from __future__ import annotations

from slipway.oci.authorities import KEY

NOT_TRUSTED = "the server's certificate is not trusted"
TRUST = f"put its authority's certificate, as PEM, under the key {KEY} of the model's Secret"


class FetchError(Exception):
    """A model that cannot be had: what, why, and what to do, each a part of one sentence without credentials."""

    def __init__(self, what: str, why: str, do: str) -> None:
        self.what, self.why, self.do = what, why, do
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """One line of printable characters: names come from outside."""
        text = f"{self.what} cannot be fetched: {self.why}; {self.do}."
        return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


class Transient(Exception):  # noqa: N818  # a state of the source, which the user sees as a FetchError or never
    """A failure that may pass. `wait`: seconds that the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class Changed(Exception):  # noqa: N818  # see Transient
    """An object is another one than when it was listed."""
