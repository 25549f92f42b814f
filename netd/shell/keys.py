"""A node's WireGuard key pairs: numbered files that never leave it."""

from __future__ import annotations

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from netd.errors import NetdError
from netd.shell import files


def public(folder: Path, number: int) -> str:
    """The public half of key pair `number`, which is made if it is not there."""
    return _encode(_private(folder, number).public_key().public_bytes_raw())


def private(folder: Path, number: int) -> str:
    """Secret; for WireGuard alone."""
    return _encode(_private(folder, number).private_bytes_raw())


def numbers(folder: Path) -> list[int]:
    """Of the key pairs that exist."""
    return sorted(int(path.name[4:]) for path in folder.glob("key-*") if path.name[4:].isdigit())


def forget(folder: Path, kept: set[int]) -> None:
    """Delete the key pairs that no link uses any more."""
    for number in set(numbers(folder)) - kept:
        (folder / f"key-{number}").unlink(missing_ok=True)


def _private(folder: Path, number: int) -> X25519PrivateKey:
    path = folder / f"key-{number}"
    if (text := files.read(path)) is None:
        text = _encode(X25519PrivateKey.generate().private_bytes_raw())
        files.write(path, text + "\n", 0o600)
    try:
        return X25519PrivateKey.from_private_bytes(base64.b64decode(text, validate=False))
    except ValueError:
        raise NetdError("config", f"{path} is damaged", hint="netd leave, then join again") from None


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
