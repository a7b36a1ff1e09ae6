"""What can go wrong, and which status a client sees.

ServingError
├── ModelLoadError               the server does not start, or the model does not load: a sentence and what to do
└── RequestError                 answered as `{"error": message}` with `status`
    ├── InvalidInputError        400  the request cannot be right for this model
    ├── UnauthorizedError        401  no key or token, or one that is not valid
    ├── ForbiddenError           403
    ├── NotFoundError            404  no such model, version or path
    ├── MethodNotAllowedError    405
    ├── RequestTimeoutError      408  the request did not arrive in time
    ├── BodyTooLargeError        413
    ├── UnsupportedEncodingError 415  a compression that is not known here
    ├── NotRepresentableError    422  the answer exists, but JSON cannot carry it
    ├── HeadersTooLargeError     431
    ├── OverloadedError          429  the queue is full; `Retry-After` says when to come back
    ├── ModelFailedError         500  the model raised; the log has the traceback, the client does not
    ├── NotOfferedError          501  the model does not have what was asked for
    ├── UnavailableError         503  loading, unloaded, or stopping
    │   └── TooManyConnectionsError
    └── DeadlineExceededError    504  the request waited longer than it may
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import ClassVar


class ServingError(Exception):
    """Everything that this package raises on purpose."""


class ModelLoadError(ServingError):
    """The model or its settings cannot be used; `hint` is what a person can do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class RequestError(ServingError):
    """A request that is answered with an error; the message goes to the client."""

    status: ClassVar[int] = 500
    cause: ClassVar[str] = "internal"
    """What the metrics call it: one word for each class, never a text."""
    headers: Mapping[str, str] = {}


class InvalidInputError(RequestError):
    """The request is wrong; the message names the field. Python models may raise it too."""

    status = 400
    cause = "invalid_input"


class UnauthorizedError(RequestError):
    """`code` is an error code of RFC 6750 (3.1), empty where the request brought nothing to judge."""

    status = 401
    cause = "unauthenticated"

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        challenge = 'Bearer realm="slipway-serving"'
        self.headers = {"www-authenticate": f'{challenge}, error="{code}"' if code else challenge}


class ForbiddenError(RequestError):
    status = 403
    cause = "forbidden"


class NotFoundError(RequestError):
    status = 404
    cause = "not_found"


class MethodNotAllowedError(RequestError):
    status = 405
    cause = "method_not_allowed"

    def __init__(self, message: str, allowed: Iterable[str]) -> None:
        super().__init__(message)
        self.headers = {"allow": ", ".join(allowed)}


class BodyTooLargeError(RequestError):
    status = 413
    cause = "body_too_large"
    headers: Mapping[str, str] = {"connection": "close"}


class UnsupportedEncodingError(RequestError):
    status = 415
    cause = "unsupported_encoding"
    headers: Mapping[str, str] = {"accept-encoding": "gzip, deflate"}


class RequestTimeoutError(RequestError):
    status = 408
    cause = "request_timeout"
    headers: Mapping[str, str] = {"connection": "close"}


class HeadersTooLargeError(RequestError):
    status = 431
    cause = "headers_too_large"
    headers: Mapping[str, str] = {"connection": "close"}


class NotRepresentableError(RequestError):
    status = 422
    cause = "not_representable"


class OverloadedError(RequestError):
    status = 429
    cause = "queue_full"
    headers: Mapping[str, str] = {"retry-after": "1"}


class ModelFailedError(RequestError):
    status = 500
    cause = "model_failed"


class NotOfferedError(RequestError):
    status = 501
    cause = "not_offered"


class UnavailableError(RequestError):
    status = 503
    cause = "unavailable"
    headers: Mapping[str, str] = {"retry-after": "1"}


class TooManyConnectionsError(UnavailableError):
    cause = "too_many_connections"
    headers: Mapping[str, str] = {"retry-after": "1", "connection": "close"}


class DeadlineExceededError(RequestError):
    status = 504
    cause = "deadline_exceeded"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest of the known words, else all of them; empty when none is known."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known: {', '.join(names)}" if names else ""
