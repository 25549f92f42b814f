"""NodeSpec: all that a controller wants of one node; Report: what netd says about it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from netd.wire.shapes import IfName, Ipv4, Ipv6, Label, Mac, Prefix4, Prefix6, Text

SCHEMA = 1
LIMITS = "limits"
"""What a netd says when it asks for its spec and understands machines' limits: older ones would refuse a spec that has them."""


class Bridge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The node's bridge. Every node of a site has the same gateway addresses and MAC, as host addresses (/32, /128)."""

    name: IfName
    mac: Mac
    ipv4: Ipv4
    ipv6: Ipv6
    site_ipv4: Prefix4
    """The site's whole prefix, e.g. "10.31.0.0/20": the only special-purpose range that machines reach."""
    site_ipv6: Prefix6


class MachineNet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A machine's place in the network of its node; complete before it boots. What is as usual is not sent, so that a netd which knows
    nothing of it goes on understanding its specs."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,64}\Z")]
    tap: IfName
    mac: Mac
    ipv4: Ipv4
    ipv6: Ipv6
    name: Label
    project: Label
    arriving: bool = False
    """It runs on another node and is about to come: rules, DHCP and names stand, but nothing is sent to it here yet, and no other node is
    told that it is here."""
    net_mbit: Annotated[int, msgspec.Meta(ge=0, le=400_000)] = 0
    """10⁶ bits per second that it may send, and as many that it may receive; 0: any. Sent to a netd that knows `LIMITS` alone."""
    connections: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    """Tracked connections that it may have open, IPv4 and IPv6 together; 0: as many as the node lets any machine have. As above."""


class MachineName(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A machine of another node of this site, as DNS has it."""

    name: Label
    project: Label
    ipv4: Ipv4
    ipv6: Ipv6


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
    peers: tuple[Label, ...] = ()
    """The controller's other nodes of this site: the registry may link them with this one as such."""
    elsewhere: tuple[MachineName, ...] = ()
    """Machines of the other nodes: their names are served here, too."""


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
    trouble: Text = ""
    """Why what is wanted of this node is not in force, e.g. a program that fails; tried again and again."""
    site: Label | None = None
    """The name that an overlay's invitation gave this site; None for a lone one."""
    domain: Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[a-z0-9.-]*\Z")] = ""
    ipv4: Prefix4 | None = None
    ipv6: Prefix6 | None = None
    """What the registry allots to this site."""
