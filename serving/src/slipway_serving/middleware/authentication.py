"""Who may ask: API keys from a file, and signed tokens (`tokens.py`). The same for HTTP and gRPC."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from slipway_serving.errors import UnauthorizedError
from slipway_serving.middleware.files import FollowedFile

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_KEY = re.compile(r"[!-~]{1,512}")
_ASK = "send the header 'Authorization: Bearer KEY', or 'X-API-Key: KEY'"
_DIGEST_KEY = secrets.token_bytes(32)
_DOTS = 2
"""Of a JSON Web Signature in its compact form (RFC 7515, 3.1)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, for logs and traces; never the secret itself."""

    name: str


class Verifier(Protocol):
    """Signed tokens."""

    def verify(self, token: bytes) -> Identity:
        """Raises UnauthorizedError with a reason that a client may know."""


class Authenticator:
    """Lets in who has a key of the file or, where tokens are configured, a token that one of their keys has signed."""

    def __init__(self, keys: FollowedFile[ApiKeys] | None, tokens: Verifier | None = None) -> None:
        self._keys = keys
        self._tokens = tokens

    def authenticate(self, headers: Mapping[bytes, bytes]) -> Identity:
        """`headers` (HTTP) or metadata (gRPC) by lower-case name. Raises UnauthorizedError."""
        presented = _presented(headers)
        if not presented:
            raise UnauthorizedError(f"this server answers only those who have a key: {_ASK}")
        if self._keys is not None:
            name = self._keys.get().find(presented)
            if name is not None:
                return Identity(name)
        if self._tokens is not None and (self._keys is None or presented.count(b".") == _DOTS):
            return self._tokens.verify(presented)
        raise UnauthorizedError("the API key is not valid", "invalid_token")


def _presented(headers: Mapping[bytes, bytes]) -> bytes:
    scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    return headers.get(b"x-api-key", b"").strip()


class ApiKeys:
    """The keys of a file.

    What is kept and looked up are digests under a key that only this process knows. Nobody outside can tell in advance
    which digest a guess has, so the time that a comparison takes says nothing about the keys.
    """

    def __init__(self, names: Mapping[bytes, str]) -> None:
        self._names = names

    def find(self, key: bytes) -> str | None:
        """The key's name, None where there is no such key."""
        return self._names.get(_digest(key))


def _digest(key: bytes) -> bytes:
    return hashlib.blake2b(key, key=_DIGEST_KEY, digest_size=32).digest()


def parse_keys(data: bytes) -> ApiKeys:
    """Reads one key a line, as `key` or `name:key`; empty lines and those with # do not count.

    Raises ValueError with the number of the line, and never with what is in it.
    """
    names: dict[bytes, str] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        text = line.strip().removeprefix("\ufeff")
        if not text or text.startswith("#"):
            continue
        name, separator, key = text.partition(":") if ":" in text else ("", "", text)
        if separator and not _NAME.fullmatch(name):
            raise ValueError(f"line {number}: a name, before the first ':', has letters, digits, '.', '_', '@' and '-'")
        if not _KEY.fullmatch(key):
            raise ValueError(f"line {number}: a key has 1 to 512 visible ASCII characters, and no spaces")
        digest = _digest(key.encode())
        if digest in names:
            raise ValueError(f"line {number} has a key that an earlier line has too")
        names[digest] = name or f"key-{number}"
    if not names:
        raise ValueError("the file has no keys, so nobody could be let in; write one a line, as name:key")
    return ApiKeys(names)
