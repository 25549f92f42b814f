"""The steps by which a server becomes a node, in their order, and how far along each is."""

from __future__ import annotations

STEPS: dict[str, tuple[int, int]] = {
    "connect": (0, 3),
    "check": (3, 8),
    "copy": (8, 15),
    "packages": (15, 60),
    "certificate": (60, 68),
    "register": (68, 70),
    "netd": (70, 90),
    "report": (90, 99),
}
"""step → per cent at its begin and end, by what they took on a new Debian server with a mirror near by."""
LEAVING = ("revoke", "netd", "key")
"""Of a node that is removed."""


def percent(step: str, fraction: float = 0.0) -> int:
    """Of the whole, `fraction` (0-1) of the step being done."""
    begin, end = STEPS[step]
    return round(begin + (end - begin) * min(1.0, max(0.0, fraction)))
