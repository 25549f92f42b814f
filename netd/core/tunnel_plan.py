"""The difference between wanted and present WireGuard tunnels, as a value. Secrets are compared and passed on, never printed."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from netd.core.overlay import interface
from netd.core.path_mtu import LEAST, MOST
from netd.wire import Link, LinkSpec

KEEPALIVE = 25
"""Seconds; keeps a NAT's hole open (WireGuard's quick start)."""
ANYWHERE = "0.0.0.0/0, ::/0"


@dataclass(frozen=True, slots=True)
class Interface:
    """A tunnel's interface as it is. Keys in base64; `addresses` as CIDRs; `handshake` in seconds since 1970, 0 for never."""

    public_key: str = ""
    port: int = 0
    peer_key: str = ""
    psk: str = field(default="", repr=False)
    endpoint: str | None = None
    handshake: int = 0
    received: int = 0
    sent: int = 0
    addresses: frozenset[str] = frozenset()
    mtu: int = 0
    up: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """`kind`: "make" or "remove" (an interface), "configure" (`secret` is what `wg setconf` reads), "endpoint", "ip" (a line of ip
    -batch). `text` may be printed."""

    kind: str
    name: str
    text: str = ""
    secret: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.text}" if self.kind == "ip" else f"{self.kind} {self.name} {self.text}".rstrip()


def plan_tunnels(
    instance: str,
    spec: LinkSpec,
    present: Mapping[str, Interface],
    private: Mapping[int, str],
    public: Mapping[int, str],
    endpoints: Mapping[int, str | None],
    mtus: Mapping[int, int],
) -> list[Step]:
    """`private`, `public`: this node's key pairs by number. `endpoints`: where each link's peer is to be spoken to now. `mtus`: of the
    links whose way was measured; the others keep what they have, as netd may just have started. Interfaces of ours that no link wants
    are removed last, so that a rotation never is without a way; before all else where a link needs their port or address."""
    wanted = {interface(instance, link.number): link for link in spec.links}
    gone = sorted(set(present) - set(wanted))
    ports = {link.port for link in spec.links}
    addresses = {address for link in spec.links for address in _addresses(link)}
    in_the_way = [name for name in gone if present[name].port in ports or present[name].addresses & addresses]
    steps = [Step("remove", name) for name in in_the_way]
    for name, link in wanted.items():
        seen = present.get(name)
        steps += _tunnel(name, link, seen, private[link.own_key], public[link.own_key], endpoints.get(link.number))
        steps += _ip(name, link, seen or Interface(), mtus.get(link.number))
    return steps + [Step("remove", name) for name in gone if name not in in_the_way]


def _addresses(link: Link) -> set[str]:
    """As ip shows them."""
    return {f"{link.ipv4}/31", f"{ipaddress.IPv6Address(link.ipv6)}/127"}


def _tunnel(
    name: str, link: Link, seen: Interface | None, private: str, public: str, endpoint: str | None
) -> list[Step]:
    steps = [] if seen else [Step("make", name)]
    now = seen or Interface()
    configured = (now.public_key, now.port, now.peer_key, now.psk) == (public, link.port, link.peer_key, link.psk)
    if not configured:
        text = f"port {link.port}, peer {link.peer_node} of {link.peer_site} ({fingerprint(link.peer_key)})"
        steps.append(Step("configure", name, text, config(link, private, endpoint)))
    elif endpoint and endpoint != now.endpoint:
        steps.append(Step("endpoint", name, f"{link.peer_key} {endpoint}"))
    return steps


def _ip(name: str, link: Link, now: Interface, measured: int | None) -> list[Step]:
    wanted = _addresses(link)
    kept = {address for address in now.addresses if not address.startswith("fe80:")}
    lines = [f"addr del {address} dev {name}" for address in sorted(kept - wanted)]
    lines += [f"addr add {address} dev {name}{' nodad' if ':' in address else ''}" for address in sorted(wanted - kept)]
    mtu = measured or (now.mtu if now.up and LEAST <= now.mtu <= MOST else MOST)
    if (now.mtu, now.up) != (mtu, True):
        lines.append(f"link set {name} mtu {mtu} up")
    return [Step("ip", name, line) for line in lines]


def config(link: Link, private: str, endpoint: str | None) -> str:
    """What `wg setconf` reads (wg(8)); secret."""
    lines = [
        *("[Interface]", f"PrivateKey = {private}", f"ListenPort = {link.port}"),
        *("[Peer]", f"PublicKey = {link.peer_key}", f"PresharedKey = {link.psk}", f"AllowedIPs = {ANYWHERE}"),
        f"PersistentKeepalive = {KEEPALIVE}",
    ]
    return "\n".join([*lines, *([f"Endpoint = {endpoint}"] if endpoint else [])]) + "\n"


def fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def parse_dump(text: str, prefix: str) -> dict[str, Interface]:
    """`wg show all dump` of interfaces whose names begin with `prefix`; the first line of each is the interface, the next its peer."""
    found: dict[str, Interface] = {}
    for line in text.splitlines():
        name, *words = line.split("\t")
        if not name.startswith(prefix):
            continue
        if len(words) == 4:
            found[name] = Interface(public_key=_known(words[1]), port=int(words[2]))
        elif len(words) == 8 and name in found:
            own = found[name]
            found[name] = Interface(
                public_key=own.public_key,
                port=own.port,
                peer_key=words[0],
                psk=_known(words[1]),
                endpoint=_known(words[2]) or None,
                handshake=int(words[4]),
                received=int(words[5]),
                sent=int(words[6]),
            )
    return found


def _known(word: str) -> str:
    return "" if word == "(none)" else word
