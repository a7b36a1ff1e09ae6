"""Whose certificates are trusted, for all sources at once: each reads the file that SSL_CERT_FILE names."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from slipway.fetch.errors import FetchError
from slipway.oci.authorities import KEY, certificates_in

_FORM = "give whole blocks from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"


@contextmanager
def trusting_more(environment: MutableMapping[str, str]) -> Iterator[None]:
    """Adds the authorities whose certificates `CA_CERTIFICATES` holds, as PEM, to those trusted already.

    Their file is gone afterwards. Raises a `FetchError` where the variable holds none.
    """
    if not (given := environment.get(KEY, "").strip()):
        yield
        return
    try:
        more = certificates_in(given)
    except ValueError as error:
        raise FetchError("The model", str(error), _FORM) from error
    known = environment.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    before = Path(known).read_bytes() if known and Path(known).is_file() else b""
    handle, name = tempfile.mkstemp(prefix="slipway-fetch-", suffix=".pem")
    with os.fdopen(handle, "wb") as file:
        file.write(before + f"\n{more}\n".encode())
    environment["SSL_CERT_FILE"] = name
    try:
        yield
    finally:
        Path(name).unlink()
