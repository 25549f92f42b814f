"""What interfaces have carried, and over which device an address is reached."""

from __future__ import annotations

import functools
import time
from pathlib import Path

from netd.shell.kernel import SYS, ip_json


def steady() -> float:
    """Seconds since the server was started, sleep included; a clock that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@functools.cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def carried(name: str) -> tuple[str, int, int]:
    """(what tells this interface from the next one of its name, bytes, packets), both directions together; OSError without one."""
    folder = SYS / name
    index = (folder / "ifindex").read_text().strip()
    octets, packets = (
        sum(int((folder / "statistics" / f"{way}_{what}").read_text()) for way in ("rx", "tx"))
        for what in ("bytes", "packets")
    )
    return f"{_boot()} {index}", octets, packets


def device_towards(address: str) -> str | None:
    """Of the route that a packet to `address` takes now."""
    rows = ip_json("-6" if ":" in address else "-4", "route", "get", address)
    return str(rows[0]["dev"]) if rows and "dev" in rows[0] else None
