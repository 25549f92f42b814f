"""SSH keys: checking what people paste, making host keys."""

from __future__ import annotations

import base64
import hashlib
import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)

from garage.errors import N_, GarageError

TYPES: tuple[str, ...] = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
MIN_RSA_BITS = 2048
"""NIST SP 800-131A: shorter RSA keys are disallowed since 2014."""
MAX_CHARS = 4000


def check_public_key(text: str) -> tuple[str, str]:
    """(the key as one line "TYPE BASE64 COMMENT", its SHA256 fingerprint); raises `invalid_field`."""
    line = text.strip()
    parts = line.split(None, 2)
    if "PRIVATE KEY" in text:
        raise _bad(N_("this is a private key"), N_("never give it away; paste the file that ends in .pub"))
    if len(line) > MAX_CHARS or "\n" in line or len(parts) < 2 or parts[0] not in TYPES:
        raise _bad(
            N_("this is not an OpenSSH public key"),
            N_("paste one line that begins with ssh-ed25519, from a file that ends in .pub"),
        )
    _check_blob(parts[0], parts[1])
    comment = re.sub(r"[^\w@.+:/ -]", "", parts[2])[:100] if len(parts) == 3 else ""
    return f"{parts[0]} {parts[1]} {comment}".strip(), fingerprint(parts[1])


def _check_blob(kind: str, blob: str) -> None:
    data = _decoded(blob)  # strictly: the parser below skips what is not base64, and sshd does not
    if kind.startswith("sk-"):
        if not data[4:].startswith(kind.encode()):
            raise _damaged()
        return
    try:
        key = load_ssh_public_key(f"{kind} {blob}".encode())
    except (ValueError, UnsupportedAlgorithm):
        raise _damaged() from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise _bad(N_("this RSA key is too short"), N_("make a new one: ssh-keygen -t ed25519"))
    if not isinstance(key, ed25519.Ed25519PublicKey | rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise _bad(N_("keys of this kind are not taken"), N_("make a new one: ssh-keygen -t ed25519"))


def _decoded(blob: str) -> bytes:
    try:
        return base64.b64decode(blob, validate=True)
    except ValueError:
        raise _damaged() from None


def _damaged() -> GarageError:
    return _bad(N_("this OpenSSH public key is damaged"), N_("copy the whole line once more"))


def fingerprint(blob: str) -> str:
    """As `ssh-keygen -l` prints it: SHA256: and unpadded base64."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(base64.b64decode(blob)).digest()).decode().rstrip("=")


def make_host_key(seed: bytes, comment: str) -> tuple[bytes, str]:
    """An Ed25519 host key from 32 random bytes: (private key in OpenSSH's format, public key as one line)."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return private, f"{public} {comment}"


def _bad(text: str, hint: str) -> GarageError:
    return GarageError("invalid_field", text, hint=hint, pointer="/public_key")
