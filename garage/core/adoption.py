"""What adopting a node after a restore means: its machines' rows are older than what is there.

The rule is that no work is lost: where the database says less than the node does, the node is right.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from garage.core.hypervisor_types import Domain, Power, Reason
from garage.core.states import State


class Do(StrEnum):
    """What becomes of a machine or domain when the node is adopted. A machine that is in none of these is as the database says."""

    KEEP = "keep"
    """A domain without a row: its guest is asked to shut down; domain and disk stay."""
    HERE = "here"
    """The machine is on this node now, and no longer on the one of its row."""
    RUNS = "runs"
    """It runs, although its row says otherwise: it is a running machine."""
    RECOVER = "recover"
    """It should run and does not: it is started again if its disk is there, else it is marked lost."""
    RETIRE = "retire"
    """A pool machine, nobody's as far as is known, and not used any more: it is removed and another made."""


@dataclass(frozen=True, slots=True)
class Row:
    """A machine's row, as far as it matters here."""

    id: str
    name: str
    node: str
    state: State
    moving: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One difference. `name` and `state` are empty for a domain without a row; `power` for a machine without a domain."""

    node: str
    id: str
    name: str
    state: str
    power: str
    do: Do


NOT_THERE = frozenset({State.GONE, State.LOST, State.REQUESTED})
"""Rows that claim no domain."""
RESTS = frozenset({State.STOPPED, State.FAILED})
SHOULD_RUN = frozenset({State.READY, State.BOOTING})


def differences(rows: Sequence[Row], domains: Mapping[str, Mapping[str, Domain]]) -> list[Step]:
    """Of the nodes that were looked at, `domains` by node and id; sorted by node and id."""
    by_id = {row.id: row for row in rows if row.state not in NOT_THERE}
    found = [step for node, there in domains.items() for step in _of_domains(node, there, by_id, domains)]
    found += [
        _step(row, row.node, None, Do.RECOVER)
        for row in by_id.values()
        if row.state in SHOULD_RUN and row.node in domains and not row.moving
        if not any(row.id in there for there in domains.values())
    ]
    return sorted(found, key=lambda step: (step.node, step.id))


def _of_domains(
    node: str, there: Mapping[str, Domain], by_id: Mapping[str, Row], domains: Mapping[str, Mapping[str, Domain]]
) -> list[Step]:
    found = []
    for id_, domain in there.items():
        row = by_id.get(id_)
        if row is None:
            found.append(Step(node, id_, "", "", domain.power.value, Do.KEEP))
        elif row.moving:
            continue  # its move looks at both nodes by itself
        elif row.node != node:
            elsewhere = domains.get(row.node)
            # one that runs has come here, even where its old node was not looked at yet: libvirt lets it go on at one end alone
            moved = domain.active if elsewhere is None else id_ not in elsewhere
            found.append(_step(row, node, domain, Do.HERE if moved else Do.KEEP))
        elif (do := _here(row, domain)) is not None:
            found.append(_step(row, node, domain, do))
    return found


def _here(row: Row, domain: Domain) -> Do | None:
    if row.state is State.SPARE:
        # one that runs, or stopped for want of room, was taken after the backup: it is somebody's
        idle = domain.power is Power.PAUSED and domain.reason is not Reason.FULL
        return Do.RETIRE if idle else Do.KEEP
    if row.state in RESTS and domain.active:
        return Do.RUNS
    return Do.RECOVER if row.state in SHOULD_RUN and not domain.active else None


def _step(row: Row, node: str, domain: Domain | None, do: Do) -> Step:
    return Step(node, row.id, row.name, row.state.value, domain.power.value if domain else "", do)


def decided(steps: Sequence[Step], seen: Collection[str], waiting: Collection[str]) -> list[str]:
    """The nodes of `seen` that can be adopted while `waiting` were not looked at: a machine that is missing may be on one of those, so that
    its node waits with them. None would be started twice or called lost for want of a look."""
    missing = {step.node for step in steps if step.do is Do.RECOVER and not step.power} if waiting else set()
    return sorted(set(seen) - missing)


def digest(steps: Sequence[Step], nodes: Sequence[str]) -> str:
    """Names a plan: what is agreed to is this one or nothing."""
    text = json.dumps([[asdict(step) for step in steps], sorted(nodes)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
