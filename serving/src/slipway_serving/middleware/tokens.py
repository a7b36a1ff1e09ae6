"""JSON Web Tokens, verified with the public keys of a JWKS file (RFC 7519, RFC 7517). Needs the extra [jwt]."""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from slipway_serving.errors import UnauthorizedError
from slipway_serving.middleware.authentication import Identity
from slipway_serving.middleware.files import FollowedFile

_ALGORITHMS: Mapping[str, tuple[str, ...]] = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
"""By type of key, and all of them asymmetric: with a symmetric one, who can read the JWKS could sign."""
_REMEMBERED = 10_000
_MAX_BYTES = 16 << 10
_LEEWAY_SECONDS = 30
_RSA_BITS = 2048
"""The least that RFC 7518 (3.3) allows."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key, and what it may be used for."""

    key: Any
    algorithms: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class KeySet:
    """Public keys by their `kid`; one without has the empty one. A set equals only itself."""

    keys: Mapping[str, PublicKey] = field(default_factory=dict)

    def find(self, kid: str | None) -> PublicKey | None:
        if kid is None and len(self.keys) == 1:
            return next(iter(self.keys.values()))
        return self.keys.get(kid or "")


def parse_jwks(data: bytes) -> KeySet:
    """Reads a JWKS. Raises ValueError where it holds no public key that verifies signatures."""
    try:
        document = json.loads(data)
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("it is not a JWKS: an object with a list 'keys'")  # noqa: TRY004  # every fault is one kind
    keys = {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or entry.get("kty") not in _ALGORITHMS or entry.get("use", "sig") != "sig":
            continue
        try:
            keys[str(entry.get("kid", ""))] = _public_key(entry)
        except jwt.PyJWTError as error:
            raise ValueError(f"keys[{index}] cannot be used: {type(error).__name__}") from None
        except ValueError as error:
            raise ValueError(f"keys[{index}] cannot be used: {error}") from None
    if not keys:
        raise ValueError(f"it has no public key for signatures (kty {', '.join(_ALGORITHMS)})")
    return KeySet(keys)


def _public_key(entry: dict[str, Any]) -> PublicKey:
    public = {name: value for name, value in entry.items() if name not in ("d", "p", "q", "dp", "dq", "qi", "oth")}
    allowed = _ALGORITHMS[entry["kty"]]
    declared = entry.get("alg")
    if declared is not None:
        allowed = tuple(name for name in allowed if name == declared)
        if not allowed:
            raise ValueError("its algorithm is not one for its type of key")
    key = jwt.PyJWK(public, declared).key
    if entry["kty"] == "RSA" and key.key_size < _RSA_BITS:
        raise ValueError(f"an RSA key has at least {_RSA_BITS} bits")
    return PublicKey(key, allowed)


class Tokens:
    """Verifies tokens; one that is good is remembered until it expires, so that each costs one signature."""

    def __init__(
        self, keys: FollowedFile[KeySet], *, issuer: str = "", audience: str = "", now: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._issuer = issuer or None
        self._audience = audience or None
        self._now = now
        self._known: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()
        self._known_of = keys.get()

    def verify(self, token: bytes) -> Identity:
        """Raises UnauthorizedError."""
        keys = self._keys.get()
        if keys is not self._known_of:
            self._known.clear()
            self._known_of = keys
        digest = hashlib.sha256(token).digest()
        known = self._known.get(digest)
        if known is not None and self._now() < known[1]:
            return known[0]
        claims = self._claims(token, keys)
        identity = Identity(str(claims.get("sub", ""))[:128] or "token")
        self._known[digest] = (identity, float(claims["exp"]))
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return identity

    def _claims(self, token: bytes, keys: KeySet) -> dict[str, Any]:
        if len(token) > _MAX_BYTES:
            raise _refusal(f"it is larger than {_MAX_BYTES} bytes")
        try:
            key = keys.find(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                raise _refusal("this server does not know the key that signed it")
            return jwt.decode(
                token,
                key.key,
                list(key.algorithms),
                options={"require": ["exp"], "verify_aud": self._audience is not None},
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
            )
        except (jwt.PyJWTError, ArithmeticError, TypeError, ValueError) as error:
            raise _refusal(_REASONS.get(type(error), "its form or its signature is wrong")) from None


_REASONS: Mapping[type[Exception], str] = {
    jwt.ExpiredSignatureError: "it has expired",
    jwt.ImmatureSignatureError: "it is not valid yet",
    jwt.InvalidAudienceError: "it is for another audience",
    jwt.InvalidIssuerError: "it is of another issuer",
    jwt.MissingRequiredClaimError: "a claim is missing that it must have (exp, and aud and iss where they are checked)",
    jwt.InvalidAlgorithmError: "its algorithm is not one that this server accepts",
}


def _refusal(reason: str) -> UnauthorizedError:
    return UnauthorizedError(f"the token is not valid: {reason}", "invalid_token")
