"""Sealing: a payload under the Ed25519 signature of its authority, and the checks on the way back."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from netd.wire.node import SCHEMA, NodeSpec

MAX_SPEC_BYTES = 16 * 1024 * 1024  # 20,000 machines are about 5 MB
Shape = TypeVar("Shape")


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A payload with the Ed25519 signature (RFC 8032) of its authority over exactly these bytes."""

    payload: bytes
    signature: bytes


class SpecError(Exception):
    """A spec that must not be applied; `code` is one of "signature", "schema", "node", "version", "size"."""

    def __init__(self, code: str, text: str, *, version: int = 0) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.version = version
        """Of the spec, when its signature could be believed; else 0."""


def prepare(*shapes: object) -> None:
    """Let msgspec learn the Structs among `shapes` now, at import.

    It does so when it first decodes one, and the process dies when two threads do it at once (a null pointer in 0.22.0).
    """
    for shape in shapes:
        if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
            msgspec.json.Decoder(shape)


def seal(spec: msgspec.Struct, key: Ed25519PrivateKey) -> bytes:
    """The JSON envelope of `spec`, signed."""
    payload = msgspec.json.encode(spec)
    return msgspec.json.encode(Envelope(payload=payload, signature=key.sign(payload)))


def unseal(data: bytes, key: Ed25519PublicKey, *, node: str) -> NodeSpec:
    """A NodeSpec: size, signature, shape and addressee are checked, in this order; raises `SpecError`."""
    spec = open_sealed(data, key, NodeSpec)
    if spec.schema != SCHEMA:
        raise SpecError("schema", f"schema {spec.schema}; this netd knows {SCHEMA}")
    if spec.node != node:
        raise SpecError("node", f"the spec is for {spec.node}, this is {node}")
    return spec


def open_sealed(data: bytes, key: Ed25519PublicKey, shape: type[Shape]) -> Shape:
    """What `seal` closed: size, signature and shape are checked, in this order; raises `SpecError`."""
    if len(data) > MAX_SPEC_BYTES:
        raise SpecError("size", f"a spec of {len(data)} bytes; at most {MAX_SPEC_BYTES} are taken")
    envelope = decode(data, Envelope)
    try:
        key.verify(envelope.signature, envelope.payload)
    except InvalidSignature:
        raise SpecError("signature", "the spec is not signed by its authority") from None
    return decode(envelope.payload, shape)


def decode(data: bytes, shape: type[Shape]) -> Shape:
    """Strict JSON of a shape; raises `SpecError("schema")`."""
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise SpecError("schema", str(error)) from None
