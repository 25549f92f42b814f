"""What `netd doctor` makes of what it has seen of this server: verdicts, each with what to do; pure.

The other half, about registry, lines and links, is in `doctor_overlay.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from netd.core.status_text import size, table

Level = Literal["ok", "warn", "fail"]
MARKS = {"ok": "ok", "warn": "WARN", "fail": "FAIL"}
FRR_LEAST = (8, 4)
"""The first whose JSON and configuration we know (docs/decisions/0070-overlay.md)."""
CLOCK_WARN, CLOCK_FAIL = 5.0, 60.0
"""Seconds: what is told, and from which on a registry refuses to let a site join."""
DISK_WARN, DISK_FAIL = 500e6, 50e6
"""Bytes free. What netd writes is small, but an address or a document that cannot be written is not taken."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`check`: what was looked at; `seen`: what is the case; `todo`: what mends it, "" where nothing has to be done."""

    check: str
    level: Level
    seen: str
    todo: str = ""


def worst(verdicts: Iterable[Verdict]) -> Level:
    levels = {verdict.level for verdict in verdicts}
    return "fail" if "fail" in levels else "warn" if "warn" in levels else "ok"


def doctor_text(verdicts: Sequence[Verdict]) -> str:
    """A table whose first column says how it is in words, what to do below it."""
    text = table([("", "CHECK", "SEEN"), *((MARKS[v.level], v.check, v.seen) for v in verdicts)])
    todo = [f"{MARKS[v.level]} {v.check}: {v.todo}" for v in verdicts if v.todo]
    found = {level: sum(v.level == level for v in verdicts) for level in MARKS}
    end = f"{found['fail']} to mend, {found['warn']} to look at, {found['ok']} well"
    return "\n".join([text, *(["", "What to do:", *todo] if todo else []), "", end])


@dataclass(frozen=True, slots=True)
class Kernel:
    """What links and routes are made with. Versions as the programs print them, "" for a program that is missing."""

    module: bool
    """The kernel makes WireGuard interfaces itself."""
    wireguard_go: str = ""
    tun: bool = True
    """/dev/net/tun is there."""
    frr: str = ""
    nft: str = ""
    nft_error: str = ""
    missing: tuple[str, ...] = ()
    """Other programs that are needed and not there."""
    sysctls: tuple[tuple[str, str, str], ...] = ()
    """(path, wanted, present) of settings that differ."""


def judge_kernel(seen: Kernel) -> list[Verdict]:
    return [_wireguard(seen), _frr(seen), _nft(seen), _programs(seen), _sysctls(seen)]


def _wireguard(seen: Kernel) -> Verdict:
    if seen.module:
        return Verdict("wireguard", "ok", "the kernel's own")
    if not seen.wireguard_go:
        todo = "apt install wireguard-go (or a kernel with the module: modprobe wireguard)"
        return Verdict("wireguard", "fail", "the kernel has no WireGuard, and wireguard-go is missing", todo)
    if not seen.tun:
        todo = "modprobe tun; in a container, give it /dev/net/tun"
        return Verdict("wireguard", "fail", f"wireguard-go {seen.wireguard_go} has no /dev/net/tun", todo)
    return Verdict("wireguard", "ok", f"wireguard-go {seen.wireguard_go}, as the kernel has no module")


def _frr(seen: Kernel) -> Verdict:
    if not seen.frr:
        return Verdict("frr", "fail", "FRR is missing", "apt install frr")
    if version(seen.frr) < FRR_LEAST:
        least = ".".join(map(str, FRR_LEAST))
        return Verdict("frr", "fail", f"FRR {seen.frr}; {least} or later is needed", "upgrade it (deb.frrouting.org)")
    return Verdict("frr", "ok", f"FRR {seen.frr}")


def _nft(seen: Kernel) -> Verdict:
    if not seen.nft:
        return Verdict("nftables", "fail", "nft is missing", "apt install nftables")
    if seen.nft_error:
        todo = "is this root, and has the kernel nf_tables (modprobe nf_tables)?"
        if "SIGSEGV" in seen.nft_error:  # nftables 1.0.6 on what 1.1 wrote, from a container that shares this network
            todo = "tables of a newer nft may be there, which this one cannot read: upgrade nftables, or delete them by the newer one"
        return Verdict("nftables", "fail", f"nft does not work: {seen.nft_error[:150]}", todo)
    return Verdict("nftables", "ok", f"nft {seen.nft}")


def _programs(seen: Kernel) -> Verdict:
    if not seen.missing:
        return Verdict("programs", "ok", "all there")
    packages = {
        "ip": "iproute2",
        "ss": "iproute2",
        "wg": "wireguard-tools",
        "dnsmasq": "dnsmasq-base",
        "chronyd": "chrony",
        "vtysh": "frr",
    }
    todo = f"apt install {' '.join(sorted({packages.get(name, name) for name in seen.missing}))}"
    level: Level = "warn" if set(seen.missing) <= {"chronyd"} else "fail"
    return Verdict("programs", level, f"missing: {', '.join(seen.missing)}", todo)


def _sysctls(seen: Kernel) -> Verdict:
    if not seen.sysctls:
        return Verdict("sysctls", "ok", "as needed")
    told = ", ".join(f"{key.replace('/', '.')} is {present or 'not there'}" for key, _, present in seen.sysctls[:4])
    lines = " ".join(f"{key.replace('/', '.')}={wanted}" for key, wanted, _ in seen.sysctls)
    todo = f"netd run sets them; what sets them back? (look in /etc/sysctl.d) By hand: sysctl -w {lines}"
    return Verdict("sysctls", "fail", told, todo)


def version(text: str) -> tuple[int, ...]:
    """(8, 4, 4) of "8.4.4-1ubuntu1"; () where there is none."""
    found = re.search(r"\d+(\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()


@dataclass(frozen=True, slots=True)
class Clock:
    """`off`: seconds that this clock is ahead of the registry's, None without an answer; `within`: how sure that is.

    `synchronized`: what the kernel says (adjtimex(2)); `service`: a time service that runs, by its process."""

    off: float | None
    within: float = 1.0
    synchronized: bool = True
    service: str = ""


def judge_clock(seen: Clock) -> list[Verdict]:
    return [_offset(seen), _service(seen)]


def _offset(seen: Clock) -> Verdict:
    if seen.off is None:
        return Verdict("clock", "ok", "not compared, as the registry did not answer")
    off = max(0.0, abs(seen.off) - seen.within)
    told = f"{abs(seen.off):.0f} s {'ahead of' if seen.off > 0 else 'behind'} the registry's"
    todo = "set it by NTP: apt install chrony, then chronyc makestep"
    if off >= CLOCK_FAIL:
        return Verdict("clock", "fail", told, todo)
    if off >= CLOCK_WARN:
        return Verdict("clock", "warn", told, todo)
    return Verdict("clock", "ok", "agrees with the registry's")


def _service(seen: Clock) -> Verdict:
    if seen.synchronized:
        return Verdict("time service", "ok", f"the clock is kept{f' by {seen.service}' if seen.service else ''}")
    if seen.service:
        return Verdict(
            "time service", "warn", f"{seen.service} runs but has no time yet", "chronyc sources; is UDP 123 open?"
        )
    return Verdict(
        "time service", "warn", "nothing keeps the clock", "apt install chrony, or: timedatectl set-ntp true"
    )


@dataclass(frozen=True, slots=True)
class Ports:
    """The UDP ports `first` to `last` that links may use. `taken`: (port, by whom) of those bound by others; `wanted`: of links that
    are; `dropping`: others' input chains that drop by default, with whether they name the ports; `forward`: those that drop what is
    forwarded."""

    first: int
    last: int
    taken: tuple[tuple[int, str], ...] = ()
    wanted: frozenset[int] = frozenset()
    dropping: tuple[tuple[str, bool], ...] = ()
    forward: tuple[str, ...] = ()
    routing: tuple[tuple[str, str], ...] = ()
    """("TCP 21790", by whom) of what our BGP and BFD need and others have bound."""


def judge_ports(seen: Ports) -> list[Verdict]:
    return [_taken(seen), _routing(seen), _firewall(seen)]


def _routing(seen: Ports) -> Verdict:
    if not seen.routing:
        return Verdict("routing ports", "ok", "no other BGP or BFD is in the way")
    told = ", ".join(f"{port} is taken by {who}" for port, who in seen.routing)
    todo = "links need it for BGP or BFD: end what has taken it (another bfdd: systemctl stop frr, or bfdd=no in /etc/frr/daemons)"
    return Verdict("routing ports", "fail", told, todo)


def _taken(seen: Ports) -> Verdict:
    span = f"UDP {seen.first}-{seen.last}"
    if not seen.taken:
        return Verdict("ports", "ok", f"{span} free for links")
    told = f"{span}: {', '.join(f'{port} is taken by {who}' for port, who in seen.taken[:4])}"
    if hit := [port for port, _ in seen.taken if port in seen.wanted]:
        todo = f"a link needs {hit[0]}: end what has taken it, or netd leave and join again with --port"
        return Verdict("ports", "fail", told, todo)
    if len(seen.taken) > seen.last - seen.first:
        return Verdict("ports", "fail", f"{told}: none is left", "netd join --port, with a free range")
    return Verdict(
        "ports", "warn", told, "links that are given one of these cannot work: netd join --port, with a free range"
    )


def _firewall(seen: Ports) -> Verdict:
    closed = [chain for chain, named in seen.dropping if not named]
    span = f"{seen.first}-{seen.last}"
    if closed:
        todo = f"let UDP {span} in, e.g. nft insert rule {closed[0]} udp dport {span} accept (ufw allow {seen.first}:{seen.last}/udp)"
        return Verdict(
            "firewall", "warn", f"“{', '.join(closed)}” drops what comes in and does not name UDP {span}", todo
        )
    if seen.forward:
        todo = f'accept what the bridge forwards there, e.g. nft insert rule {seen.forward[0]} iifname "gb*" accept'
        return Verdict("firewall", "warn", f"“{', '.join(seen.forward)}” drops what machines send", todo)
    return Verdict("firewall", "ok", "nobody else's rules are in the way")


@dataclass(frozen=True, slots=True)
class Disk:
    folder: str
    free: float
    """Bytes."""
    writable: bool = True


def judge_disk(seen: Disk) -> list[Verdict]:
    if not seen.writable:
        todo = f"is its file system mounted read-only? mount -o remount,rw; see dmesg ({seen.folder})"
        return [Verdict("disk", "fail", f"{seen.folder} cannot be written", todo)]
    level: Level = "fail" if seen.free < DISK_FAIL else "warn" if seen.free < DISK_WARN else "ok"
    todo = "" if level == "ok" else f"make room on the file system of {seen.folder}"
    return [Verdict("disk", level, f"{size(seen.free)} free in {seen.folder}", todo)]
