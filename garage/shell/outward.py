"""Which address this server has towards the internet."""

from __future__ import annotations

import socket

DOCUMENTATION = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""RFC 5737 and RFC 3849: nobody's. Connecting a UDP socket sends nothing, it only asks the routing table."""


def outward() -> str:
    """As a URL writes it, IPv4 first; empty without a default route."""
    for family, target in DOCUMENTATION:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))
            except OSError:
                continue
            address = str(probe.getsockname()[0])
            return f"[{address}]" if ":" in address else address
    return ""
