"""The node's packet filters as nftables text: one atomic skeleton, and set elements for machines.

Two tables carry the instance id. The bridge table is stateless (no bridge conntrack is needed) and lets a tap speak only as its
own machine; the inet table holds the floor, the node's closed ports and the masquerade. A tap without elements may say nothing.

A frame that passed the bridge table carries a mark of one bit until the inet table has seen it: what comes over the bridge without
it came in by a port that is no machine's tap, and is dropped (a rule by the bridge's name, "meta ibrname", is not in every kernel).
The floor looks at every packet, not only at new connections, so that a network that becomes office is closed at once.

What one machine may take is part of its elements: each of the sets `sends`, `receives` and `connects` measures its elements one by
one, and a rule finds a machine there only while it is over its limit. What is over a rate is dropped at its tap. A new connection of
one that has as many as it may is dropped before it is tracked, wherever it leads; connections to a machine are none of its own, so that
its owner gets in all the same. What machines ask of the node's own DHCP, DNS and NTP over UDP is not tracked at all, nor is what it
answers: it takes no room in the table, so a machine at its limit keeps its address and its names. Since each name that the node does
not know is a connection of the node's own, and each question takes its time, a machine may put so many a second to all three and no more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from netd.core.bgp_port import bgp_port
from netd.core.desired import Desired, own4, own6
from netd.core.nft_overlay import from_links, from_links_here, overlay_sets, to_bgpd, to_sites
from netd.core.nft_sets import FixedSet, command
from netd.core.shaping import BULK, priority_rules
from netd.wire import MachineNet

SETS = {
    "macs": ("bridge", "type ifname . ether_addr;"),
    "own4": ("bridge", "type ifname . ether_addr . ipv4_addr;"),
    "own6": ("bridge", "type ifname . ether_addr . ipv6_addr;"),
    "sends": ("bridge", "type ifname; limit rate over 1 mbytes/second;"),
    "receives": ("bridge", "type ifname; limit rate over 1 mbytes/second;"),
    "connects": ("inet", "type ether_addr; ct count over 1;"),
}
"""Name → (table, type) of the sets of machines: allowed senders, then who is over a limit; each element brings its own figure."""
BURST = 65_536
"""The largest piece that a guest hands over (GSO): one of a slow machine passes whole."""
ASKS = 250
"""Questions to the node's DHCP, DNS and NTP, in all, per second and machine. What the node asks others for their sake stays in its table
for 30 s each (kernel, nf_conntrack_udp_timeout): an eighth of the smallest table that Linux makes with 1 GiB of memory."""
SHARE = 8
"""At most so great a part of the server's table of connections has one machine, whatever a spec says: with a full table nobody on this
server opens a connection any more."""


CHECKED, UNCHECKED = "0x40000000", "0xbfffffff"
"""The bit of the packet mark, and all others; it lives only between the bridge's prerouting and the host's."""
FAMILIES = ("bridge", "inet")
MARK = "skeleton_"
"""Begins the name of the empty chain that says which skeleton a table holds."""


def elements(wanted: Desired) -> frozenset[tuple[str, str]]:
    """(set, element) pairs of all machines, as nft prints them."""
    found: set[tuple[str, str]] = set()
    for m in wanted.spec.machines:
        found.add(("macs", f"{m.tap} . {m.mac}"))
        found |= {("own4", f"{m.tap} . {m.mac} . {address}") for address in own4(m)}
        found |= {("own6", f"{m.tap} . {m.mac} . {address}") for address in own6(m)}
        if m.net_mbit:
            found |= {(name, rated(m.tap, m.net_mbit * 125_000)) for name in ("sends", "receives")}
        if most := _connections(m, wanted.tracked // SHARE):
            found.add(("connects", counted(m.mac, most)))
    return frozenset(found)


def rated(tap: str, rate: int, burst: int = BURST) -> str:
    """`rate` in bytes per second; nft lets `burst` bytes and a second's worth through at once (kernel, nft_limit_init)."""
    return f"{tap} limit rate over {rate} bytes/second burst {burst} bytes"


def counted(mac: str, most: int) -> str:
    return f"{mac} ct count over {most}"


def _connections(machine: MachineNet, most: int) -> int:
    """0: any number, where it is not known how many there may be."""
    return min(machine.connections, most) if machine.connections and most else machine.connections or most


def skeleton_id(wanted: Desired) -> str:
    """FRAME_CONTENT names what the tables hold but for machines. An empty chain carries it, to recognise an unchanged skeleton (nft 1.0.6
    lists no comments)."""
    content = _tables(wanted, "") + _fills(wanted)
    return f"{_digest(_frame(content))}_{_digest(content)}"


def same_frame(one: str, other: str) -> bool:
    """Whether a skeleton of one id can be made that of another by `refill`."""
    return one.partition("_")[0] == other.partition("_")[0]


def _frame(content: str) -> str:
    """What a table has for good: its sets' types, and where its chains hook in."""
    return "\n".join(re.findall(r"^  set .*|^  chain \w+ \{\n    type .*", content, re.M))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def skeleton(wanted: Desired) -> str:
    """Both tables with their sets filled, in the place of any earlier ones. What passes in that moment may meet neither, so only
    where there is no other way."""
    lines = [f"table {family} {wanted.table}\ndelete table {family} {wanted.table}\n" for family in FAMILIES]
    content = _tables(wanted, skeleton_id(wanted)) + _fills(wanted)
    return "".join(lines) + content + "".join(add_commands(wanted.table, elements(wanted)))


def refill(wanted: Desired, there: Iterable[tuple[str, str]], before: frozenset[tuple[str, str]] | None) -> str:
    """New rules for the tables that are there, with the chains `there` and, in their fixed sets, the elements `before` (None: not known);
    one transaction. The kernel goes from old rules to new ones at once; where tables come anew, some packets meet half of either."""
    table = wanted.table
    flushes = [f"flush table {family} {table}\n" for family in FAMILIES]
    changes = [found.changed(table, _of_set(found.name, before)) for found in _fixed_sets(wanted)]
    gone = [f"delete chain {family} {table} {name}\n" for family, name in sorted({*there} - chains(wanted))]
    return "".join((*flushes, _tables(wanted, skeleton_id(wanted)), *changes, *gone))


def _of_set(name: str, elements: frozenset[tuple[str, str]] | None) -> frozenset[str] | None:
    return None if elements is None else frozenset(element for owner, element in elements if owner == name)


def fixed(wanted: Desired) -> frozenset[tuple[str, str]]:
    """(set, element) of the networks and links."""
    return frozenset((found.name, element) for found in _fixed_sets(wanted) for element in found.elements)


def chains(wanted: Desired) -> frozenset[tuple[str, str]]:
    """(family, name) of each of the skeleton's."""
    mark = skeleton_id(wanted)
    parts = (("bridge", _bridge_table(wanted, mark)), ("inet", _inet_table(wanted, mark)))
    return frozenset((family, name) for family, text in parts for name in re.findall(r"^  chain (\w+) ", text, re.M))


def add_commands(table: str, pairs: Iterable[tuple[str, str]]) -> list[str]:
    """One `add element` per set."""
    return [command("add", f"{SETS[name][0]} {table} {name}", found) for name, found in _by_set(pairs)]


def delete_commands(table: str, pairs: Iterable[tuple[str, str]]) -> list[str]:
    found = [(name, [_key(element) for element in elements]) for name, elements in _by_set(pairs)]
    return [command("delete", f"{SETS[name][0]} {table} {name}", keys) for name, keys in found]


def _key(element: str) -> str:
    """Without its figure."""
    return element.partition(" limit ")[0].partition(" ct ")[0]


def _by_set(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    ordered = sorted(pairs)
    return [(name, found) for name in SETS if (found := [element for owner, element in ordered if owner == name])]


def _tables(wanted: Desired, mark: str) -> str:
    return _bridge_table(wanted, mark) + _inet_table(wanted, mark)


def _fills(wanted: Desired) -> str:
    return "".join(found.changed(wanted.table, frozenset()) for found in _fixed_sets(wanted))


def _bridge_table(wanted: Desired, mark: str) -> str:
    taps = f"gt{wanted.spec.instance}*"
    return f"""table bridge {wanted.table} {{
  chain {MARK}{mark} {{ }}
{_sets("bridge")}  chain from_port {{
    type filter hook prerouting priority -300; policy accept;
    iifname != "{taps}" accept
    iifname . ether saddr != @macs drop
    iifname @sends drop
    meta mark set meta mark | {CHECKED}
    ether type arp jump from_arp
    ether type ip jump from_ip4
    ether type ip6 jump from_ip6
    drop
  }}
  chain from_arp {{
    iifname . arp saddr ether . arp saddr ip != @own4 drop
    accept
  }}
  chain from_ip4 {{
    iifname . ether saddr . ip saddr != @own4 drop
    ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept
    ip saddr 0.0.0.0 drop
    udp sport 67 drop
    accept
  }}
  chain from_ip6 {{
    iifname . ether saddr . ip6 saddr != @own6 drop
    icmpv6 type {{ nd-router-advert, nd-redirect }} drop
    udp sport 547 drop
    accept
  }}
  chain between_ports {{
    type filter hook forward priority -300; policy accept; # before br_netfilter, which steals packets from later chains
    iifname "{taps}" drop
    oifname "{taps}" drop
  }}
  chain to_port {{
    type filter hook postrouting priority -300; policy accept;
    oifname @receives drop
  }}
}}
"""


def _sets(family: str) -> str:
    return "".join(f"  set {name} {{ {kind} }}\n" for name, (where, kind) in SETS.items() if where == family)


def _inet_table(wanted: Desired, mark: str) -> str:
    asked = (_inet_sets, _from_ports, _untracked, _new_connections)
    here = (_to_node, _from_machines, to_bgpd, from_links_here)
    through = (_forward, from_links, _of_machines)
    out = (_output, to_sites, _postrouting)
    chains = "".join(part(wanted) for part in (*asked, *here, *through, *out))
    return f"table inet {wanted.table} {{\n  chain {MARK}{mark} {{ }}\n{chains}}}\n"


def _inet_sets(wanted: Desired) -> str:
    """Who asks how much, and what never changes its type."""
    asks = "  set asks { type ether_addr; flags dynamic; timeout 1m; }\n"
    return _sets("inet") + asks + "".join(found.declared for found in _fixed_sets(wanted))


def _fixed_sets(wanted: Desired) -> tuple[FixedSet, ...]:
    """The floor, what is allowed all the same, and what is elsewhere in the overlay."""
    floor = [FixedSet(f"floor{n}", f"type ipv{n}_addr; flags interval;", tuple(wanted.floor.of(n))) for n in (4, 6)]
    return (*floor, *(_allowed(wanted, n) for n in (4, 6)), *overlay_sets(wanted.overlay))


def _allowed(wanted: Desired, version: int) -> FixedSet:
    here = [item for item in wanted.floor.allowed if (":" in item.address) == (version == 6)]
    found = tuple(f"{item.address} . {item.protocol} . {item.port}" for item in here)
    return FixedSet(f"allowed{version}", f"type ipv{version}_addr . inet_proto . inet_service;", found)


def _from_ports(wanted: Desired) -> str:
    """What came over the bridge by no tap goes no further."""
    bridge = wanted.spec.bridge
    return f"""  chain from_ports {{
    type filter hook prerouting priority -350; policy accept;
    iifname "{bridge.name}" meta mark & {CHECKED} == 0 drop
    iifname "{bridge.name}" meta mark set meta mark & {UNCHECKED}
  }}
"""


def _untracked(wanted: Desired) -> str:
    """What machines ask the node, and what it answers."""
    bridge = wanted.spec.bridge
    rate = f"{{ ether saddr limit rate over {ASKS}/second burst {2 * ASKS} packets }}"
    return f"""  chain questions {{
    type filter hook prerouting priority -300; policy accept; # before conntrack looks
    iifname != "{bridge.name}" accept
    ip daddr {{ {bridge.ipv4}, 255.255.255.255 }} udp dport {{ 53, 67, 123 }} add @asks {rate} drop
    ip6 daddr {{ {bridge.ipv6}, ff02::1:2, fe80::/10 }} udp dport {{ 53, 123, 547 }} add @asks {rate} drop
    ip daddr {{ {bridge.ipv4}, 255.255.255.255 }} udp dport 67 notrack
    ip6 daddr {{ ff02::1:2, fe80::/10 }} udp dport 547 notrack
    ip daddr {bridge.ipv4} udp dport {{ 53, 123 }} notrack
    ip6 daddr {bridge.ipv6} udp dport {{ 53, 123 }} notrack
  }}
  chain answers {{
    type filter hook output priority -300; policy accept;
    oifname != "{bridge.name}" accept
    ip saddr {bridge.ipv4} udp sport {{ 53, 67, 123 }} notrack
    ip6 saddr {bridge.ipv6} udp sport {{ 53, 123 }} notrack
    ip6 saddr fe80::/10 udp sport 547 notrack
  }}
"""


def _new_connections(wanted: Desired) -> str:
    bridge = wanted.spec.bridge
    return f"""  chain connections {{
    type filter hook prerouting priority -150; policy accept; # after conntrack has looked, before it keeps what is new
    iifname "{bridge.name}" ct state new ether saddr @connects drop
  }}
"""


def _to_node(wanted: Desired) -> str:
    bridge = wanted.spec.bridge
    return f"""  chain input {{
    type filter hook input priority -10; policy accept;
    iifname "{bridge.name}" jump from_machines
    iifname "{wanted.links}" jump from_links_here
    iifname != "lo" tcp dport {bgp_port(wanted.spec.instance)} drop
    iifname != {{ "lo", "{bridge.name}" }} ip daddr {bridge.ipv4} drop
    iifname != {{ "lo", "{bridge.name}" }} ip6 daddr {bridge.ipv6} drop
  }}
"""


def _from_machines(wanted: Desired) -> str:
    """What the node answers to its machines."""
    bridge = wanted.spec.bridge
    return f"""  chain from_machines {{
    ct state established,related accept
    icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report }} accept
    ip daddr {{ {bridge.ipv4}, 255.255.255.255 }} udp dport 67 accept
    ip6 daddr {{ ff02::1:2, fe80::/10 }} udp dport 547 accept
    ip daddr {bridge.ipv4} meta l4proto {{ tcp, udp }} th dport 53 accept
    ip6 daddr {bridge.ipv6} meta l4proto {{ tcp, udp }} th dport 53 accept
    ip daddr {bridge.ipv4} udp dport 123 accept
    ip6 daddr {bridge.ipv6} udp dport 123 accept
    ip daddr {bridge.ipv4} icmp type echo-request accept
    ip6 daddr {{ {bridge.ipv6}, fe80::/10 }} icmpv6 type echo-request accept
    drop
  }}
"""


def _forward(wanted: Desired) -> str:
    bridge = wanted.spec.bridge
    return f"""  chain forward {{
    type filter hook forward priority -10; policy accept;
    iifname "{wanted.links}" tcp flags syn tcp option maxseg size set rt mtu
    oifname "{wanted.links}" tcp flags syn tcp option maxseg size set rt mtu
    oifname "{wanted.links}" meta priority set {BULK}
    iifname "{bridge.name}" jump machines_out
    iifname "{wanted.links}" jump from_links
    oifname "{bridge.name}" jump machines_in
    oifname "{wanted.links}" drop
  }}
"""


def _of_machines(wanted: Desired) -> str:
    """Where machines may send to, and what they get of others."""
    bridge = wanted.spec.bridge
    return f"""  chain machines_out {{
    ct state invalid drop
    oifname "{bridge.name}" ip daddr {bridge.site_ipv4} accept
    oifname "{bridge.name}" ip6 daddr {bridge.site_ipv6} accept
    oifname "{bridge.name}" drop
    oifname @inside ip daddr {bridge.site_ipv4} accept
    oifname @inside ip6 daddr {bridge.site_ipv6} accept
    oifname @inside ct state established,related accept
    oifname "{wanted.links}" ip daddr @overlay4 accept
    oifname "{wanted.links}" ip6 daddr @overlay6 accept
    oifname "{wanted.links}" reject with icmpx admin-prohibited
    ip daddr . meta l4proto . th dport @allowed4 accept
    ip6 daddr . meta l4proto . th dport @allowed6 accept
    ip daddr @floor4 reject with icmpx admin-prohibited
    ip6 daddr @floor6 reject with icmpx admin-prohibited
    accept
  }}
  chain machines_in {{
    iifname "{bridge.name}" accept
    ct state established,related accept
    drop
  }}
"""


def _output(wanted: Desired) -> str:
    bridge = wanted.spec.bridge
    return f"""  chain output {{
    type filter hook output priority -10; policy accept;
    oifname "{bridge.name}" icmp type redirect drop
    oifname "{bridge.name}" icmpv6 type nd-redirect drop
{priority_rules(wanted.links)}    ip daddr @overlay4 jump to_sites
    ip6 daddr @overlay6 jump to_sites
  }}
"""


def _postrouting(wanted: Desired) -> str:
    bridge = wanted.spec.bridge
    return f"""  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{wanted.links}" return
    oifname != "{bridge.name}" ip saddr {bridge.site_ipv4} masquerade
    oifname != "{bridge.name}" ip6 saddr {bridge.site_ipv6} masquerade
  }}
"""
