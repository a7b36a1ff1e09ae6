"""What can go wrong between a person and a cluster, in that person's words.

    SlipwayError
     ├─ InvalidInputError    what was given is wrong; nothing was sent
     ├─ RefusedError         the API server refused the object
     ├─ FailedError          it cannot succeed by waiting
     ├─ WaitTimeoutError     not ready yet; it goes on without us
     ├─ PausedError          it waits for something that is not ours to give, such as room on a node
     ├─ NotFoundError        no such object, context, cluster, or kind (the platform is not installed)
     ├─ ForbiddenError       not authenticated, or not allowed
     ├─ UnreachableError     no API server answered
     └─ ConflictError        somebody else owns the field, or changed the object

Every error has a message of one sentence (what, where, why) and a hint: what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING

from slipway.kit import client as kit

if TYPE_CHECKING:
    from collections.abc import Iterable


_HOLDER = re.compile(r'conflict with "([^"]+)"')


class SlipwayError(Exception):
    """The base of all errors of the client."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInputError(SlipwayError):
    """What was given is wrong; nothing was sent."""


class RefusedError(SlipwayError):
    """The API server refused the object; nothing changed."""


class FailedError(SlipwayError):
    """The work ended without success."""


class WaitTimeoutError(SlipwayError):
    """The time to wait is over; the work goes on."""


class PausedError(SlipwayError):
    """The work waits for something that is not ours to give; it goes on when that is there."""


class NotFoundError(SlipwayError):
    """What was named does not exist."""


class ForbiddenError(SlipwayError):
    """Not authenticated, or not allowed."""


class UnreachableError(SlipwayError):
    """No API server answered."""


class ConflictError(SlipwayError):
    """Another manager owns the field, or the object changed meanwhile."""


def near(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` when one of the known words is near, else nothing."""
    matches = get_close_matches(word, list(known), n=1)
    return f"; did you mean {matches[0]}?" if matches else ""


@contextmanager
def translated(context: str) -> Iterator[None]:
    """Turns the errors of the kit's client into those of this module. `context` names the cluster."""
    try:
        yield
    except kit.Unreachable as error:
        raise UnreachableError(
            f"Cannot reach {context}: {_sentence(error)}",
            "Is the cluster running? `slipway cluster list` shows the local ones; `--context` names another.",
        ) from error
    except kit.ApiError as error:
        raise _translate(error, context) from error


def _translate(error: kit.ApiError, context: str) -> SlipwayError:
    match error:
        case kit.Forbidden():
            return ForbiddenError(
                f"{context} does not allow this: {_sentence(error)}",
                "Ask its administrator for the right, or name another user's context with `--context`.",
            )
        case kit.NotFound():
            return NotFoundError(_sentence(error))
        case kit.Conflict() | kit.AlreadyExists():
            return _conflict(error)
        case kit.Invalid():
            fields = "; ".join(f"{path}: {problem}" for path, problem in error.causes)
            return RefusedError(f"{context} refused the object: {fields or _sentence(error)}", "Nothing was changed.")
        case _:
            return FailedError(f"{context} answered {error.status} {error.reason}: {_sentence(error)}")


def _conflict(error: kit.ApiError) -> ConflictError:
    """Which fields are whose, where the API server says it, as it does of an apply."""
    held = [(path, found[1]) for path, says in error.causes if (found := _HOLDER.search(says))]
    if not held:
        return ConflictError(_sentence(error), "Look at it with `kubectl get -o yaml --show-managed-fields`.")
    fields = "; ".join(f"{path.removeprefix('.')} is managed by {manager}" for path, manager in held)
    return ConflictError(f"{fields}.", "Change it there, or take it over with --force-conflicts. Nothing was changed.")


def _sentence(error: Exception) -> str:
    """The error's own words on one line, ended by a full stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."
