"""Keeping a slow line's queue on this server, and control traffic first in it; pure.

A line whose rate is known gets one IFB device with an HTB (tc-htb(8)). What leaves over links is redirected to it before WireGuard
encrypts it, as afterwards all packets look alike; what else leaves over the uplink to the internet is redirected to it, too, since it
takes from the same line. The classes are told by the packets' priority, which the nftables rules set (`priority_rules`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from netd.core.throughput import PORT

MAJOR, CONTROL_MINOR, LINKS_MINOR, OTHERS_MINOR = 0x6C61, 0x16, 0x20, 0x30
CONTROL = MAJOR << 16 | CONTROL_MINOR
"""A packet's priority that names the class of control traffic. The handle is one that nobody else has, as other HTBs would take it for a
class of theirs; its last four bits are TC_PRIO_INTERACTIVE, which goes first in queues that know no classes."""
BELOW = 0.95
"""Share of the line's rate that is sent: where the provider's queue stays empty, ours decides."""
SHARES = {CONTROL_MINOR: (0.1, 0.3), LINKS_MINOR: (0.6, 1.0), OTHERS_MINOR: (0.3, 1.0)}
"""Class → (what it has for sure, what it may take), shares of what is sent. Control may not take all: other sites' machines ask this
server's name service."""
QUEUE_SECONDS, QUEUE_LEAST = 0.05, 100_000
"""Of a plain queue; at least a whole packet that the network card is to cut up (64 KiB)."""
OVERHEAD = 80
"""Bytes that a packet inside a tunnel grows by, over IPv6."""
PREFERENCE = {4: 0x6C61, 6: 0x6C62}
"""Of our filters, by which they are found again."""
NEAR = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
)
"""What is on this side of the line: a server with one network card reaches its own network over the same device."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One line. `queue`: the IFB's name; `links`: the interfaces whose packets go over it; `ports`: this server's UDP ports of links;
    `near`: networks that are reached over `device` without the line."""

    queue: str
    device: str
    mbit: float
    links: tuple[str, ...] = ()
    ports: range = range(0)
    near: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """A device and what it should have: "queue" (an IFB), or "filters". `lines` are for tc -batch."""

    kind: str
    device: str
    lines: tuple[str, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join((self.kind, *self.lines)).encode()).hexdigest()[:16]


def queue_name(instance: str, number: int) -> str:
    """Of line `number` of netd.toml."""
    return f"gs{instance}{number}"


def jobs(shapes: Iterable[Shape], leaf: str) -> list[Job]:
    """In an order that never redirects to a device that is not there. `leaf`: "fq_codel" where the kernel has it, else "bfifo"."""
    found = list(shapes)
    queues = [Job("queue", shape.queue, _queue(shape, leaf)) for shape in found]
    links = [Job("filters", link, _from_link(link, shape.queue)) for shape in found for link in shape.links]
    return queues + links + [Job("filters", shape.device, _from_uplink(shape)) for shape in found]


def _queue(shape: Shape, leaf: str) -> tuple[str, ...]:
    rate, name = shape.mbit * 1e6 * BELOW, shape.queue
    limit = max(QUEUE_LEAST, round(rate / 8 * QUEUE_SECONDS))
    lines = [
        f"qdisc add dev {name} root handle {MAJOR:x}: htb default {OTHERS_MINOR:x}",
        _class(name, f"{MAJOR:x}:", 1, rate, rate, 0),
    ]
    for minor, (sure, most) in SHARES.items():
        lines.append(_class(name, f"{MAJOR:x}:1", minor, rate * sure, rate * most, int(minor != CONTROL_MINOR)))
        kind = f"bfifo limit {limit}" if leaf == "bfifo" or minor == CONTROL_MINOR else leaf
        lines.append(f"qdisc add dev {name} parent {MAJOR:x}:{minor:x} {kind}")
    return tuple(lines)


def _class(name: str, parent: str, minor: int, rate: float, most: float, prio: int) -> str:
    overhead = OVERHEAD if minor in (CONTROL_MINOR, LINKS_MINOR) else 0
    return (
        f"class add dev {name} parent {parent} classid {MAJOR:x}:{minor:x} htb rate {max(8000, round(rate))}bit"
        f" ceil {max(8000, round(most))}bit prio {prio} quantum 3000" + (f" overhead {overhead}" if overhead else "")
    )


def _from_link(link: str, queue: str) -> tuple[str, ...]:
    return (f"filter add dev {link} egress protocol all pref {PREFERENCE[4]} {_to(queue)}",)


def _to(queue: str) -> str:
    return f"u32 match u32 0 0 action mirred egress redirect dev {queue}"


def _from_uplink(shape: Shape) -> tuple[str, ...]:
    """Encrypted packets have been in the queue already, and what stays near does not take from the line."""
    start, lines = f"filter add dev {shape.device} egress protocol", []
    near = sorted({*NEAR, *shape.near})
    for version, kind, word in ((4, "ip", "ip"), (6, "ipv6", "ip6")):
        head = f"{start} {kind} pref {PREFERENCE[version]}"
        passing = [
            f"match {word} protocol 17 0xff match {word} sport {port} {mask:#x}" for port, mask in blocks(shape.ports)
        ]
        passing += [f"match {word} dst {net}" for net in near if (":" in net) == (version == 6)]
        lines += [f"{head} u32 {match} flowid {MAJOR:x}:1" for match in passing]
        lines.append(f"{head} {_to(shape.queue)}")
    return tuple(lines)


def blocks(ports: range) -> list[tuple[int, int]]:
    """(port, mask) that together match exactly `ports`, as few as there may be."""
    found, first, end = [], ports.start, ports.stop
    while first < end:
        size = first & -first or 0x1_0000
        while size > end - first:
            size //= 2
        found.append((first, 0xFFFF & ~(size - 1)))
        first += size
    return found


BULK = f"{MAJOR:x}:{LINKS_MINOR:x}"
"""The class of all else that leaves by links, as nft and tc write it."""


def priority_rules(links: str) -> str:
    """For the nftables hook `output`: classes of what this server itself sends over links. Control is BGP, BFD and echoes between the ends
    of a link, but not a measurement of its throughput."""
    priority = "meta priority set"
    return f"""    oifname "{links}" {priority} {BULK}
    oifname . ip daddr @peers4 {priority} {MAJOR:x}:{CONTROL_MINOR:x}
    oifname . ip6 daddr @peers6 {priority} {MAJOR:x}:{CONTROL_MINOR:x}
    oifname "{links}" tcp dport {PORT} {priority} {BULK}
    oifname "{links}" tcp sport {PORT} {priority} {BULK}
"""
