"""A security key of software: answers what a page asks `navigator.credentials`, truly or in any wrong way."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import bytes_to_base64url as text

PRESENT, VERIFIED, MADE = 0x01, 0x04, 0x40
"""Flags of authenticator data (WebAuthn level 2, section 6.1)."""


class Key:
    """`counts`: whether it has a signature counter, as keys have and synchronised passkeys have not."""

    def __init__(self, number: int = 1, *, counts: bool = True) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self.id = hashlib.sha256(b"key %d" % number).digest()
        self.counts, self.count = counts, 0

    def create(self, options: str, origin: str, **wrong: Any) -> str:
        """What `navigator.credentials.create` resolves to, as JSON."""
        asked = json.loads(options) | wrong
        numbers = self._private.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (numbers.x, numbers.y))
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        made = b"\0" * 16 + struct.pack(">H", len(self.id)) + self.id + public
        data = self._data(asked["rp"]["id"], PRESENT | MADE) + made
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client = self._client("webauthn.create", asked["challenge"], origin)
        return self._said(clientDataJSON=text(client), attestationObject=text(attestation))

    def get(self, options: str, origin: str, **wrong: Any) -> str:
        """What `navigator.credentials.get` resolves to, as JSON."""
        asked = json.loads(options) | wrong
        self.count += self.counts
        data = self._data(asked["rpId"], PRESENT | VERIFIED)
        client = self._client("webauthn.get", asked["challenge"], origin)
        signature = self._private.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self._said(clientDataJSON=text(client), authenticatorData=text(data), signature=text(signature))

    def _data(self, rp_id: str, flags: int) -> bytes:
        return hashlib.sha256(rp_id.encode()).digest() + struct.pack(">BI", flags, self.count)

    def _client(self, kind: str, challenge: str, origin: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": False}).encode()

    def _said(self, **response: str) -> str:
        name = text(self.id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})
