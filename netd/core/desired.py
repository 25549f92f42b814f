"""The wanted network of a node, resolved from spec and floor into plain values; pure."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass

from netd.core.floor import Floor
from netd.core.overlay import Overlay
from netd.wire import MachineNet, NodeSpec

NO_OVERLAY = Overlay()


@dataclass(frozen=True, slots=True)
class Desired:
    """What `plan` compares with what is there."""

    spec: NodeSpec
    floor: Floor
    overlay: Overlay = NO_OVERLAY
    left: frozenset[str] = frozenset()
    """Prefixes that the site had in the spec in force until now, and has no more."""
    tracked: int = 0
    """So many connections this server can keep in mind at once; 0: not known."""

    @property
    def table(self) -> str:
        return f"garage_{self.spec.instance}"

    @property
    def links(self) -> str:
        """All of this instance's link interfaces, as nftables matches them."""
        return f"gl{self.spec.instance}*"


@functools.lru_cache(4096)
def link_local(mac: str) -> str:
    """The link-local address that a guest makes of its MAC (RFC 4291, appendix A: modified EUI-64)."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 0x02
    words = bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]])
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + words))


def own4(machine: MachineNet) -> tuple[str, ...]:
    """IPv4 (and ARP) sources that a tap may use; 0.0.0.0 for DHCP and ARP probes (RFC 5227)."""
    return (machine.ipv4, "0.0.0.0")  # noqa: S104  (an address in a packet, not a bind)


def own6(machine: MachineNet) -> tuple[str, ...]:
    """IPv6 sources that a tap may use; :: for duplicate address detection (RFC 4862)."""
    return (str(ipaddress.IPv6Address(machine.ipv6)), link_local(machine.mac), "::")
