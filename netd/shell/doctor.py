"""What `netd doctor` looks at on this server: programs, clock, ports, firewall, disk. Changes nothing."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from netd.core.bgp_port import bgp_port
from netd.core.desired import Desired
from netd.core.doctor import Clock, Disk, Kernel, Ports
from netd.core.firewall import closing
from netd.core.plan import sysctls
from netd.errors import NetdError
from netd.shell import daemons, kernel, nft
from netd.shell.routes import BIN, daemon_pid
from netd.shell.run import run
from netd.shell.tunnels import has_module

NEEDED = ("ip", "ss", "wg", "vtysh", "dnsmasq", "chronyd")
UNSYNCHRONIZED = 5
"""TIME_ERROR of adjtimex(2)."""
TIME_SERVICES = ("chronyd", "ntpd", "systemd-timesyncd", "systemd-timesyn", "openntpd", "ntpsec", "timesyncd")
BFD = 3784
"""Its control packets (RFC 5881, section 4)."""
SOON = 5.0
"""Seconds for one outside program; each answers in milliseconds."""


def see_kernel(wanted: Desired | None) -> Kernel:
    """`wanted`: what the node's own spec asks for, if it has one."""
    return Kernel(
        module=has_module(),
        wireguard_go=_version("wireguard-go"),
        tun=Path("/dev/net/tun").exists(),
        frr=_version(str(BIN / "bgpd")),
        nft=_version("nft"),
        nft_error=_nft_error(),
        missing=tuple(name for name in NEEDED if shutil.which(name, path=daemons.PATH) is None),
        sysctls=_differing(sysctls(wanted)) if wanted else (),
    )


def _version(program: str) -> str:
    """ "8.4.4" of what `program --version` says; "" without the program."""
    if shutil.which(program, path=daemons.PATH) is None:
        return ""
    with contextlib.suppress(NetdError):
        if found := re.search(r"\d+(\.\d+)+\S*", run([program, "--version"], check=False, timeout=SOON)):
            return found[0]
    return "of unknown version"


def _nft_error() -> str:
    try:
        run(["nft", "list", "tables"], timeout=SOON)
    except NetdError as error:
        return error.text
    return ""


def _differing(wanted: dict[str, str]) -> tuple[tuple[str, str, str], ...]:
    present = kernel.read_sysctls(list(wanted))
    return tuple((key, value, present.get(key, "")) for key, value in wanted.items() if present.get(key) != value)


def see_clock(off: float | None, within: float) -> Clock:
    """`off`, `within`: as the registry's answer told them."""
    return Clock(off, within, _synchronized(), _time_service())


def _synchronized() -> bool:
    """What the kernel says of its clock. Asking sets nothing: all `modes` are 0 (adjtimex(2))."""
    buffer = ctypes.create_string_buffer(512)  # struct timex has 208 bytes or fewer
    return int(ctypes.CDLL(None).adjtimex(buffer)) not in (-1, UNSYNCHRONIZED)


def _time_service() -> str:
    """A running one that sets the clock; our own chronyd (`-x`) does not."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name = (folder / "comm").read_text().strip()
            if name in TIME_SERVICES and b"-x" not in (folder / "cmdline").read_bytes().split(b"\0"):
                return name
    return ""


def see_ports(first: int, count: int, wanted: Collection[int], instance: str, state: Path) -> Ports:
    """The UDP ports from `first` on. Our own name server's questions leave from random ports and are not taken for a thief's."""
    last = min(65_535, first + count - 1)
    ours = _listening(f"gl{instance}")
    helpers = {number for name in daemons.NAMES if (number := daemons.pid(name, state))} | {os.getpid()}
    taken = {
        port: who or "the kernel"
        for port, who, number in _bound()
        if first <= port <= last and number not in helpers and not (port in ours and who in ("", "wireguard-go"))
    }
    return Ports(
        first,
        last,
        tuple(sorted(taken.items())),
        frozenset(wanted),
        _closing(first, last),
        tuple(nft.dropping_elsewhere(f"garage_{instance}")),
        _routing(instance),
    )


def _routing(instance: str) -> tuple[tuple[str, str], ...]:
    """Others at our bgpd's port and at BFD's, which two may bind and only one hears by."""
    if not instance:
        return ()
    found = []
    for kind, flags, port, ours in (("TCP", "-Htlnp", bgp_port(instance), "bgpd"), ("UDP", "-Hulnp", BFD, "bfdd")):
        text, own = run(["ss", flags, f"sport = :{port}"], check=False, timeout=SOON), daemon_pid(instance, ours)
        holders = {(who, int(number)) for who, number in re.findall(r'\("([^"]+)",pid=(\d+)', text)}
        found += [(f"{kind} {port}", f"{who} ({number})") for who, number in sorted(holders) if number != own]
    return tuple(found)


def _bound() -> list[tuple[int, str, int]]:
    """(port, program, pid) of every unconnected UDP socket; "", 0 where the kernel holds it."""
    found = []
    for line in run(["ss", "-Hulnp"], check=False, timeout=SOON).splitlines():
        words = line.split()
        port = words[3].rpartition(":")[2] if len(words) > 3 else ""
        who = re.search(r'\(\("([^"]+)",pid=(\d+)', line)
        if port.isdecimal():
            found.append((int(port), who[1] if who else "", int(who[2]) if who else 0))
    return found


def _listening(prefix: str) -> set[int]:
    """Ports of our tunnels."""
    rows = [line.split() for line in run(["wg", "show", "all", "listen-port"], check=False, timeout=SOON).splitlines()]
    return {int(row[1]) for row in rows if len(row) == 2 and row[0].startswith(prefix) and row[1].isdecimal()}


def _closing(first: int, last: int) -> tuple[tuple[str, bool], ...]:
    """Others' input chains; every garage's own tables let everything in that is not for machines."""
    text = run(["nft", "-j", "list", "chains"], check=False, timeout=SOON)
    chains = [row["chain"] for row in json.loads(text)["nftables"] if "chain" in row] if text.strip() else []
    tables = {(row["family"], row["table"]) for row in chains if row.get("hook") == "input"}
    found: list[tuple[str, bool]] = []
    for family, table in sorted(tables):
        if family in ("ip", "ip6", "inet") and not table.startswith("garage_"):
            found += closing(_rows(family, table), first, last)
    return tuple(found)


def _rows(family: str, table: str) -> list[dict[str, Any]]:
    text = run(["nft", "-j", "list", "table", family, table], check=False, timeout=SOON)
    rows: list[dict[str, Any]] = json.loads(text)["nftables"] if text.strip() else []
    return rows


def see_disk(folder: Path) -> Disk:
    """The file system that `folder` is in, or will be in."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    seen = os.statvfs(folder)
    return Disk(str(folder), seen.f_bavail * seen.f_frsize, os.access(folder, os.W_OK))
