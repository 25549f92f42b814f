"""What `netd doctor` makes of names and links; pure. What was seen goes in, verdicts come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netd.core.doctor import Level, Verdict
from netd.core.endpoints import FRESH

LOSS = 0.03
SLOW = 1.0
"""Seconds after which an answer of our own name server is late."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One name asked of the node's own name server. `rcode` None: no answer; 0 and 3 (no such name) are answers of the site."""

    site: str
    name: str
    rcode: int | None
    seconds: float
    linked: bool = True
    """BGP has a way to that site."""


def judge_names(running: bool, own: Asked | None, others: Sequence[Asked]) -> list[Verdict]:
    """`own` was asked while the others were under way."""
    if own is None:
        return [Verdict("names", "ok", "this node has no network of its own yet")]
    if not running or own.rcode is None:
        todo = "see dns.log in netd's folder: another server may have taken port 53 of every address (ss -lunp 'sport = 53')"
        return [Verdict("names", "fail", "the node's own name server does not answer", todo)]
    if own.rcode != 0:
        return [Verdict("names", "fail", f"{own.name} is not known here", "is netd run running? it writes the names")]
    if own.seconds > SLOW:
        todo = (
            "a site that is away must not delay others' names; is the server short of CPU? see dns.log in netd's folder"
        )
        return [Verdict("names", "warn", f"own names take {own.seconds:.1f} s", todo)]
    silent = [other.site for other in others if other.linked and other.rcode not in (0, 3)]
    well = [other.site for other in others if other.rcode in (0, 3)]
    away = [other.site for other in others if not other.linked and other.rcode not in (0, 3)]
    told = f"own in {1000 * own.seconds:.0f} ms"
    told += f", through the forwarder: {', '.join(well)}" if well else ""
    told += f"; away: {', '.join(away)}" if away else ""
    if silent:
        todo = f"does its name server run? netd doctor there; dig @GATEWAY gateway.{silent[0]}.DOMAIN"
        return [Verdict("names", "warn", f"{told}; no answer from {', '.join(silent)}", todo)]
    return [Verdict("names", "ok", told)]


def judge_links(links: Sequence[Mapping[str, Any]], now: float) -> list[Verdict]:
    """`links` as `netd status` has them; a verdict for each that is not well, one for the rest."""
    up = [link for link in links if link["state"] == "up"]
    found = [verdict for link in links if (verdict := _link(link, now, any_up=bool(up)))]
    if not links:
        return [Verdict("links", "ok", "none: this is the only site so far")]
    told = f"{len(up)} of {len(links)} up"
    return [Verdict("links", "ok" if up else "fail", told, "" if up else "see the links below"), *found]


def _link(link: Mapping[str, Any], now: float, *, any_up: bool) -> Verdict | None:
    name = f"link {link['peer_site']}"
    if link["state"] == "up":
        if (loss := link["loss"] or 0.0) > LOSS:
            todo = "the line to that site is bad or full; routes prefer others where there are any"
            return Verdict(name, "warn", f"loses {100 * loss:.0f} % of packets", todo)
        return None
    if link["draining"]:
        return None
    since = f" since {now - link['since']:.0f} s" if link["since"] else ""
    age = link["handshake_age"]
    last = "never a handshake" if age is None else f"last handshake {age} s ago"
    tried = link["endpoint"] or ", ".join(link["candidates"]) or "nowhere: it waits for the peer"
    if age is not None and age < FRESH:
        todo = "the tunnel stands but BGP does not: netd plan; vtysh -N garage_… -c 'show bgp summary'"
    else:
        todo = f"is {link['peer_site']} up? look at udp and nat here and there"
    level: Level = "warn" if any_up else "fail"
    return Verdict(name, level, f"{link['state']}{since}, {last}, tried {tried}", todo)
