"""nftables texts of the laboratory: a NAT's behaviour, and what a line's far end lets through."""

from __future__ import annotations

from collections.abc import Iterable

from netd.lab.addresses import Interface, LinePlace
from netd.lab.model import Impairment, Nat

MAPPING_SECONDS = 120
"""How long a NAT remembers a silent UDP mapping (RFC 4787 REQ-5; Linux keeps a flow that was answered as long)."""
REMEMBERED = "size 16384; flags dynamic,timeout; timeout {seconds}s;"


def nat(device: str, behaviour: Nat, nodes: Iterable[tuple[str, Interface]]) -> str:
    """The rules of a NAT whose outside is `device`; `nodes`: name and inside address of those that ports are forwarded to."""
    address = {name: str(inside.ip) for name, inside in nodes}
    forwards = [
        f'iifname "{device}" meta l4proto {{ tcp, udp }} th dport {port} dnat to {address[node]}'
        for port, node in behaviour.forward
    ]
    cone = behaviour.kind != "symmetric"
    chains = [
        _chain("pre", "nat hook prerouting priority dstnat", forwards + (_let_in(device, behaviour) if cone else [])),
        _chain("post", "nat hook postrouting priority srcnat", _translate(device, behaviour)),
        _chain("guard", "filter hook input priority filter", _guard(device)),
        _chain("door", "filter hook forward priority filter", _door(device)),
    ]
    if cone:
        chains.append(_chain("learn", "filter hook postrouting priority 300", _learn(device)))
    return _table("ip", [*_memory(), *chains] if cone else chains)


def _memory() -> list[str]:
    """`out`, `in`: which outside port an inside socket has, and back; `used`: ports that have an owner; `spoken`: to whom."""
    rest = REMEMBERED.format(seconds=MAPPING_SECONDS)
    return [
        f"map out {{ type ipv4_addr . inet_service : ipv4_addr . inet_service; {rest} }}",
        f"map in {{ type inet_service : ipv4_addr . inet_service; {rest} }}",
        f"set used {{ type inet_service; {rest} }}",
        f"set spoken {{ type inet_service . ipv4_addr; {rest} }}",
    ]


def _let_in(device: str, behaviour: Nat) -> list[str]:
    """Who may open a flow from outside; for `port` nobody: conntrack knows the answers."""
    who = {"any": "", "address": "udp dport . ip saddr @spoken ", "port": None}[behaviour.filtering]
    return [] if who is None else [f'iifname "{device}" {who}dnat ip to udp dport map @in']


def _translate(device: str, behaviour: Nat) -> list[str]:
    """An inside socket that has an outside port keeps it; what a new one gets is the NAT's kind."""
    if behaviour.kind == "symmetric":
        return [f'oifname "{device}" masquerade fully-random']
    keep = f'oifname "{device}" snat ip to ip saddr . udp sport map @out'
    if behaviour.ports:
        low, high = behaviour.ports
        restricted = f"masquerade to :{low}-{high} random"
        return [
            keep,
            f'oifname "{device}" meta l4proto {{ tcp, udp }} {restricted}',
            f'oifname "{device}" masquerade',
        ]
    if behaviour.kind == "ds-lite":
        return [keep, f'oifname "{device}" masquerade fully-random']
    return [
        keep,
        f'oifname "{device}" udp sport @used masquerade fully-random',  # two nodes with one port: the later one moves
        f'oifname "{device}" masquerade',
    ]


def _learn(device: str) -> list[str]:
    """Remember what conntrack chose, with each packet that leaves."""
    found = []
    for direction in ("original", "reply"):  # a reply that leaves belongs to a flow that was let in
        inside = f"ct {direction} ip saddr . ct {direction} proto-src"
        mine = f'oifname "{device}" meta l4proto udp ct direction {direction}'
        found += [
            f"{mine} update @out {{ {inside} : ip saddr . udp sport }}",
            f"{mine} update @in {{ udp sport : {inside} }}",
            f"{mine} update @used {{ udp sport }}",
            f"{mine} update @spoken {{ udp sport . ip daddr }}",
        ]
    return found


def _guard(device: str) -> list[str]:
    """What nobody asked for is dropped before conntrack keeps it: an early packet of a peer must not take the port of the hole that
    this side is about to open."""
    return [f'iifname "{device}" meta l4proto != icmp ct state new drop']


def _door(device: str) -> list[str]:
    return [
        f'iifname "{device}" ct state established,related accept',
        f'iifname "{device}" ct status dnat accept',
        f'iifname "{device}" drop',
    ]


def far_end(lines: Iterable[tuple[LinePlace, Impairment | None]], *, core: bool) -> str:
    """What a line's far end refuses: blocked protocols, and the loss of lines that have no forwarder (None: it has one).

    `core`: this is the internet, which carries no private source.
    """
    before, after = [], []
    for place, loss in lines:
        for condition in _refused(place, loss):
            before.append(f'iifname "{place.line.name}" {condition} drop')
            after.append(f'oifname "{place.line.name}" {condition} drop')
        if "inbound" in place.line.block:
            after.append(f'oifname "{place.line.name}" ct state new drop')
    private = ["ip saddr { 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12, 192.168.0.0/16 } drop", "ip6 saddr fc00::/7 drop"]
    return _table(
        "inet",
        [
            _chain("before", "filter hook prerouting priority -350", before),
            _chain("after", "filter hook postrouting priority 350", after),
            _chain("core", "filter hook forward priority filter", private if core else []),
        ],
    )


def _refused(place: LinePlace, loss: Impairment | None) -> list[str]:
    words = {"udp": "meta l4proto udp", "tcp": "meta l4proto tcp", "icmp": "meta l4proto { icmp, icmpv6 }"}
    found = [words[word] for word in place.line.block if word in words]
    if loss and loss.loss >= 1:
        found.append("")
    elif loss and loss.loss:
        found.append(f"numgen random mod 1000000 < {round(loss.loss * 1_000_000)}")
    return found


def _chain(name: str, hook: str, rules: Iterable[str]) -> str:
    return "\n".join([f"chain {name} {{ type {hook};", *(f"  {rule}" for rule in rules), "}"])


def _table(family: str, parts: Iterable[str]) -> str:
    """A whole table in place of what was there, in one transaction."""
    inner = "\n".join(f"  {line}" for part in parts for line in part.split("\n"))
    return f"table {family} lab\ndelete table {family} lab\ntable {family} lab {{\n{inner}\n}}\n"
