"""Topology → what is run to make it real. Pure; every command can be pasted.

    node ──(LINE)── internet                              a site of one node without NAT
    node ──(LINE, lan)── router ──(LINE)── internet       NAT, or several nodes on the router's bridge `lan`
    … ──(LINE)── carrier ──(wan)── internet               lines that share a carrier's NAT

Both ends of a line are called as the line, also a node's port of its router. A namespace is gl.LAB.PLACE: labels have no dot, so
no lab's prefix begins another's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netd.lab import rules
from netd.lab.addresses import HOSTS4, HOSTS6, Interface, LinePlace, Segment, carrier_wire, lay_out
from netd.lab.lines import (
    QUEUE,
    Command,
    Forwarder,
    Stage,
    carried_by,
    carrier_place,
    ends,
    filters,
    load_rules,
    netem,
    prefix,
    router_place,
)
from netd.lab.model import INTERNET, Topology


@dataclass(frozen=True, slots=True)
class Plan:
    namespaces: tuple[str, ...]
    before: tuple[Stage, ...]
    """Namespaces and devices."""
    forwarders: tuple[Forwarder, ...]
    after: tuple[Stage, ...]
    """Addresses, routes, filters: once the lines carry."""


def plan(topology: Topology, lab: str, *, netem: bool = False) -> Plan:
    """All that `up` does. `netem`: the kernel delays by itself."""
    return _Builder(topology, lab, netem).build()


class _Builder:
    """Collects what each namespace needs, then writes one command per namespace and tool."""

    def __init__(self, topology: Topology, lab: str, netem: bool) -> None:
        self.topology, self.lab, self.netem = topology, lab, netem
        self.places = lay_out(topology)
        self.forwards: dict[str, bool] = {}
        self.links: list[str] = []
        self.tuns: list[tuple[str, str]] = []
        self.ip: dict[str, list[str]] = {}
        self.rules: dict[tuple[str, int], list[str]] = {}
        """By namespace and family: `ip rule`, unlike `ip route`, does not see from an address what family it is."""
        self.nft: list[Command] = []
        self.tc: list[Command] = []
        self.forwarders: list[Forwarder] = []

    def build(self) -> Plan:
        self._places()
        self._internet()
        for index, carrier in enumerate(self.topology.carriers):
            self._carrier(index, carrier)
        for place in self.places:
            self._line(place)
        self.nft += filters(self.topology, self.lab, {}, netem=self.netem)
        settings = [Command(("ip", "-n", name, "-batch", "-"), _text(lines)) for name, lines in self.ip.items()]
        rules = [
            Command(("ip", f"-{family}", "-n", name, "-batch", "-"), _text(lines))
            for (name, family), lines in self.rules.items()
        ]
        return Plan(
            tuple(self.forwards),
            self._before(),
            tuple(self.forwarders),
            (tuple(settings), (*rules, *self.nft, *self.tc)),
        )

    def _before(self) -> tuple[Stage, ...]:
        namespaces = Command(("ip", "-batch", "-"), _text(f"netns add {name}" for name in self.forwards))
        sysctls = [
            Command(("ip", "netns", "exec", name, "sysctl", "-qw", *_sysctls(forward)))
            for name, forward in self.forwards.items()
        ]
        links = Command(("ip", "-batch", "-"), _text(self.links))
        tuns = [
            Command(
                ("ip", "-n", name, "-batch", "-"), _text(_tun(device) for place, device in self.tuns if place == name)
            )
            for name in dict.fromkeys(place for place, _device in self.tuns)
        ]
        return (namespaces,), tuple(sysctls), (links,), tuple(tuns)

    def _name(self, place: str) -> str:
        return f"{prefix(self.lab)}{place}"

    def _places(self) -> None:
        """Every namespace, and whether it forwards."""
        routers = [router_place(place.line) for place in self.places if place.lan]
        carriers = [carrier_place(carrier) for carrier in self.topology.carriers]
        for place in (INTERNET, *carriers, *routers):
            self.forwards[self._name(place)] = True
        for place in self.topology.nodes:
            self.forwards[self._name(place)] = False
        self.ip = {name: ["link set lo up"] for name in self.forwards}

    def _internet(self) -> None:
        lines = self.ip[self._name(INTERNET)]
        lines += [f"addr add {address}/32 dev lo" for address in HOSTS4]
        lines += [f"addr add {address}/128 dev lo nodad" for address in HOSTS6]

    def _carrier(self, index: int, carrier: str) -> None:
        wire, name = carrier_wire(index), self._name(carrier_place(carrier))
        self._veth(self._name(INTERNET), carrier, name, "wan")
        self._address(self._name(INTERNET), carrier, wire.host(1))
        self._address(name, "wan", wire.host(2))
        self._default(name, "wan", wire.host(1))
        self.nft.append(load_rules(name, rules.nat("wan", self.topology.carriers[carrier], ())))
        behind = [place for place in self.places if place.line.carrier == carrier and place.wire.ipv6]
        self.ip[self._name(INTERNET)] += [
            f"route add {place.routed6} via {wire.host(2)[1].ip} dev {carrier}" for place in behind
        ]

    def _line(self, place: LinePlace) -> None:
        line = place.line
        near, far = ends(self.topology, self.lab, line)
        self._wire(place, near, far)
        self._address(far, line.name, place.wire.host(1))
        self._address(near, line.name, place.wire.host(2))
        if place.lan is None:
            self._node(place, 0, line.name)
            return
        self._default(near, line.name, place.wire.host(1))
        self._reach_lan(place, far)
        self._lan(place, near, place.lan)
        if line.nat:
            inside = [(name, place.node(index)[0]) for index, name in enumerate(place.site.nodes)]
            self.nft.append(load_rules(near, rules.nat(line.name, line.nat, inside)))

    def _wire(self, place: LinePlace, near: str, far: str) -> None:
        """The line itself, by what carries it."""
        line, how = place.line, carried_by(place.line, netem=self.netem)
        if how == "forwarder":
            self.tuns += [(near, line.name), (far, line.name)]
            self.forwarders.append(Forwarder(line.name, near, far))
        else:
            self._veth(near, line.name, far, line.name)
        if how == "netem":
            self.tc += [netem(end, line.name, line.impairment) for end in (near, far)]
        for end in (near, far):
            self.ip[end].append(f"link set {line.name} mtu {line.mtu} up")

    def _reach_lan(self, place: LinePlace, far: str) -> None:
        """The far end's routes to what lies behind a site's router; nobody outside knows the way behind a NAT."""
        lan, line = place.lan, place.line
        via = {address.version: address.ip for address in place.wire.host(2)}
        if lan and lan.ipv4 and not line.nat:
            self.ip[far].append(f"route add {lan.ipv4} via {via[4]} dev {line.name}")
        if lan and lan.ipv6:
            self.ip[far].append(f"route add {lan.ipv6} via {via[6]} dev {line.name}")

    def _lan(self, place: LinePlace, router: str, lan: Segment) -> None:
        """The site's own network: a bridge of the router with a port per node."""
        self.ip[router].append("link add lan type bridge")
        for index, node in enumerate(place.site.nodes):
            self._veth(router, f"port{index}", self._name(node), place.line.name)
            self.ip[router].append(f"link set port{index} master lan up")
            self.ip[self._name(node)].append(f"link set {place.line.name} up")
            self._address(self._name(node), place.line.name, place.node(index))
            self._node(place, index, place.line.name)
        self.ip[router].append("link set lan up")
        self._address(router, "lan", lan.host(1))

    def _node(self, place: LinePlace, index: int, device: str) -> None:
        """A node's way out: the site's first line is preferred; with several, answers leave by the line they came over."""
        name, order = self._name(place.site.nodes[index]), place.site.lines.index(place.line)
        table = 100 + order
        self._default(name, device, place.gateways(), f"metric {table}")
        if len(place.site.lines) > 1:
            self._default(name, device, place.gateways(), f"table {table}")
            for own in place.node(index):
                rule = f"rule add from {own.ip} lookup {table} priority {1000 + order}"
                self.rules.setdefault((name, own.version), []).append(rule)

    def _veth(self, one: str, device: str, other: str, other_device: str) -> None:
        """A pair that never exists in the server's own namespace."""
        self.links.append(f"link add {device} netns {one} type veth peer name {other_device} netns {other}")
        if other_device == "wan":
            self.ip[one].append(f"link set {device} up")
            self.ip[other].append(f"link set {other_device} up")

    def _address(self, name: str, device: str, addresses: tuple[Interface, ...]) -> None:
        self.ip[name] += [
            f"addr add {address} dev {device}{' nodad' if address.version == 6 else ''}" for address in addresses
        ]

    def _default(self, name: str, device: str, gateways: tuple[Interface, ...], more: str = "") -> None:
        self.ip[name] += [f"route add default via {gateway.ip} dev {device} {more}".strip() for gateway in gateways]


def _tun(device: str) -> str:
    return f"tuntap add dev {device} mode tun\nlink set {device} txqueuelen {QUEUE}"


def _sysctls(forward: bool) -> list[str]:
    """All is said: a new namespace inherits the server's own settings."""
    common = {"rp_filter": 0, "accept_redirects": 0, "send_redirects": 0}
    ipv6 = {"accept_ra": 0, "accept_dad": 0, "disable_ipv6": 0, "accept_redirects": 0}
    words = [f"net.ipv4.conf.{who}.{key}={value}" for who in ("all", "default") for key, value in common.items()]
    words += [f"net.ipv6.conf.{who}.{key}={value}" for who in ("all", "default") for key, value in ipv6.items()]
    # rates of errors are no part of what a lab shows, and a path's MTU is probed often
    words += ["net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"]
    return [*words, f"net.ipv4.ip_forward={int(forward)}", f"net.ipv6.conf.all.forwarding={int(forward)}"]


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
