"""The text of an invitation: a secret, and what the registry must prove to be."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from netd.errors import NetdError

PREFIX = "gj1"
HINT = "paste the whole token, as the registry's operator handed it over"


@dataclass(frozen=True, slots=True)
class Token:
    """`secret` is told to the registry once; the rest stays here."""

    secret: str
    registry_key: bytes
    """SHA-256 of the registry's Ed25519 public key (its 32 bytes)."""
    certificate: bytes
    """SHA-256 of its TLS certificate (DER); empty: a certificate that the server's authorities vouch for."""


def parse_token(text: str) -> Token:
    """`gj1.SECRET.KEY.CERTIFICATE`, the last three in base64url; raises NetdError("token") that does not repeat it."""
    parts = text.strip().split(".")
    if len(parts) != 4 or parts[0] != PREFIX:
        raise NetdError("token", "that is no invitation's token", hint=HINT)
    key, certificate = _digest(parts[2]), _digest(parts[3])
    if not key or not parts[1]:
        raise NetdError("token", "the token is cut off", hint=HINT)
    return Token(parts[1], key, certificate)


def _digest(text: str) -> bytes:
    try:
        found = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        found = b"?"
    if len(found) not in (0, 32):
        raise NetdError("token", "the token is damaged", hint=HINT)
    return found
