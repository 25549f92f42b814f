"""What runs in a laboratory's overlay: processes by node, links by pair. Looks, changes nothing."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netd.core.overlay import interface
from netd.lab import processes
from netd.lab.layout import members
from netd.lab.overlay import LabOverlay
from netd.lab.world import World
from netd.wire import Link, LinkSpec, SpecError, decode
from netd.wire.envelope import Envelope

THREADS = 4
EXPECTED = ("netd", "zebra", "bgpd", "bfdd", "dnsmasq")
"""Of every node of an overlay; the registry's also has `web`."""
PLAIN = ("mgmtd", "zebra", "bgpd", "bfdd", "dnsmasq", "chronyd", "wireguard-go")


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """A link as one of its nodes sees it."""

    node: str
    link: Link
    up: bool
    """BGP stands over it, in one address family at least."""
    endpoint: str
    """Where the peer is spoken to; "" when that is not known yet."""


def roles(world: World, node: str) -> list[tuple[int, str]]:
    """(pid, "netd", "web", "bgpd", …) of what runs at a node."""
    found = []
    for pid in processes.inside([world.namespace(node)]):
        if role := role_of(_words(pid)):
            found.append((pid, role))
    return sorted(found)


def role_of(words: list[str]) -> str:
    """What a command line is; "" for anything else."""
    if not words:
        return ""
    name = os.path.basename(words[0])
    if name in PLAIN:
        return name
    text = " ".join(words)
    if " -m netd.cli run " in text or "/netd run " in text:
        return "netd"
    return "web" if text.endswith("garage-server web") else ""


def _words(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    return []


def running(world: World) -> dict[str, dict[str, Any]]:
    """By node: how many of which process run, and which are missing."""
    found = {}
    for member in members(world.topology):
        count = Counter(role for _pid, role in roles(world, member.node))
        wanted = (*EXPECTED, *(["web"] if member.number == 0 else []))
        found[member.node] = {"running": dict(count), "missing": [name for name in wanted if not count[name]]}
    return found


def link_ends(overlay: LabOverlay) -> list[LinkEnd]:
    """All ends of all links, as netd's last good documents name them."""
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda member: _ends_of(overlay, member.node, member.number), members(overlay.world.topology))
    return [end for ends in found for end in ends]


def _ends_of(overlay: LabOverlay, node: str, number: int) -> list[LinkEnd]:
    spec = _link_spec(overlay.home(node) / "netd" / "overlay" / "link.json")
    if spec is None:
        return []
    instance = overlay.instance(number)
    peers = _established(overlay.run(node, ["vtysh", "-c", "show bgp summary json"], check=False))
    speaks = _endpoints(overlay.run(node, ["wg", "show", "all", "endpoints"], check=False))
    return [
        LinkEnd(
            node, link, bool({link.peer_ipv4, link.peer_ipv6} & peers), speaks.get(interface(instance, link.number), "")
        )
        for link in spec.links
    ]


def _link_spec(path: Path) -> LinkSpec | None:
    """netd has checked the signature before it kept this."""
    try:
        return decode(decode(path.read_bytes(), Envelope).payload, LinkSpec)
    except (OSError, SpecError):
        return None


def _established(text: str) -> set[str]:
    """Addresses of the peers whose session stands."""
    try:
        families = json.loads(text or "{}")
    except json.JSONDecodeError:
        return set()
    return {
        address
        for family in families.values()
        if isinstance(family, dict)
        for address, peer in family.get("peers", {}).items()
        if peer.get("state") == "Established"
    }


def _endpoints(text: str) -> dict[str, str]:
    """`wg show all endpoints`: interface, key, endpoint."""
    rows = [line.split() for line in text.splitlines()]
    return {row[0]: row[2] for row in rows if len(row) == 3 and row[2] != "(none)"}


def links(ends: Iterable[LinkEnd]) -> list[dict[str, Any]]:
    """One row per link. `state`: "up", "draining", "waiting" (never up at either end), "half" (at one end)."""
    by_number: dict[int, list[LinkEnd]] = {}
    for end in ends:
        by_number.setdefault(end.link.number, []).append(end)
    return [_row(number, found) for number, found in sorted(by_number.items())]


def _row(number: int, ends: list[LinkEnd]) -> dict[str, Any]:
    first, last = ends[0], ends[-1]
    up = sum(end.up for end in ends)
    state = "waiting" if not up else "half" if up < 2 else first.link.state
    return {
        **{"number": number, "state": state, "a": first.node, "b": first.link.peer_node},
        **{"a_speaks_to": first.endpoint, "b_speaks_to": last.endpoint if last is not first else ""},
    }
