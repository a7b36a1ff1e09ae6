"""What the URI of a model names."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from slipway.fetch.errors import FetchError

SCHEMES = ("s3", "gs", "azure", "https", "hf", "oci")
LONGEST = 4096
FORMS = {
    "s3": "s3://BUCKET/KEY",
    "gs": "gs://BUCKET/OBJECT",
    "azure": "azure://ACCOUNT/CONTAINER/PATH",
    "https": "https://HOST/PATH/FILE",
    "hf": "hf://ORGANISATION/REPOSITORY[@REVISION][/PATH]",
    "oci": "oci://REGISTRY/REPOSITORY[:TAG][@DIGEST]",
}


@dataclass(frozen=True, slots=True)
class Uri:
    """A URI in parts: `path` has no leading slash and is not decoded; `shown` is what may be printed."""

    scheme: str
    host: str
    path: str
    query: str
    shown: str

    @property
    def whole(self) -> str:
        """The URI as it was given, with what must not be printed."""
        return self.shown + (f"?{self.query}" if self.query else "")

    @property
    def last_name(self) -> str:
        """The decoded last part of the path; empty for a path that ends with a slash."""
        return unquote(self.path.rpartition("/")[2])


def read_uri(text: str) -> Uri:
    """The parts of a URI. Raises `FetchError` for a scheme or a form that is not fetched."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        raise FetchError(_short(text), *_unknown(scheme if separator else ""))
    # Keys of object stores may hold '?' and '#'; only the web has queries.
    bare, _, query = rest.partition("#")[0].partition("?") if scheme == "https" else (rest, "", "")
    host, _, path = bare.partition("/")
    shown = f"{scheme}://{host.rpartition('@')[2]}/{path}"
    if "@" in host:
        why = "it holds a user name or password, which everyone who can read pods would see"
        raise FetchError(shown, why, "put credentials into the Secret that spec.model.secretRef names")
    if (
        not host
        or len(text) > LONGEST
        or any(not character.isprintable() for character in text)
        or _lacks(scheme, path)
    ):
        raise FetchError(_short(shown), "that is not a complete URI", f"write it as {FORMS[scheme]}")
    if scheme in {"https", "oci"} and not _is_place(host):
        why = f"{host!r} is no host, or has no port that exists"
        raise FetchError(_short(shown), why, "write HOST or HOST:PORT, with a port from 1 to 65535, in spec.model.uri")
    return Uri(scheme, host, path, query, shown)


def _is_place(host: str) -> bool:
    """Whether it can be connected to. A port that is too high would be taken for another one on the way."""
    try:
        return urlsplit(f"//{host}").port != 0
    except ValueError:
        return False


def _lacks(scheme: str, path: str) -> bool:
    """What a scheme needs after the host: a container, a repository, a file."""
    return scheme in {"azure", "hf", "oci", "https"} and not path.strip("/")


def _unknown(scheme: str) -> tuple[str, str]:
    if scheme == "pvc":
        return "a volume claim is mounted, not fetched", "let the operator run the ModelService, or mount the claim"
    if scheme == "http":
        return "http:// would let anyone on the way change the model", "use https://"
    near = difflib.get_close_matches(scheme, SCHEMES, 1, 0.5)
    known = ", ".join(f"{name}://" for name in SCHEMES)
    hint = f"did you mean {near[0]}://? known are {known}" if near else f"use one of {known}"
    return (f"the scheme {scheme!r} is unknown" if scheme else "it has no scheme"), hint


def _short(text: str) -> str:
    bare = text.partition("?")[0].rpartition("@")[2]
    return bare[:100] or "''"
