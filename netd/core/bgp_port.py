"""Where this garage's bgpd listens: a port of its own, so that a server's own bgpd, or another garage's, keeps 179; pure.

On a link a session goes to 179 as everybody expects it (RFC 4271, section 8.2.1); nftables leads what a link's peer sends there to the port
behind it (`nft_overlay.py`). bgpd's own choice of addresses (-l) would keep its routes out of the kernel.
"""

from __future__ import annotations

BGP = 179
FIRST, COUNT = 20_000, 10_000
"""Below the ports that kernels give to connections (32768-60999)."""


def bgp_port(instance: str) -> int:
    """Of the garage with this instance id."""
    return FIRST + int(instance, 36) % COUNT
