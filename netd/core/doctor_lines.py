"""What `netd doctor` makes of the lines before this server: NAT, UDP, sizes of packets; pure. What was seen goes in, verdicts come out."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from netd.core.doctor import Level, Verdict
from netd.core.endpoints import FRESH, PRIVATE
from netd.core.volume import OVERHEAD
from netd.wire import Outside

LEAST, FULL = 1280, 1500
"""Bytes: IPv6's least MTU (RFC 8200, section 5); Ethernet's."""
Kind = Literal["none", "cone", "symmetric", "shared", "silent", "absent", "unknown"]


@dataclass(frozen=True, slots=True)
class Echoes:
    """What came back from the registry's UDP echo in one family."""

    version: int
    own: str = ""
    """The address that this server sends from; "" without a way there."""
    asked: bool = False
    """The registry has an address of this family, and it is not on this server."""
    seen: tuple[tuple[int, int, str, int], ...] = ()
    """(source port, port asked, address and port shown)."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Both families and what peers see; `native6`: a global IPv6 address. `ports`: the range of UDP ports."""

    echoes: tuple[Echoes, ...]
    ports: str
    outside: Outside | None = None
    native6: bool = False
    registry_answers: bool = False
    handshakes: tuple[float | None, ...] | None = None
    """Age in seconds per link; None before joining."""


def kind_of(echo: Echoes, way: str = "") -> Kind:
    """What stands before this server. `way`: what the registry makes of the peers' words; several see more than one does."""
    if not echo.own:
        return "absent"
    if not echo.seen:
        named: dict[str, Kind] = {"open": "none", "cone": "cone", "symmetric": "symmetric"}
        return named.get(way, "unknown") if way or not echo.asked else "silent"
    if {row[2] for row in echo.seen} == {echo.own}:
        return "none"
    by_source = {row[0]: {other[2:] for other in echo.seen if other[0] == row[0]} for row in echo.seen}
    if any(len(shown) > 1 for shown in by_source.values()):
        return "symmetric"
    if not any(row[0] == row[3] for row in echo.seen):
        return "shared"
    return "symmetric" if way == "symmetric" else "cone"


WORDS: dict[Kind, str] = {
    "none": "no NAT: reachable as {own}",
    "cone": "a cone NAT: {own} is seen as {address}, ports are kept; links open through it",
    "symmetric": "a symmetric NAT: {own} is seen as {address}, with another port for every destination",
    "shared": "an address shared with others (DS-Lite, MAP-E, a carrier's NAT): {own} is seen as {address} with other ports ({ports})",
    "silent": "kind unknown: no UDP echo came back from the registry",
    "unknown": "kind unknown: the registry has no address of this family, and no peer has seen this node",
    "absent": "this server has no way to the internet",
}


def judge_nat(lines: Lines) -> list[Verdict]:
    if not any(echo.own for echo in lines.echoes):
        todo = "is the cable in? ip route show default; ip -6 route show default"
        return [Verdict("internet", "fail", "neither IPv4 nor IPv6 leads anywhere", todo)]
    return [_nat(lines, echo) for echo in lines.echoes]


def _nat(lines: Lines, echo: Echoes) -> Verdict:
    seen_way, address = "", ""
    if lines.outside and (shown := lines.outside.address6 if echo.version == 6 else lines.outside.address4):
        seen_way, address = (lines.outside.way6 if echo.version == 6 else lines.outside.way4), shown
    kind = kind_of(echo, seen_way)
    if kind == "unknown" and echo.own and not _private(echo.own):
        return Verdict(
            f"nat ipv{echo.version}", "ok", f"{echo.own} is a public address; nobody outside has told what they see"
        )
    rows = {row[2]: None for row in echo.seen}
    ports = ", ".join(str(port) for port in sorted({row[3] for row in echo.seen})[:4])
    told = WORDS[kind].format(own=echo.own, address=", ".join(rows) or address, ports=ports)
    level: Level = "ok"
    todo = ""
    if kind in ("symmetric", "shared") and not (echo.version == 4 and lines.native6):
        level = "warn"
        todo = f"links to sites behind such a line go through a hub; better: native IPv6, or UDP {lines.ports} forwarded to this server"
    return Verdict(f"nat ipv{echo.version}", level, told, todo)


def _private(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return any(found.version == net.version and found in net for net in PRIVATE)


def judge_udp(lines: Lines) -> list[Verdict]:
    """Whether UDP passes at all."""
    echoed = any(echo.seen for echo in lines.echoes)
    ages = lines.handshakes or ()
    fresh = sum(age is not None and age < FRESH for age in ages)
    asked = any(echo.asked and echo.own for echo in lines.echoes)
    if fresh:
        return [Verdict("udp", "ok", f"passes: {fresh} of {len(ages)} links have a fresh handshake")]
    if echoed and not ages:
        return [Verdict("udp", "ok", "passes: the registry's echo answers")]
    if echoed:
        todo = f"the peers' lines may be closed: look at nat and ports there; let UDP {lines.ports} in here"
        return [Verdict("udp", "fail", "passes to the registry, but no link has a handshake", todo)]
    if not lines.registry_answers or not (asked or ages):
        return [Verdict("udp", "ok", "not looked into: there is nobody to ask")]
    todo = f"a firewall on the way drops UDP: open it outwards to any port, and inwards {lines.ports}; links need it (TLS does not)"
    if ages:
        told = "seems blocked: the registry answers by TCP, but no link has a handshake and no echo comes back"
        return [Verdict("udp", "fail", told, todo)]
    told = "seems blocked: the registry answers by TCP, but not by UDP"
    return [Verdict("udp", "warn", told, f"{todo}; or the registry's line lets no UDP in: ask its operator")]


@dataclass(frozen=True, slots=True)
class Path:
    """Sizes (whole IP packets, bytes) that reached the registry, of those tried."""

    version: int
    tried: tuple[int, ...]
    passed: tuple[int, ...]


def judge_mtu(paths: Sequence[Path], links: Mapping[str, tuple[int, int]]) -> list[Verdict]:
    """`links`: peer → (MTU of the interface, version of IP that carries it)."""
    best = {path.version: max(path.passed) for path in paths if path.passed}
    sizes = _sizes([mtu for mtu, _ in links.values()])
    if not best:
        return [Verdict("mtu", "ok", f"not measured, as no echo came back{sizes}")]
    told = ", ".join(f"IPv{version} {found} bytes" for version, found in sorted(best.items(), reverse=True))
    told += f" pass to the registry, of up to {max(size for path in paths for size in path.tried)} tried{sizes}"
    if any(found < LEAST + OVERHEAD[version] for version, found in best.items()):
        todo = "IPv6 inside a link needs 1360: raise the line's MTU (a tunnel on the way?), or let ICMP “packet too big” pass"
        return [Verdict("mtu", "warn", told, todo)]
    if large := [peer for peer, (mtu, version) in links.items() if mtu > best.get(version, FULL) - OVERHEAD[version]]:
        todo = (
            "packets of these links are cut up on the way; netd run measures each path and adapts them: is it running?"
        )
        return [Verdict("mtu", "warn", f"{told}; too large: {', '.join(large[:4])}", todo)]
    return [Verdict("mtu", "ok", told)]


def _sizes(mtus: Sequence[int]) -> str:
    if not mtus:
        return ""
    least, most = min(mtus), max(mtus)
    return f"; links of {least if least == most else f'{least} to {most}'} bytes"
