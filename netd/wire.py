"""What travels between a controller and netd: the signed NodeSpec down, the Report up.

This module and `netd.core` are all that the controller imports of netd. Shapes are closed: a field that is not listed here
is refused, so that an authority can never say more than this schema lets it.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SCHEMA = 1
MAX_SPEC_BYTES = 16 * 1024 * 1024  # 20,000 machines are about 5 MB

Label = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")]
"""One DNS label (RFC 1123, lower case)."""
Mac = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")]
IfName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9]{1,14}\Z")]
"""A Linux interface name: at most 15 bytes (IFNAMSIZ - 1)."""
Ipv4 = Annotated[str, msgspec.Meta(pattern=r"^[0-9.]{7,15}\Z")]
Ipv6 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f:.]{2,45}\Z")]
"""Digits and dots or colons alone: these texts reach rule sets and configurations, and a scope ("%…") could hold anything."""
Prefix4 = Annotated[str, msgspec.Meta(pattern=r"^[0-9.]{7,15}/[0-9]{1,2}\Z")]
Prefix6 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f:.]{2,45}/[0-9]{1,3}\Z")]
Text = Annotated[str, msgspec.Meta(max_length=200)]


class Bridge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The node's bridge. Every node of a site has the same gateway addresses and MAC, as host addresses (/32, /128)."""

    name: IfName
    mac: Mac
    ipv4: Ipv4
    ipv6: Ipv6
    site_ipv4: Prefix4
    """The site's whole prefix, e.g. "10.31.0.0/20": the only special-purpose range that machines reach."""
    site_ipv6: Prefix6


class MachineNet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A machine's place in the network of its node; complete before it boots."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,64}\Z")]
    tap: IfName
    mac: Mac
    ipv4: Ipv4
    ipv6: Ipv6
    name: Label
    project: Label


class NodeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that a controller wants of one node: whole, versioned, level-triggered."""

    schema: int = SCHEMA
    node: Label
    instance: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]{3}\Z")]
    """Keeps several garages on one server apart: part of every interface, table and domain name. Of fixed length, so that no
    instance's "gtABC…" can begin another's."""
    version: Annotated[int, msgspec.Meta(ge=1)]
    bridge: Bridge
    domain: Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]+\Z", max_length=200)]
    """The site's domain, e.g. "home.garage.internal"; a machine is NAME.PROJECT.DOMAIN."""
    machines: tuple[MachineNet, ...] = ()


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why netd did not take a spec; the last good one stays in force."""

    version: int
    code: Text
    text: Annotated[str, msgspec.Meta(max_length=2000)]


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What netd says about its own node, and about nothing else."""

    node: Label
    applied_version: Annotated[int, msgspec.Meta(ge=0)]
    """The spec version that bridge, DHCP, DNS and filters now follow; 0: none yet."""
    refusal: Refusal | None = None
    boot_id: Annotated[str, msgspec.Meta(max_length=64)] = ""
    ipv6_uplink: bool = False
    """The node has a default IPv6 route, so machines get IPv6 to the internet by masquerade."""
    problems: tuple[Text, ...] = ()


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


def seal(spec: NodeSpec, key: Ed25519PrivateKey) -> bytes:
    """The JSON envelope of `spec`, signed."""
    payload = msgspec.json.encode(spec)
    return msgspec.json.encode(Envelope(payload=payload, signature=key.sign(payload)))


def unseal(data: bytes, key: Ed25519PublicKey, *, node: str) -> NodeSpec:
    """Check size, signature, shape and addressee, in this order; raises `SpecError`."""
    if len(data) > MAX_SPEC_BYTES:
        raise SpecError("size", f"a spec of {len(data)} bytes; at most {MAX_SPEC_BYTES} are taken")
    envelope = _decode(data, Envelope)
    try:
        key.verify(envelope.signature, envelope.payload)
    except InvalidSignature:
        raise SpecError("signature", "the spec is not signed by this node's controller") from None
    spec: NodeSpec = _decode(envelope.payload, NodeSpec)
    if spec.schema != SCHEMA:
        raise SpecError("schema", f"schema {spec.schema}; this netd knows {SCHEMA}")
    if spec.node != node:
        raise SpecError("node", f"the spec is for {spec.node}, this is {node}")
    return spec


def _decode(data: bytes, shape: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise SpecError("schema", str(error)) from None
