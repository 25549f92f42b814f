"""The difference between the wanted network and the one that is there, as a value: logged, printed by `netd plan`, applied."""

from __future__ import annotations

import functools
import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from netd.core import dnsmasq_text, nft_text
from netd.core.desired import Desired, link_local
from netd.wire import NodeSpec

LAST = 4_000_000_000
"""Metric of a route that any other one precedes (the largest is 2³² - 1)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One step. `kind` says who applies `text`: "nft" (a transaction), "ip" (a line of ip -batch), "sysctl" (PATH=VALUE),
    "file" (content of `path`), "start", "reload" (a daemon's name)."""

    kind: str
    text: str
    path: Path | None = None

    def __str__(self) -> str:
        if self.kind == "file":
            return f"write {self.path} ({len(self.text.splitlines())} lines)"
        return f"{self.kind} {self.text.strip()}"


@dataclass(frozen=True, slots=True)
class Observed:
    """What is there."""

    skeleton: str = ""
    """Mark of the tables (nft_text.skeleton_id), empty when either is missing."""
    chains: frozenset[tuple[str, str]] = frozenset()
    """(family, name) of the tables' chains."""
    fixed: frozenset[tuple[str, str]] | None = None
    """(set, element) of networks and links, as nft_text.fixed; None where it is not known."""
    elements: frozenset[tuple[str, str]] = frozenset()
    bridge_mac: str = ""
    """Empty when there is no bridge."""
    bridge_up: bool = False
    addresses: frozenset[str] = frozenset()
    """CIDRs on the bridge, link-local too."""
    routes: frozenset[str] = frozenset()
    """Host routes over the bridge, without prefix length."""
    neighbours: frozenset[tuple[str, str]] = frozenset()
    """(address, MAC) of the permanent ones."""
    unreachable: frozenset[str] = frozenset()
    """Prefixes with an "unreachable" route."""
    uplinks: frozenset[str] = frozenset()
    """Devices that lead out of this server: with a default route, or a network card of its own."""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """Path below /proc/sys → value; a dot may be part of a device's name, hence no dots between parts."""
    files: Mapping[Path, str] = field(default_factory=dict)
    running: frozenset[str] = frozenset()
    """Of our daemons: "dns", "dhcp" (both dnsmasq), "ntp" (chronyd)."""


def plan(wanted: Desired, seen: Observed, state: Path, *, have_chrony: bool = True) -> list[Change]:
    """Filters first, then the bridge: whoever sees the bridge may rely on its rules. Removals of machines come last but for filters."""
    return [
        *_filters(wanted, seen),
        *_sysctls(wanted, seen),
        *_bridge(wanted, seen),
        *_hosts(wanted, seen),
        *_daemons(wanted, seen, state, have_chrony),
    ]


def _filters(wanted: Desired, seen: Observed) -> list[Change]:
    mark, should = nft_text.skeleton_id(wanted), nft_text.elements(wanted)
    if not nft_text.same_frame(seen.skeleton, mark):
        return [Change("nft", nft_text.skeleton(wanted))]
    commands = [nft_text.refill(wanted, seen.chains, seen.fixed)] if seen.skeleton != mark else []
    commands += nft_text.delete_commands(wanted.table, seen.elements - should)
    commands += nft_text.add_commands(wanted.table, should - seen.elements)
    return [Change("nft", "".join(commands))] if commands else []


def settled(wanted: Desired, seen: Observed, state: Path, *, have_chrony: bool = True) -> Observed:
    """What is there once plan(wanted, seen) has been applied, so that the next spec needs no look at the kernel."""
    bridge, files = wanted.spec.bridge, dict(seen.files)
    readers = _readers(wanted, state, have_chrony)
    for name, start_on, reload_on in readers:
        files |= start_on | reload_on | _loaded(name, state, start_on | reload_on)
    return replace(
        seen,
        skeleton=nft_text.skeleton_id(wanted),
        chains=nft_text.chains(wanted),
        fixed=nft_text.fixed(wanted),
        elements=nft_text.elements(wanted),
        bridge_mac=bridge.mac,
        bridge_up=True,
        addresses=addresses(wanted),
        routes=_routes(wanted),
        neighbours=_neighbours(wanted),
        unreachable=(seen.unreachable - wanted.left) | site(wanted.spec),
        sysctls={**seen.sysctls, **_uplink_sysctls(seen), **sysctls(wanted)},
        files=files,
        running=seen.running | {name for name, *_ in readers},
    )


def sysctls(wanted: Desired) -> dict[str, str]:
    """Needed kernel settings. Forwarding is only ever switched on. The bridge's own are set when it exists."""
    name = wanted.spec.bridge.name
    return {
        "net/ipv4/ip_forward": "1",
        "net/ipv6/conf/all/forwarding": "1",
        f"net/ipv4/conf/{name}/send_redirects": "0",
        f"net/ipv4/conf/{name}/rp_filter": "1",
        f"net/ipv4/conf/{name}/arp_ignore": "1",  # no word of the server's other addresses
        f"net/ipv6/conf/{name}/accept_ra": "0",
        f"net/ipv6/conf/{name}/accept_dad": "0",
    }


def _uplink_sysctls(seen: Observed) -> dict[str, str]:
    """An uplink that follows router advertisements must go on doing so: with forwarding on, only accept_ra=2 does (kernel,
    ip-sysctl). Of no other device: a tap or a container's port must not become a router of this server."""
    keys = {f"net/ipv6/conf/{device}/accept_ra" for device in seen.uplinks}
    return {key: "2" for key in sorted(keys) if seen.sysctls.get(key) == "1"}


def _sysctls(wanted: Desired, seen: Observed) -> list[Change]:
    """The server's own; uplinks before forwarding."""
    own = f"/{wanted.spec.bridge.name}/"
    shared = _uplink_sysctls(seen) | {key: value for key, value in sysctls(wanted).items() if own not in key}
    return [Change("sysctl", f"{key}={value}") for key, value in shared.items() if seen.sysctls.get(key) != value]


def _bridge(wanted: Desired, seen: Observed) -> list[Change]:
    bridge = wanted.spec.bridge
    lines = []
    if not seen.bridge_mac:
        lines.append(
            f"link add {bridge.name} address {bridge.mac} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
        )
    elif seen.bridge_mac != bridge.mac:
        lines.append(f"link set {bridge.name} address {bridge.mac}")
    changes = [Change("ip", line) for line in lines]
    own = {key: value for key, value in sysctls(wanted).items() if f"/{bridge.name}/" in key}
    changes += [Change("sysctl", f"{key}={value}") for key, value in own.items() if seen.sysctls.get(key) != value]
    changes += [Change("ip", line) for line in _addresses(wanted, seen)]
    if not seen.bridge_up:
        changes.append(Change("ip", f"link set {bridge.name} up"))
    return changes


def addresses(wanted: Desired) -> frozenset[str]:
    """The gateway's addresses with the site's mask (dnsmasq wants its ranges to lie in one) but without a route for it."""
    bridge = wanted.spec.bridge
    length = ipaddress.IPv4Network(bridge.site_ipv4).prefixlen
    return frozenset({f"{bridge.ipv4}/{length}", f"{ipaddress.IPv6Address(bridge.ipv6)}/64"})


def _addresses(wanted: Desired, seen: Observed) -> list[str]:
    name = wanted.spec.bridge.name
    present = {address for address in seen.addresses if not address.startswith("fe80:")}
    lines = [f"addr del {address} dev {name}" for address in sorted(present - addresses(wanted))]
    return lines + [f"addr add {address} dev {name} noprefixroute" for address in sorted(addresses(wanted) - present)]


def _routes(wanted: Desired) -> frozenset[str]:
    """Of machines that are here. A route for one that is still elsewhere would take it off the network, and tell the site's other
    nodes to send to us."""
    here = (m for m in wanted.spec.machines if not m.arriving)
    return frozenset(_plain(address) for m in here for address in (m.ipv4, m.ipv6))


def _neighbours(wanted: Desired) -> frozenset[tuple[str, str]]:
    machines = wanted.spec.machines
    return frozenset((_plain(a), m.mac) for m in machines for a in (m.ipv4, m.ipv6, link_local(m.mac)))


def site(spec: NodeSpec) -> frozenset[str]:
    """The site's prefixes."""
    bridge = spec.bridge
    return frozenset({str(ipaddress.ip_network(net)) for net in (bridge.site_ipv4, bridge.site_ipv6)})


def _hosts(wanted: Desired, seen: Observed) -> list[Change]:
    """Host routes, and fixed neighbours: nobody can answer ARP or ND in another's place. What has no host route is unreachable,
    so that nothing meant for a machine ever leaves by the uplink."""
    name = wanted.spec.bridge.name
    routes, neighbours = _routes(wanted), _neighbours(wanted)
    gone = {address for address, _ in seen.neighbours} - {address for address, _ in neighbours}
    lines = [f"route replace unreachable {net} metric {LAST}" for net in sorted(site(wanted.spec) - seen.unreachable)]
    lines += [f"route del unreachable {net} metric {LAST}" for net in sorted(seen.unreachable & wanted.left)]
    lines += [f"route del {address} dev {name}" for address in sorted(seen.routes - routes)]
    lines += [f"neigh del {address} dev {name}" for address in sorted(gone)]
    lines += [
        f"neigh replace {address} lladdr {mac} dev {name} nud permanent"
        for address, mac in sorted(neighbours - seen.neighbours)
    ]
    lines += [f"route replace {address} dev {name}" for address in sorted(routes - seen.routes)]
    return [Change("ip", line) for line in lines]


@functools.lru_cache(8192)
def _plain(address: str) -> str:
    return str(ipaddress.ip_address(address))


def _daemons(wanted: Desired, seen: Observed, state: Path, have_chrony: bool) -> list[Change]:
    """Files that differ, then their reader: names are read again by a running daemon, the others want a fresh start. What has
    been read is noted last, so that netd may die in between. A new bridge wants new sockets."""
    steps: list[Change] = []
    for name, start_on, reload_on in _readers(wanted, state, have_chrony):
        noted = _differing(_loaded(name, state, start_on | reload_on), seen)
        steps += [Change("file", text, path) for path, text in _differing(start_on | reload_on, seen).items()]
        reload = bool(_differing(reload_on, seen))
        restart = bool(_differing(start_on, seen)) or not seen.bridge_mac or (bool(noted) and not reload)
        steps += _daemon(name, seen, restart=restart, reload=reload)
        steps += [Change("file", text, path) for path, text in noted.items()]
    return steps


def _differing(texts: dict[Path, str], seen: Observed) -> dict[Path, str]:
    return {path: text for path, text in texts.items() if seen.files.get(path) != text}


def _loaded(name: str, state: Path, texts: dict[Path, str]) -> dict[Path, str]:
    """The note that a daemon has read these texts."""
    digest = hashlib.sha256("\0".join(texts.values()).encode()).hexdigest()
    return {state / f"{name}.loaded": f"{digest}\n"}


def _readers(wanted: Desired, state: Path, have_chrony: bool) -> list[tuple[str, dict[Path, str], dict[Path, str]]]:
    """(daemon, files that it must be started again for, files that it reads again on a signal)."""
    text = dnsmasq_text
    hosts = {state / "hosts": text.hosts_text(wanted), state / "options": text.options_text(wanted)}
    readers = [
        (
            "dns",
            {state / "dns.conf": text.dns_config(wanted, state)},
            {state / "names": text.names_text(wanted), state / "sites": text.sites_text(wanted)},
        ),
        ("dhcp", {state / "dhcp.conf": text.dhcp_config(wanted, state), **hosts}, {}),
    ]
    return readers + ([("ntp", {state / "ntp.conf": text.chrony_text(wanted, state)}, {})] if have_chrony else [])


def _daemon(name: str, seen: Observed, *, restart: bool, reload: bool) -> list[Change]:
    if restart or name not in seen.running:
        return [Change("start", name)]
    return [Change("reload", name)] if reload else []
