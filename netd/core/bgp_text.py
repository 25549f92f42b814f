"""FRR's configuration of one node, line by line as FRR itself prints it: an unchanged spec is an unchanged text and no difference.

Only the order of the blocks is not FRR's: lists and maps come before the router, so that a new session finds its filters there. With
a delay timer of 0 FRR would not look at routes again after a change of a map (bgp_routemap.c), so it is 1 s; zebra's own, 5 s by
default, would hold the first routes back.

The policy (DESIGN, Network): a prefix is taken only if the registry allotted exactly it to the site at the far end of its AS path, and
this server has nothing against it; the path is short and begins with the neighbour; communities are dropped; what others prefer counts
for nothing here, and packets go to the neighbour itself, whichever next hop it names. The same holds for what is sent.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping

from netd.core.preference import DIRECT, local_preference
from netd.core.wanted import Wanted
from netd.wire import Allotment, Link, LinkSpec

LONGEST_PATH = 8
"""Sites on the way; two hubs and both ends make four."""
PREPENDED = 3
"""How often this site names itself again to those who should go other ways: longer than any way of the same class round it, and a
neighbour likes it no more for being direct."""
MOST_SENT = 16_384
"""Prefixes that a peer may send before its session ends for `COOL_OFF`. Junk among them is refused one by one and ends no session, but it
is kept, so that it can be named, at some 400 bytes each (seen with FRR 8.4). FRR counts it ("force") only when something true comes, so
netd counts, too. Doubled until it is twice the sites."""
COOL_OFF = 5
"""Minutes until a session that was ended for too many prefixes is tried again."""
LAST_ENTRY = 65_535
"""Of a route map (FRR's documentation, "Route Maps")."""
HOLD, KEEPALIVE = 9, 3
"""Seconds; only for a peer whose BFD does not answer."""
COALESCE_MS = 50
"""For how long FRR gathers peers before it tells them something; 1 s by default, which a join or a failover would wait for."""
DEFAULT_BFD = 300
"""FRR prints no interval that is its default (bfdd)."""


def bgp_config(wanted: Wanted, hostname: str) -> str:
    """The whole configuration, "!" and empty lines left out. `hostname`: the server's, which vtysh prints by itself."""
    spec = wanted.spec
    own = next(site for site in wanted.table.sites if site.site == spec.site)
    others = sorted((site for site in wanted.table.sites if site.site != spec.site), key=lambda site: site.site)
    return "".join(
        f"{line}\n"
        for line in (
            *_head(hostname),
            *_bfd(spec.bfd_ms),
            *_prefix_lists(wanted, own, others),
            *_paths(spec, others),
            *_route_maps(wanted, others),
            *_router(wanted, own, len(others)),
            *_protocols(),
        )
    )


def _head(hostname: str) -> list[str]:
    return [
        "frr defaults traditional",
        f"hostname {hostname}",
        "zebra route-map delay-timer 1",
        "bgp route-map delay-timer 1",
    ]


def router_id(node: str) -> str:
    """Unique among a site's nodes, which share their gateway's address (RFC 6286: unique within an AS), and the same for ever."""
    return str(ipaddress.IPv4Address(0x0A00_0000 | int.from_bytes(hashlib.sha256(node.encode()).digest()[:3], "big")))


def _router(wanted: Wanted, own: Allotment, others: int) -> list[str]:
    spec = wanted.spec
    links = sorted(spec.links, key=lambda link: link.number)
    lines = [
        f"router bgp {spec.asn}",
        f" bgp router-id {router_id(spec.node)}",
        " no bgp default ipv4-unicast",
        f" coalesce-time {COALESCE_MS}",
        " no bgp network import-check",
        f" timers bgp {KEEPALIVE} {HOLD}",
    ]
    for link in links:
        lines += _neighbour(link.peer_ipv4, link, spec.asn) + _neighbour(link.peer_ipv6, link, spec.asn)
    for version, network in ((4, own.ipv4), (6, own.ipv6)):
        lines += _family(version, network, wanted, links, others)
    return [*lines, "exit"]


def _neighbour(address: str, link: Link, asn: int) -> list[str]:
    lines = [
        f" neighbor {address} remote-as {link.peer_asn}",
        f" neighbor {address} bfd",
        f" neighbor {address} bfd profile link",
    ]
    if link.peer_asn != asn:
        lines.append(f" neighbor {address} advertisement-interval 0")
    return [*lines, f" neighbor {address} timers connect 1"]


def _family(version: int, network: str, wanted: Wanted, links: Iterable[Link], others: int) -> list[str]:
    lines = [f" address-family ipv{version} unicast"]
    if network not in wanted.closed:
        lines.append(f"  network {network}")
    inside = [link for link in links if link.peer_asn == wanted.spec.asn]
    if inside:
        lines.append(f"  redistribute kernel route-map HOSTS{version}")
    for link in links:
        peer = link.peer_ipv4 if version == 4 else link.peer_ipv6
        way = "INSIDE" if link in inside else f"LINK{link.number}-"
        most = most_sent(others) if link not in inside else 70_000
        lines.append(f"  neighbor {peer} activate")
        if link in inside:
            lines.append(f"  neighbor {peer} next-hop-self")
        lines += [
            f"  neighbor {peer} soft-reconfiguration inbound",
            f"  neighbor {peer} maximum-prefix {most}{'' if link in inside else f' restart {COOL_OFF} force'}",
            f"  neighbor {peer} route-map {way}{version} in",
            f"  neighbor {peer} route-map {'INSIDE' if link in inside else _told(link, wanted)}{version} out",
        ]
    return [*lines, " exit-address-family"]


def _told(link: Link, wanted: Wanted) -> str:
    return "SPARE" if link.number in wanted.sparing else "OUT"


def most_sent(others: int) -> int:
    """Prefixes of one kind that a peer may send where there are so many other sites."""
    return max(MOST_SENT, 1 << (2 * others).bit_length())


def _prefix_lists(wanted: Wanted, own: Allotment, others: Iterable[Allotment]) -> list[str]:
    """FRR prints all IPv4 lists, then all IPv6 ones, each by name. Of what is closed here there is none."""
    lines = []
    for version, word in ((4, "ip"), (6, "ipv6")):
        network, longest = (own.ipv4, 32) if version == 4 else (own.ipv6, 128)
        lists = {} if network in wanted.closed else {"HOSTS": f"{network} ge {longest}", "OWN": network}
        lists |= {f"S-{site.site}": net for site in others if (net := _network(site, version)) not in wanted.closed}
        lines += [f"{word} prefix-list {name} seq 5 permit {lists[name]}" for name in sorted(lists)]
    return lines


def _network(site: Allotment, version: int) -> str:
    return site.ipv4 if version == 4 else site.ipv6


def _paths(spec: LinkSpec, others: Iterable[Allotment]) -> list[str]:
    """S-: ends at a site; D-: a neighbour alone; P-: begins with a neighbour; SHORT: what may be passed on, one longer by ourselves;
    BRIEF: the same where we name ourselves more often."""
    lists = {f"S-{site.site}": f"_{site.asn}$" for site in others}
    peers = {link.peer_site: link.peer_asn for link in spec.links if link.peer_asn != spec.asn}
    lists |= {f"D-{site}": f"^{asn}$" for site, asn in peers.items()}
    lists |= {f"P-{site}": f"^{asn}( [0-9]+){{0,{LONGEST_PATH - 1}}}$" for site, asn in peers.items()}
    lists["SHORT"] = f"^[0-9]+( [0-9]+){{0,{LONGEST_PATH - 2}}}$"
    lists["BRIEF"] = f"^[0-9]+( [0-9]+){{0,{LONGEST_PATH - 2 - PREPENDED}}}$"
    return [f"bgp as-path access-list {name} seq 5 permit {lists[name]}" for name in sorted(lists)]


def _route_maps(wanted: Wanted, others: Iterable[Allotment]) -> list[str]:
    """By name, as FRR prints them. A list that is not there permits nothing."""
    maps: dict[str, dict[int, list[str]]] = {}
    numbered = _numbered(others)
    for version, word in ((4, "ip"), (6, "ipv6")):
        sites = {
            n: [f" match {word} address prefix-list S-{site.site}", f" match as-path S-{site.site}"]
            for n, site in numbered.items()
            if _network(site, version) not in wanted.closed
        }
        maps[f"SITES{version}"] = sites or {10: [f" match {word} address prefix-list NONE"]}
        for link in wanted.spec.links:
            maps[f"LINK{link.number}-{version}"] = _taken(link, version, wanted.classes.get(link.number))
        hosts = [f" match {word} address prefix-list HOSTS"]
        maps[f"HOSTS{version}"] = {10: hosts}
        maps[f"INSIDE{version}"] = {10: hosts, 20: [f" call SITES{version}"]}
        others_too = [" match as-path SHORT", f" call SITES{version}"]
        maps[f"OUT{version}"] = {10: [f" match {word} address prefix-list OWN"], 20: others_too}
        longer = f" set as-path prepend{f' {wanted.spec.asn}' * PREPENDED}"
        maps[f"SPARE{version}"] = {
            10: [f" match {word} address prefix-list OWN", longer],
            20: [" match as-path BRIEF", f" call SITES{version}", longer],
        }
        # to a machine on another node of this very site: that node has the gateway's address, too, and would keep the answers
        apart = {5: hosts} if any(link.peer_asn == wanted.spec.asn for link in wanted.spec.links) else {}
        source = [f" set src {wanted.gateway4 if version == 4 else wanted.gateway6}"]
        maps[f"SOURCE{version}"] = {**apart, 10: source}
    return [line for name in sorted(maps) for line in _entries(name, maps[name])]


def _numbered(sites: Iterable[Allotment]) -> dict[int, Allotment]:
    """Sites by a number that is a site's own whoever else is there, so that one who comes or goes changes no other's entry."""
    taken: dict[int, Allotment] = {}
    for site in sorted(sites, key=lambda site: site.site):
        number = int.from_bytes(hashlib.sha256(site.site.encode()).digest()[:4], "big") % LAST_ENTRY
        while number + 1 in taken:
            number = (number + 1) % LAST_ENTRY
        taken[number + 1] = site
    return dict(sorted(taken.items()))


def _taken(link: Link, version: int, grade: int | None) -> dict[int, list[str]]:
    """What is taken from a link, and how it is liked: a map per link, so that a new class changes two lines and drops no route."""
    draining = link.state == "draining"
    preference = local_preference(grade, draining=draining)  # type: ignore[arg-type]
    clean = [
        *(f" call SITES{version}", " set community none", " set extcommunity none"),
        *(f" set {'ip' if version == 4 else 'ipv6'} next-hop peer-address", " set large-community none"),
    ]
    direct = preference if draining else preference + DIRECT
    return {
        10: [f" match as-path D-{link.peer_site}", *clean, f" set local-preference {direct}"],
        20: [f" match as-path P-{link.peer_site}", *clean, f" set local-preference {preference}"],
    }


def _entries(name: str, entries: Mapping[int, list[str]]) -> list[str]:
    lines = []
    for number, entry in entries.items():
        lines += [f"route-map {name} permit {number}", *entry, "exit"]
    return lines


def _protocols() -> list[str]:
    """What this node sends itself goes out under its gateway's address: to that alone others know a way back."""
    return ["ip protocol bgp route-map SOURCE4", "ipv6 protocol bgp route-map SOURCE6"]


def _bfd(interval: int) -> list[str]:
    times = [] if interval == DEFAULT_BFD else [f"  transmit-interval {interval}", f"  receive-interval {interval}"]
    return ["bfd", " profile link", *times, " exit", "exit"]
