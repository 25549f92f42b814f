"""The difference between the wanted network and the one that is there, as a value: logged, printed by `netd plan`, applied."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from netd.core import dnsmasq_text, nft_text
from netd.core.desired import Desired, link_local


@dataclass(frozen=True, slots=True)
class Change:
    """One step. `kind` says who applies `text`: "nft" (a transaction), "ip" (a line of ip -batch), "sysctl" (KEY=VALUE),
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
    sysctls: Mapping[str, str] = field(default_factory=dict)
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
    if seen.skeleton != nft_text.skeleton_id(wanted):
        return [Change("nft", nft_text.skeleton(wanted))]
    should = nft_text.elements(wanted.spec.machines)
    commands = nft_text.delete_commands(wanted.table, seen.elements - should)
    commands += nft_text.add_commands(wanted.table, should - seen.elements)
    return [Change("nft", "".join(commands))] if commands else []


def sysctls(wanted: Desired) -> dict[str, str]:
    """Needed kernel settings. Forwarding is only ever switched on. The bridge's own are set when it exists."""
    name = wanted.spec.bridge.name
    return {
        "net.ipv4.ip_forward": "1",
        "net.ipv6.conf.all.forwarding": "1",
        f"net.ipv4.conf.{name}.send_redirects": "0",
        f"net.ipv4.conf.{name}.rp_filter": "1",
        f"net.ipv6.conf.{name}.accept_ra": "0",
        f"net.ipv6.conf.{name}.accept_dad": "0",
    }


def _sysctls(wanted: Desired, seen: Observed) -> list[Change]:
    """Uplinks that follow router advertisements must go on doing so: with forwarding on, only accept_ra=2 does (kernel ip-sysctl)."""
    own = f".{wanted.spec.bridge.name}."
    shared = {
        key: "2"
        for key, value in seen.sysctls.items()
        if key.endswith(".accept_ra") and value == "1" and own not in key
    }
    shared |= {key: value for key, value in sysctls(wanted).items() if own not in key}
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
    own = {key: value for key, value in sysctls(wanted).items() if f".{bridge.name}." in key}
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


def _hosts(wanted: Desired, seen: Observed) -> list[Change]:
    """Host routes, and fixed neighbours: nobody can answer ARP or ND in another's place."""
    name = wanted.spec.bridge.name
    routes = {_plain(address) for m in wanted.spec.machines for address in (m.ipv4, m.ipv6)}
    neighbours = {(_plain(a), m.mac) for m in wanted.spec.machines for a in (m.ipv4, m.ipv6, link_local(m.mac))}
    gone = {address for address, _ in seen.neighbours} - {address for address, _ in neighbours}
    lines = [f"route del {address} dev {name}" for address in sorted(seen.routes - routes)]
    lines += [f"neigh del {address} dev {name}" for address in sorted(gone)]
    lines += [
        f"neigh replace {address} lladdr {mac} dev {name} nud permanent"
        for address, mac in sorted(neighbours - seen.neighbours)
    ]
    lines += [f"route replace {address} dev {name}" for address in sorted(routes - seen.routes)]
    return [Change("ip", line) for line in lines]


def _plain(address: str) -> str:
    return str(ipaddress.ip_address(address))


def _daemons(wanted: Desired, seen: Observed, state: Path, have_chrony: bool) -> list[Change]:
    """Files that differ, then their reader: names are read again by a running daemon, the others want a fresh start."""
    steps: list[Change] = []
    for name, start_on, reload_on in _readers(wanted, state, have_chrony):
        changed = {path for path, text in {**start_on, **reload_on}.items() if seen.files.get(path) != text}
        steps += [Change("file", text, path) for path, text in {**start_on, **reload_on}.items() if path in changed]
        steps += _daemon(name, seen, restart=bool(changed & start_on.keys()), reload=bool(changed & reload_on.keys()))
    return steps


def _readers(wanted: Desired, state: Path, have_chrony: bool) -> list[tuple[str, dict[Path, str], dict[Path, str]]]:
    """(daemon, files that it must be started again for, files that it reads again on a signal)."""
    text = dnsmasq_text
    hosts = {state / "hosts": text.hosts_text(wanted), state / "options": text.options_text(wanted)}
    readers = [
        ("dns", {state / "dns.conf": text.dns_config(wanted, state)}, {state / "names": text.names_text(wanted)}),
        ("dhcp", {state / "dhcp.conf": text.dhcp_config(wanted, state), **hosts}, {}),
    ]
    return readers + ([("ntp", {state / "ntp.conf": text.chrony_text(wanted, state)}, {})] if have_chrony else [])


def _daemon(name: str, seen: Observed, *, restart: bool, reload: bool) -> list[Change]:
    if restart or name not in seen.running:
        return [Change("start", name)]
    return [Change("reload", name)] if reload else []
