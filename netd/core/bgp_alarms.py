"""Who announces what is not their own, out of what the filters refused; pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from netd.core.floor import Network
from netd.wire import Allotment, Table

MOST = 20


def alarms(filtered: Iterable[tuple[str, Mapping[str, Any]]], table: Table, own_asn: int) -> tuple[str, ...]:
    """`filtered`: (site of the neighbour, FRR's "filtered-routes json"). Every site filters what it sends, so the neighbour itself is
    to blame. A path through this site is BGP's own loop check and no alarm."""
    owners: dict[Network, Allotment] = {
        ipaddress.ip_network(net): site for site in table.sites for net in (site.ipv4, site.ipv6)
    }
    found: set[str] = set()
    for neighbour, answer in filtered:
        for prefix, route in routes(answer):
            path = [int(word) for word in str(route.get("path", "")).split() if word.isdecimal()]
            if own_asn in path:
                continue
            owner = owners.get(prefix)
            if owner is None or not path or path[-1] != owner.asn:
                whose = f"belongs to {owner.site}" if owner else "belongs to nobody"
                found.add(f"site {neighbour} announces {prefix}, which {whose}")
    return tuple(sorted(found)[:MOST])


def routes(answer: Mapping[str, Any]) -> list[tuple[Network, Mapping[str, Any]]]:
    """(prefix, route) of FRR's answer, which names its table differently from version to version."""
    table: Mapping[str, Any] = next(
        (answer[key] for key in ("receivedRoutes", "filteredRoutes", "routes") if isinstance(answer.get(key), dict)), {}
    )
    found: list[tuple[Network, Mapping[str, Any]]] = []
    for prefix, route in table.items():
        entry = route[0] if isinstance(route, list) and route else route
        try:
            found.append((ipaddress.ip_network(prefix), entry if isinstance(entry, dict) else {}))
        except ValueError:
            continue
    return found
