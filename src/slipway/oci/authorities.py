"""Certificates of authorities of the user's own, as people paste them: PEM blocks with anything around them."""

from __future__ import annotations

import re
import ssl

KEY = "CA_CERTIFICATES"
"""The key of a Secret, and the variable, that holds them."""

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\\s]+-----END CERTIFICATE-----")


def certificates_in(text: str) -> str:
    """The blocks alone. `ValueError` where there is none, or one that is no certificate."""
    blocks = "\n".join(_CERTIFICATE.findall(text))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=blocks)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"{KEY} does not hold certificates") from error
    return blocks


def trusting(text: str) -> ssl.SSLContext:
    """A context for clients that trusts them besides the authorities of the system. `ValueError` as above."""
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=certificates_in(text))
    return context
