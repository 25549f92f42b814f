"""What is said when no node takes a machine: what is missing most nearly, and what helps."""

from __future__ import annotations

from collections.abc import Sequence

from garage.core.node_states import NodeState
from garage.core.placement import OF_NODE, Ask, Lack, Room, Verdict, judge, words
from garage.core.types import Demand
from garage.errors import N_, GarageError

_EXPLAIN = N_("“garage machine explain” with the same options shows what each server lacks")


REASONS: dict[str, str] = {
    "silent": N_("does not answer"),
    "away": N_("its hypervisor does not answer"),
    "unknown": N_("has not been looked at yet"),
    "labels": N_("has not the label {needed}"),
    "apart": N_("has a machine that is kept apart by “{needed}”"),
    "disk": N_("{found} GiB of disk left, {needed} GiB stay free"),
    "promised": N_("{found} GiB of disk can still be promised, {needed} GiB needed"),
    "memory": N_("{found} MiB of RAM free, {needed} MiB needed"),
    "vcpus": N_("{found} vCPUs free, {needed} needed"),
}
"""What each of `placement.LACKS` says about a node, but for its state."""
STATES: dict[str | float, str] = {
    NodeState.DRAINING: N_("is being emptied"),
    NodeState.MAINTENANCE: N_("in maintenance"),
}


def reason(lack: Lack) -> GarageError:
    """One lack as a text that is translated like an error's; nobody raises it."""
    text = STATES[lack.found] if lack.what == "state" else REASONS[lack.what]
    return GarageError("no_capacity", text, needed=lack.needed, found=lack.found)


def refusal(rooms: Sequence[Room], ask: Ask, *, stoppable: Sequence[str] = ()) -> GarageError:
    """`no_capacity`, `disk_full` or `unavailable`, about the node that lacks least."""
    verdicts = {room.name: judge(room, ask, "spread") for room in rooms}
    working = [room for room in rooms if not _lacks(verdicts[room.name], *OF_NODE)]
    if not working:
        return _no_server(verdicts)
    labelled = [room for room in working if not _lacks(verdicts[room.name], "labels")]
    if not labelled:
        return GarageError(
            "no_capacity", N_("no server that takes machines has the labels {labels}"),
            hint=N_("“garage node list” shows the labels that there are"), pointer="/labels", labels=words(ask.labels),
        )  # fmt: skip
    apart = [room for room in labelled if not _lacks(verdicts[room.name], "apart")]
    if not apart:
        return GarageError(
            "no_capacity",
            N_("every server that could take it has a machine that is kept apart by “{word}” already"),
            hint=N_("take another word, or none, or ask an admin for another server"), pointer="/apart", word=ask.apart,
        )  # fmt: skip
    best = max(apart, key=lambda room: room.free_memory_mib)
    return short(best, ask.demand, stoppable, others=len(rooms) - 1)


def too_many(possible: int, count: int) -> GarageError:
    """There is room for some of several machines that were asked for at once."""
    return GarageError(
        "no_capacity",
        N_("there is room for {possible} of {count} such machines"),
        hint=N_("ask for fewer, or take a smaller size"), pointer="/count", possible=possible, count=count,
    )  # fmt: skip


def _lacks(verdict: Verdict, *what: str) -> list[Lack]:
    return [lack for lack in verdict.lacks if lack.what in what]


def _no_server(verdicts: dict[str, Verdict]) -> GarageError:
    known = [verdict for verdict in verdicts.values() if not _lacks(verdict, "unknown")]
    if not known or any(_lacks(verdict, "away", "silent") for verdict in known):
        return GarageError(
            "unavailable",
            N_("no server takes machines yet"),
            hint=N_("look at “garage status”: the worker may still be starting"),
        )
    return GarageError(
        "unavailable",
        N_("no server takes machines at the moment: each is being emptied or looked after"),
        hint=N_("“garage node list” shows them; ask an admin when one is back"),
    )


def short(room: Room, demand: Demand, stoppable: Sequence[str] = (), *, others: int = 0) -> GarageError:
    """Which resource `room` lacks first."""
    lack = next(iter(_lacks(judge(room, Ask(demand), "spread"), "disk", "promised", "memory", "vcpus")), Lack("memory"))
    if lack.what == "disk":
        return GarageError(
            "disk_full",
            N_("{node} has {free} GiB of disk left; {reserve} GiB stay free for the machines that run"),
            hint=N_("delete machines or images that nobody needs"),
            node=room.name,
            free=lack.found,
            reserve=lack.needed,
        )
    if lack.what == "promised":
        return GarageError(
            "disk_full",
            N_(
                "machines on {node} may grow to {promised} GiB; {free} GiB more can be promised, and this size needs {disk}"
            ),
            hint=N_("take a smaller size, or delete machines that nobody needs"),
            node=room.name,
            promised=room.used.disk_gib,
            free=room.free_disk_gib,
            disk=demand.disk_gib,
        )
    return _full(room, demand, ", ".join(stoppable[:3]), others)


def _full(room: Room, demand: Demand, names: str, others: int) -> GarageError:
    alone = N_(
        "{node} has {free_memory} MiB of RAM and {free_vcpus} vCPUs free; this size needs {memory} MiB and {vcpus}"
    )
    best = N_(
        "of {count} servers {node} has most room, {free_memory} MiB of RAM and {free_vcpus} vCPUs; this size needs {memory} MiB and {vcpus}"
    )
    if names:
        hint = N_("take a smaller size, or stop what you do not use: {stoppable}")
    else:
        hint = _EXPLAIN if others else N_("take a smaller size, or ask others to stop what they do not use")
    return GarageError(
        "no_capacity",
        best if others else alone,
        hint=hint,
        node=room.name,
        count=others + 1,
        free_memory=room.free_memory_mib,
        free_vcpus=room.free_vcpus,
        memory=demand.memory_mib,
        vcpus=demand.vcpus,
        stoppable=names,
    )
