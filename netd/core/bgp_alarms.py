"""Who announces what is not their own, out of what the filters refused; pure.

Every site filters what it sends as it filters what it takes, so whoever sent a refused route is to blame. Documents and routes of two
sites are never of exactly the same moment: whoever accuses looks twice.
"""

from __future__ import annotations

import heapq
import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netd.core.bgp_text import LONGEST_PATH
from netd.core.floor import Network
from netd.wire import Allotment, Table

MOST, MOST_EACH, MOST_LIES = 20, 5, 100
"""Texts, texts about one site, and what of a neighbour is remembered: whoever says thousands of wrong things hides no other one and takes
no memory."""


@dataclass(frozen=True, slots=True, order=True)
class Lie:
    """`rank`: what harms most is told first."""

    site: str
    rank: int
    length: int
    prefix: str
    why: str

    def __str__(self) -> str:
        return f"site {self.site} announces {self.prefix}, {self.why}"


@dataclass(frozen=True, slots=True)
class Heard:
    """What a neighbour sent and the filters refused: prefix → AS path, both as FRR prints them."""

    site: str
    asn: int
    routes: Mapping[str, str]


def lies(heard: Iterable[Heard], table: Table, own_asn: int) -> frozenset[Lie]:
    """A true route through this site is refused by BGP's own loop check, and one that the lists of the moment before did not know yet
    is true, too: neither is a lie. Of a neighbour the worst `MOST_LIES`."""
    owners, found = _Owners(table), set[Lie]()
    for one in heard:
        every = (_lie(one, prefix, path.split(), owners, own_asn) for prefix, path in one.routes.items())
        found.update(heapq.nsmallest(MOST_LIES, filter(None, every)))
    return frozenset(found)


def alarms(found: Iterable[Lie], loud: Mapping[str, int] | None = None) -> tuple[str, ...]:
    """At most `MOST` texts, of every liar the worst first; they fit in a report. `loud`: sites that are not listened to for a while, with
    how many prefixes they sent at least."""
    by_site: dict[str, list[Lie]] = defaultdict(list)
    for lie in sorted(found):
        by_site[lie.site].append(lie)
    texts = [(number, text) for said in by_site.values() for number, text in enumerate(_texts(said))]
    texts += [
        (0, f"site {site} announces at least {count} more things that are wrong")
        for site, count in (loud or {}).items()
    ]
    return tuple(sorted(text for _, text in sorted(texts)[:MOST]))


def accused(texts: Iterable[str]) -> frozenset[str]:
    """Whom texts of `alarms` name; others' texts name nobody."""
    words = [text.split(" ") for text in texts]
    return frozenset(found[1] for found in words if len(found) > 3 and (found[0], found[2]) == ("site", "announces"))


def routes(answer: Mapping[str, Any]) -> dict[str, str]:
    """Prefix → AS path of FRR's answer, which names its table differently from version to version. A route may be the path alone, as
    `path_alone` makes it."""
    table: Mapping[str, Any] = next(
        (answer[key] for key in ("receivedRoutes", "filteredRoutes", "routes") if isinstance(answer.get(key), dict)), {}
    )
    found = {}
    for prefix, route in table.items():
        entry = route[0] if isinstance(route, list) and route else route
        if isinstance(entry := entry.get("path") if isinstance(entry, dict) else entry, str):
            found[prefix] = entry
    return found


def path_alone(value: dict[str, Any]) -> dict[str, Any] | str:
    """For `json.loads(object_hook=…)`: of thousands of routes only what is looked at is kept."""
    path = value.get("path")
    return path if isinstance(path, str) and "bgpOriginCode" in value else value


def _texts(said: Sequence[Lie]) -> list[str]:
    texts = [str(lie) for lie in said[:MOST_EACH]]
    more, least = len(said) - len(texts), "at least " if len(said) >= MOST_LIES else ""
    return [*texts, f"site {said[0].site} announces {least}{more} more things that are wrong"] if more else texts


class _Owners:
    """Allotments by network, and by a network's part."""

    def __init__(self, table: Table) -> None:
        self._sites: dict[tuple[int, int, int], Allotment] = {}
        for site in table.sites:
            for net in map(ipaddress.ip_network, (site.ipv4, site.ipv6)):
                self._sites[_key(net, net.prefixlen)] = site
        self._lengths = sorted({(version, length) for version, length, _ in self._sites}, reverse=True)

    def of(self, net: Network) -> tuple[Allotment | None, bool]:
        """(whose it is, or whose it is a part of; whether it is the whole)."""
        for version, length in self._lengths:
            if version == net.version and length <= net.prefixlen and (site := self._sites.get(_key(net, length))):
                return site, length == net.prefixlen
        return None, False


def _key(net: Network, length: int) -> tuple[int, int, int]:
    return net.version, length, int(net.network_address) >> (net.max_prefixlen - length)


def _lie(heard: Heard, prefix: str, path: Sequence[str], owners: _Owners, own_asn: int) -> Lie | None:
    try:
        net = ipaddress.ip_network(prefix)
    except ValueError:
        return None
    owner, whole = owners.of(net)
    if owner is None:
        return Lie(heard.site, 3, net.prefixlen, prefix, "which belongs to nobody")
    if not whole:
        return Lie(heard.site, 1, net.prefixlen, prefix, f"a part of what belongs to {owner.site}")
    if not path or path[-1] != str(owner.asn):
        return Lie(heard.site, 0, net.prefixlen, prefix, f"which belongs to {owner.site}")
    if str(own_asn) in path:
        return None
    if path[0] != str(heard.asn):
        return Lie(heard.site, 2, net.prefixlen, prefix, "by a way that does not begin with it")
    if len(path) > LONGEST_PATH:
        return Lie(heard.site, 2, net.prefixlen, prefix, f"by a way over {len(path)} sites")
    return None
