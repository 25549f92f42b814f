"""What may be fetched on somebody's behalf: the internet at large, and never the office, ourselves or anything special. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from garage.errors import N_, GarageError
from netd.core.floor import Allowed, Floor

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
PORTS = {"http": 80, "https": 443}
REDIRECTS = 5
URL_MOST = 2000
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9a-fA-F:.]+")
TUNNELS = tuple(map(ipaddress.ip_network, ("64:ff9b:1::/48", "::/96")))
"""IPv6 forms of IPv4 addresses that RFC 6890 does not list: local NAT64 (RFC 8215), IPv4-compatible (deprecated)."""
ELSEWHERE = N_("give an address of the internet, or import the file itself: garage image import NAME FILE --sha256 HEX")

EXAMPLE = N_("e.g. https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-generic-amd64.qcow2")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask."""

    scheme: str
    host: str
    port: int
    path: str
    """With the query."""

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


@dataclass(frozen=True, slots=True)
class Guard:
    """What is out of reach: `floor` has the special ranges, the office and this server's networks; `own` are addresses of ours."""

    floor: Floor
    own: frozenset[Address] = frozenset()

    def check(self, address: str, port: int) -> None:
        """Raises `forbidden` for an address that nobody's request may lead to, however it is written."""
        found = ipaddress.ip_address(address.partition("%")[0])
        if Allowed(str(found), "tcp", port) in self.floor.allowed:
            return
        if (
            found in self.own
            or any(found in net for net in _networks(self.floor, found.version))
            or not found.is_global
        ):
            raise GarageError(
                "forbidden", N_("{address} is out of reach for the garage"), hint=ELSEWHERE, address=str(found)
            )


def _networks(floor: Floor, version: int) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [*map(ipaddress.ip_network, floor.of(version)), *(net for net in TUNNELS if net.version == version)]


def parse_url(text: str, *, pointer: str = "", example: str = EXAMPLE) -> Target:
    """An http or https URL without a password; raises `invalid_field`, and shows `example` then."""
    try:
        return _parsed(text, pointer)
    except GarageError as error:
        error.hint = example
        raise


def _parsed(text: str, pointer: str) -> Target:
    parts = _split(text, pointer)
    if parts.scheme not in PORTS:
        raise _bad(N_("the address begins with https:// or http://"), pointer)
    if parts.username is not None or parts.password is not None:
        raise _bad(N_("no name and no password may be in the address"), pointer)
    host = (parts.hostname or "").rstrip(".")
    with_port = _port(parts, pointer)
    if not HOST.fullmatch(host) or ".." in host:
        raise _bad(N_("the address names no server"), pointer)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, with_port or PORTS[parts.scheme], path)


def _split(text: str, pointer: str) -> SplitResult:
    if len(text) > URL_MOST or not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise _bad(N_("the address has up to {limit} plain characters"), pointer)
    try:
        return urlsplit(text)
    except ValueError:
        raise _bad(N_("the address cannot be read"), pointer) from None


def _port(parts: SplitResult, pointer: str) -> int | None:
    try:
        return parts.port
    except ValueError:
        raise _bad(N_("the address has a port from 1 to 65535"), pointer) from None


def redirected(at: Target, location: str) -> Target:
    """Where an answer sends us; the same rules as for what was asked for."""
    return parse_url(urljoin(at.url, location)) if location else parse_url(location)


def pinned(guard: Guard, addresses: Sequence[str], port: int) -> str:
    """The address to connect to, of all that a name has: one that is out of reach spoils them all. The name is never looked up again."""
    if not addresses:
        raise GarageError("network_error", N_("the server's name has no address"), hint=N_("check the spelling"))
    for address in addresses:
        guard.check(address, port)
    return addresses[0]


def make_guard(networks: Collection[str], allowed: Collection[Allowed], own: Collection[str]) -> Guard:
    """Of what the root-owned files say, and this server's own addresses."""
    return Guard(Floor(tuple(sorted(networks)), tuple(allowed)), frozenset(map(ipaddress.ip_address, own)))


def _bad(text: str, pointer: str) -> GarageError:
    return GarageError("invalid_field", text, pointer=pointer, limit=URL_MOST)
