"""Lines while a lab is up: what carries them, what is in force, which commands change it. Pure, as plan.py is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netd.lab import rules
from netd.lab.addresses import LinePlace, lay_out
from netd.lab.model import INTERNET, Impairment, Line, Topology

PREFIX = "gl."
QUEUE = 5000
"""Packets that a TUN device holds while its forwarder is not scheduled: 40 ms at 1.5 Gb/s."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments and standard input."""

    argv: tuple[str, ...]
    input: str = ""


Stage = tuple[Command, ...]
"""Commands that don't depend on one another, only on the stages before."""


@dataclass(frozen=True, slots=True)
class Forwarder:
    """A line that a process of ours carries between two namespaces."""

    line: str
    near: str
    far: str


def prefix(lab: str) -> str:
    return f"{PREFIX}{lab}."


def carried_by(line: Line, *, netem: bool) -> str:
    """`veth`, `netem` or `forwarder`. netem puts packets out of order where delays vary, so jitter is always the forwarder's."""
    if not line.shaped:
        return "veth"
    return "netem" if netem and not line.impairment.jitter else "forwarder"


def in_force(line: Line, broken: Mapping[str, float]) -> Impairment:
    """The line's impairment with what is broken in place of what the file says."""
    own = line.impairment
    values = {key: broken.get(key, getattr(own, key)) for key in ("delay", "jitter", "loss", "rate")}
    return Impairment(**values)


def netem(namespace: str, device: str, wanted: Impairment) -> Command:
    """netem's form of an impairment, for one end."""
    words = [f"delay {wanted.delay * 1e6:.0f}us"]
    if wanted.jitter:
        words[0] += f" {wanted.jitter * 1e6:.0f}us"
    if wanted.loss:
        words.append(f"loss {wanted.loss * 100:.4f}%")
    if wanted.rate:
        words.append(f"rate {wanted.rate:.0f}bit")
    text = f"qdisc replace dev {device} root netem limit {QUEUE} {' '.join(words)}\n"
    return Command(("tc", "-n", namespace, "-batch", "-"), text)


def router_place(line: Line) -> str:
    """Named with a dot, so that no node can have the name."""
    return f"{line.name}.nat"


def carrier_place(carrier: str) -> str:
    return f"{carrier}.carrier"


def ends(topology: Topology, lab: str, line: Line) -> tuple[str, str]:
    """The namespaces at a line's site and far end."""
    place = next(place for place in lay_out(topology) if place.line == line)
    near = router_place(line) if place.lan else place.site.nodes[0]
    far = carrier_place(line.carrier) if line.carrier else INTERNET
    return f"{prefix(lab)}{near}", f"{prefix(lab)}{far}"


def filters(topology: Topology, lab: str, broken: Mapping[str, Mapping[str, float]], *, netem: bool) -> Stage:
    """The far ends' rules: written whole, again whenever a line is broken or healed."""
    places = lay_out(topology)
    found = []
    for place in (INTERNET, *topology.carriers):
        rows: list[tuple[LinePlace, Impairment | None]] = [
            (row, in_force(row.line, broken.get(row.line.name, {})))
            if carried_by(row.line, netem=netem) == "veth"
            else (row, None)
            for row in places
            if (row.line.carrier or INTERNET) == place
        ]
        name = INTERNET if place == INTERNET else carrier_place(place)
        found.append(load_rules(f"{prefix(lab)}{name}", rules.far_end(rows, core=place == INTERNET)))
    return tuple(found)


def load_rules(namespace: str, text: str) -> Command:
    return Command(("ip", "netns", "exec", namespace, "nft", "-f", "-"), text)
