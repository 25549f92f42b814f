"""Why a machine is where it is, and what each node lacks for one that might be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from garage.core import labels
from garage.core.placement import Lack, Room, Verdict, judge
from garage.core.pool import Cold
from garage.core.states import COUNTED
from garage.db.models import Size
from garage.services import images, machines, placing
from garage.services.context import Caller, Context
from garage.services.rights import machine_for, project_for

SHOWN = 50
"""Nodes in one answer: those that fit, the best first, then those that lack least. A machine's own is always among them."""


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """What placement thinks of a node."""

    node: str
    here: bool
    """The machine is on it."""
    fits: bool
    score: float
    parts: Mapping[str, float]
    lacks: Sequence[Lack]


@dataclass(frozen=True, slots=True)
class Outlook:
    """Where such a machine would go now. `lacking` counts nodes by what they lack."""

    policy: str
    nodes: Sequence[NodeVerdict]
    total: int
    fitting: int
    lacking: Mapping[str, int]

    @property
    def node(self) -> str | None:
        """The one that would be chosen."""
        return self.nodes[0].node if self.nodes and self.nodes[0].fits else None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of a machine: what was true when it was placed (empty where nobody knows), and where it would go today if it were not there yet."""

    name: str
    node: str
    placed_at: float
    then: Mapping[str, Any]
    now: Outlook | None
    """None for one that is gone."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A machine that might be asked for."""

    project: str | None = None
    image: str = machines.DEFAULT_IMAGE
    size: str = machines.DEFAULT_SIZE
    apart: str = ""
    node_label: Sequence[str] = ()
    """ "KEY=VALUE"."""


def explain(ctx: Context, caller: Caller, ref: str) -> Explanation:
    with ctx.db.read() as session:
        machine = machine_for(session, caller, ref, reading=True)
        now = None
        if machine.state in COUNTED:
            size = Size(
                name=machine.size, vcpus=machine.vcpus, memory_mib=machine.memory_mib, disk_gib=machine.disk_gib
            )
            early = ("user_data",) if machine.cold_reason == Cold.USER_DATA else ()
            order = placing.Order(
                machine.project_id or "", machine.image, size, machine.node_labels, machine.apart, early
            )
            rooms = placing.every_room(session, ctx, order, without=machine)
            now = _outlook(rooms, order, ctx.config.placement_policy, machine.node)
        return Explanation(machine.name, machine.node, machine.created_at, machine.placement, now)


def would(ctx: Context, caller: Caller, wish: Wish) -> Outlook:
    """Where a machine would go now, and why not elsewhere. Quotas are not looked at."""
    apart, wanted = labels.check_apart(wish.apart), labels.parse(wish.node_label, pointer="/node_label")
    with ctx.db.read() as session:
        project = project_for(session, caller, wish.project)
        image, size = images.find(session, caller, wish.image), machines.find_size(session, wish.size)
        order = placing.Order(project.id, image, size, wanted, apart)
        return _outlook(placing.every_room(session, ctx, order), order, ctx.config.placement_policy)


def _outlook(rooms: Sequence[Room], order: placing.Order, policy: str, here: str = "") -> Outlook:
    verdicts = [judge(room, order.ask, policy) for room in rooms]
    verdicts.sort(key=lambda verdict: (len(verdict.lacks), -verdict.score, verdict.node))
    own = [verdict for verdict in verdicts[SHOWN:] if verdict.node == here]
    shown = [_shown(verdict, here) for verdict in [*verdicts[:SHOWN], *own]]
    lacking = Counter(lack.what for verdict in verdicts for lack in verdict.lacks)
    return Outlook(policy, shown, len(verdicts), sum(verdict.fits for verdict in verdicts), lacking)


def _shown(verdict: Verdict, here: str) -> NodeVerdict:
    parts = {name: round(value, 4) for name, value in verdict.parts}
    return NodeVerdict(verdict.node, verdict.node == here, verdict.fits, round(verdict.score, 4), parts, verdict.lacks)
