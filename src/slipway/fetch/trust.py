"""Whose certificates are trusted, for all sources at once: each reads the file that SSL_CERT_FILE names."""

from __future__ import annotations

import os
import re
import ssl
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from slipway.fetch.errors import CA_CERTIFICATES, FetchError

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\\s]+-----END CERTIFICATE-----")
_FORM = "give whole blocks from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"


def trust_more(environment: MutableMapping[str, str]) -> None:
    """Adds the authorities whose certificates `CA_CERTIFICATES` holds, as PEM, to those trusted already.

    Raises a `FetchError` where it holds none.
    """
    if not (given := environment.get(CA_CERTIFICATES, "").strip()):
        return
    blocks = _CERTIFICATE.findall(given)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata="\n".join(blocks))
    except (ssl.SSLError, ValueError) as error:
        raise FetchError("The model", f"{CA_CERTIFICATES} does not hold certificates", _FORM) from error
    known = environment.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    before = Path(known).read_bytes() if known and Path(known).is_file() else b""
    handle, name = tempfile.mkstemp(prefix="slipway-fetch-", suffix=".pem")
    with os.fdopen(handle, "wb") as file:
        file.write(b"\n".join([before, *(block.encode() for block in blocks), b""]))
    environment["SSL_CERT_FILE"] = name
