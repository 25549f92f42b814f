"""Secrets at rest: encrypted with a key that is not in the database; bearer secrets kept only as hashes."""

from __future__ import annotations

import hashlib

from cryptography.fernet import Fernet, InvalidToken

from garage.errors import N_, GarageError


class Vault:
    """Authenticated encryption (Fernet: AES-128-CBC with HMAC-SHA256) of values that the database must not hold in clear."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)

    def lock(self, secret: bytes) -> bytes:
        return self._fernet.encrypt(secret)

    def unlock(self, token: bytes) -> bytes:
        try:
            return self._fernet.decrypt(token)
        except InvalidToken:
            raise GarageError(
                "config",
                N_("a stored secret cannot be read with this garage's key"),
                hint=N_("keys/secret.key and the database must come from the same backup"),
            ) from None


def digest(secret: str) -> str:
    """What is stored of a random bearer secret (256 bits of entropy, so a plain SHA-256 is enough)."""
    return hashlib.sha256(secret.encode()).hexdigest()
