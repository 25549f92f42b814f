"""The parts of the inet table that speak of links to other sites.

AllowedIPs of every link are open, since BGP chooses the ways; so the source of a packet is checked here: it must be of a prefix that
the registry allotted to another site and that the floor lets through. A site whose direct link is in use and sure is bound to it: with
its source nobody else gets in. What passes through is for the site that it goes to to judge, which knows its own links.
"""

from __future__ import annotations

from collections.abc import Iterable

from netd.core.bgp_port import BGP, bgp_port
from netd.core.desired import Desired
from netd.core.nft_sets import FixedSet
from netd.core.overlay import Overlay
from netd.core.throughput import PORT

BFD = "3784, 3785, 4784"
"""Control, echo, multihop (RFC 5881, section 4; RFC 5883, section 5)."""


def overlay_sets(overlay: Overlay) -> tuple[FixedSet, ...]:
    """Prefixes of other sites, (interface, address) of the peers and of this end, the links to nodes of this site. While it is paused, it
    has only itself: neighbours notice by BFD and go other ways."""
    paused = overlay.paused
    inside = [peer for peer in overlay.peers if peer.inside]
    peers = inside if paused else overlay.peers
    found: tuple[tuple[str, str, Iterable[str]], ...] = (
        ("overlay4", "ipv4_addr; flags interval", () if paused else overlay.of(4)),
        ("overlay6", "ipv6_addr; flags interval", () if paused else overlay.of(6)),
        ("peers4", "ifname . ipv4_addr", (f'"{peer.interface}" . {peer.ipv4}' for peer in peers)),
        ("peers6", "ifname . ipv6_addr", (f'"{peer.interface}" . {peer.ipv6}' for peer in peers)),
        ("here4", "ifname . ipv4_addr", (f'"{peer.interface}" . {peer.here4}' for peer in peers)),
        ("here6", "ifname . ipv6_addr", (f'"{peer.interface}" . {peer.here6}' for peer in peers)),
        ("inside", "ifname", (f'"{peer.interface}"' for peer in inside)),
    )
    return tuple(FixedSet(name, f"type {kind};", tuple(elements)) for name, kind, elements in found)


def from_links_here(wanted: Desired) -> str:
    """What may reach this node itself over a link: BGP, BFD and echo from the peer, names and echo from other sites' machines."""
    bridge = wanted.spec.bridge
    return f"""{_bound(wanted.overlay)}  chain from_links_here {{
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    iifname . ip saddr @peers4 jump from_peer
    iifname . ip6 saddr @peers6 jump from_peer
    iifname @inside ct state established,related accept
    iifname != @inside jump from_bound
    ip saddr @overlay4 ip daddr {bridge.ipv4} jump for_gateway
    ip6 saddr @overlay6 ip6 daddr {bridge.ipv6} jump for_gateway
    drop
  }}
  chain from_peer {{
    ct state established,related accept
    iifname . ip daddr @here4 jump from_peer_here
    iifname . ip6 daddr @here6 jump from_peer_here
    icmp type echo-request accept
    icmpv6 type echo-request accept
{_measured(wanted.overlay)}    drop
  }}
  chain from_peer_here {{
    tcp dport {bgp_port(wanted.spec.instance)} accept
    udp dport {{ {BFD} }} accept
  }}
  chain for_gateway {{
    ct state established,related accept
    meta l4proto {{ tcp, udp }} th dport 53 accept
    icmp type echo-request accept
    icmpv6 type echo-request accept
    drop
  }}
"""


def to_bgpd(wanted: Desired) -> str:
    """BGP that a link's peer sends to this end's address goes to our own bgpd's port, and nothing else reaches that."""
    return f"""  chain to_bgpd {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname . ip saddr @peers4 iifname . ip daddr @here4 tcp dport {BGP} dnat to :{bgp_port(wanted.spec.instance)}
    iifname . ip6 saddr @peers6 iifname . ip6 daddr @here6 tcp dport {BGP} dnat to :{bgp_port(wanted.spec.instance)}
  }}
"""


def _bound(overlay: Overlay) -> str:
    """A chain per site that is bound, found by the packet's source. Where the kernel itself sends to the site by a detour, a detour is
    right for the site's packets, too."""
    chains, jumps = "", ""
    for site in overlay.bound:
        names = "{ " + ", ".join(f'"{name}"' for name in site.interfaces) + " }"
        chains += (
            f"  chain bound_{site.number} {{\n    iifname {names} return\n    fib saddr oifname {names} drop\n  }}\n"
        )
    for version, word in ((4, "ip"), (6, "ip6")):
        found = [(n, site.number) for site in overlay.bound for n in site.networks if (":" in n) == (version == 6)]
        if found:
            jumps += f"    {word} saddr vmap {{ {', '.join(f'{net} : jump bound_{n}' for net, n in found)} }}\n"
    return f"{chains}  chain from_bound {{\n{jumps}  }}\n"


def _measured(overlay: Overlay) -> str:
    """The one port of a measurement, for the one peer that does it, while it does."""
    return "".join(
        f'    iifname "{peer.interface}" ip saddr {peer.ipv4} ip daddr {peer.own4} tcp dport {PORT} accept\n'
        for peer in overlay.peers
        if peer.own4
    )


def from_links(wanted: Desired) -> str:
    """What is carried on: to this site's machines, or through to another site; never to the uplink. What passes through is not tracked:
    its answers may go another way."""
    bridge = wanted.spec.bridge
    return f"""  chain from_links {{
    ip saddr @overlay4 oifname "{wanted.links}" ip daddr @overlay4 accept
    ip6 saddr @overlay6 oifname "{wanted.links}" ip6 daddr @overlay6 accept
    iifname != @inside jump from_bound
{_inside(wanted)}    ct state invalid drop
    ct state related meta l4proto {{ icmp, ipv6-icmp }} accept
    ip saddr @overlay4 oifname "{bridge.name}" ip daddr {bridge.site_ipv4} accept
    ip6 saddr @overlay6 oifname "{bridge.name}" ip6 daddr {bridge.site_ipv6} accept
    iifname @inside oifname "{bridge.name}" ip saddr {bridge.site_ipv4} ip daddr {bridge.site_ipv4} accept
    iifname @inside oifname "{bridge.name}" ip6 saddr {bridge.site_ipv6} ip6 daddr {bridge.site_ipv6} accept
    iifname @inside oifname "{bridge.name}" iifname . ip saddr @peers4 ip daddr {bridge.site_ipv4} accept
    iifname @inside oifname "{bridge.name}" iifname . ip6 saddr @peers6 ip6 daddr {bridge.site_ipv6} accept
    drop
  }}
"""


def _inside(wanted: Desired) -> str:
    """Between this site's nodes: machines of the site, to whichever node has them and out by whichever node has the way."""
    bridge = wanted.spec.bridge
    return f"""    oifname @inside ip saddr @overlay4 ip daddr {bridge.site_ipv4} accept
    oifname @inside ip6 saddr @overlay6 ip6 daddr {bridge.site_ipv6} accept
    iifname @inside oifname "{wanted.links}" ip saddr {bridge.site_ipv4} ip daddr @overlay4 accept
    iifname @inside oifname "{wanted.links}" ip6 saddr {bridge.site_ipv6} ip6 daddr @overlay6 accept
"""


def to_sites(wanted: Desired) -> str:
    """Nothing that this node sends to another site leaves by the uplink while there is no route; who asks is told at once."""
    return f"""  chain to_sites {{
    oifname "lo" return
    oifname "{wanted.spec.bridge.name}" return
    oifname "{wanted.links}" return
    reject with icmpx no-route
  }}
"""
