"""Does what the database says fit what is on the nodes? A list of what does not; empty when all is well.

For a garage at rest: what is still being made, moved or removed may be half there, and is only held to what is never allowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from garage.core.hypervisor_types import Domain, Power
from garage.core.states import State

T = TypeVar("T")
ON = frozenset({State.READY})
"""States in which the domain runs."""
OFF = frozenset({State.STOPPED})
KEPT = frozenset({State.READY, State.STOPPED, State.SUSPENDED})
"""States in which the disk is there."""
AT_REST = frozenset(
    {State.READY, State.STOPPED, State.SUSPENDED, State.FAILED, State.LOST, State.UNREACHABLE, State.GONE}
)
"""States in which nothing is under way. A pool machine is one when it waits (`warm`)."""
PLACELESS = frozenset({State.GONE, State.LOST})


class Kind(StrEnum):
    """What is wrong."""

    DOMAIN_MISSING = "domain_missing"
    DOMAIN_TWICE = "domain_twice"
    """More than one node has it."""
    DOMAIN_STRAY = "domain_stray"
    """A node has a domain that no row asks for there."""
    POWER = "power"
    """It runs and should not, or the other way round."""
    DISK_MISSING = "disk_missing"
    DISK_STRAY = "disk_stray"
    NAME_TWICE = "name_twice"
    ADDRESS_TWICE = "address_twice"
    """An IPv4, IPv6 or MAC address, or a tap of one node."""
    SECRET_LEFT = "secret_left"  # noqa: S105  (a kind of trouble)
    """A machine that is gone still has its key."""
    AUDIT_MISSING = "audit_missing"
    QUOTA = "quota"
    PROMISE = "promise"
    """What somebody was told is not so."""


@dataclass(frozen=True, slots=True)
class Row:
    """A machine as the database has it."""

    id: str
    name: str
    project: str | None
    state: State
    node: str
    moving_to: str | None
    warm: bool
    ipv4: str
    ipv6: str
    mac: str
    tap: str
    has_key: bool
    ran: bool = True
    """It was `ready` once; one that never was, e.g. for want of space, has nothing to lose."""

    @property
    def at_rest(self) -> bool:
        return self.moving_to is None and (self.state in AT_REST or (self.state is State.SPARE and self.warm))


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node as it is."""

    domains: Mapping[str, Domain]
    disks: frozenset[str]


@dataclass(frozen=True, slots=True)
class Trouble:
    kind: Kind
    subject: str
    detail: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind.value, self.subject, self.detail) if part)


def troubles(rows: Sequence[Row], nodes: Mapping[str, NodeSeen]) -> list[Trouble]:
    """Everything that does not fit, in a stable order. Nodes that are not in `nodes` did not answer: nothing is said of them."""
    found = [*_of_rows(rows), *_of_nodes(rows, nodes)]
    for row in rows:
        found += _of_machine(row, nodes)
    return sorted(found, key=str)


def _of_rows(rows: Sequence[Row]) -> Iterator[Trouble]:
    """What the database alone can tell."""
    there = [row for row in rows if row.state is not State.GONE]
    owned = [(row.project, row.name) for row in there if row.project is not None]
    yield from (Trouble(Kind.NAME_TWICE, f"{name}.{project}") for project, name in _twice(owned))
    held = [
        *[row.ipv4 for row in there],
        *[row.ipv6 for row in there],
        *[row.mac for row in there],
        *[f"{row.node}/{row.tap}" for row in there],
    ]
    yield from (Trouble(Kind.ADDRESS_TWICE, address) for address in _twice(held))
    yield from (Trouble(Kind.SECRET_LEFT, row.id) for row in rows if row.state is State.GONE and row.has_key)


def _twice(items: Iterable[T]) -> list[T]:
    return [item for item, count in Counter(items).items() if count > 1]


def _of_nodes(rows: Sequence[Row], nodes: Mapping[str, NodeSeen]) -> Iterator[Trouble]:
    """What is on nodes without a row that asks for it."""
    asked = {
        (place, row.id) for row in rows if row.state not in PLACELESS for place in (row.node, row.moving_to) if place
    }
    for name, node in nodes.items():
        yield from (Trouble(Kind.DOMAIN_STRAY, key, name) for key in node.domains if (name, key) not in asked)
        yield from (Trouble(Kind.DISK_STRAY, key, name) for key in node.disks if (name, key) not in asked)


def _of_machine(row: Row, nodes: Mapping[str, NodeSeen]) -> Iterator[Trouble]:
    at = [name for name, node in nodes.items() if row.id in node.domains]
    running = [name for name in at if nodes[name].domains[row.id].active]
    if len(running) > 1 or (row.at_rest and len(at) > 1):
        yield Trouble(Kind.DOMAIN_TWICE, row.id, " ".join(sorted(at)))
    seen = nodes.get(row.node)
    if seen is None or not row.at_rest:
        return
    domain = seen.domains.get(row.id)
    if row.state in ON | {State.SPARE} and domain is None:
        yield Trouble(Kind.DOMAIN_MISSING, row.id, row.state.value)
    elif domain is not None and not _power_fits(row.state, domain):
        yield Trouble(Kind.POWER, row.id, f"{row.state.value}: {domain.power.value}")
    if row.state in KEPT | {State.SPARE} and row.ran and row.id not in seen.disks:
        yield Trouble(Kind.DISK_MISSING, row.id, row.node)


def _power_fits(state: State, domain: Domain) -> bool:
    if state in ON:
        return domain.power in (Power.RUNNING, Power.PAUSED)
    if state in OFF:
        return domain.power is Power.OFF
    return True
