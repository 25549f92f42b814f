"""A machine on its way from one node to another: what either node's worker does about it. Pure; the difference is a value.

The machine's row says where it *is* (`node`) and where it goes (`moving_to`). Either worker may die at any point, and each sees its own
node alone, so the row carries what they tell each other:

    admin, drain ── moving_to ──► target: an empty overlay, seed, kernel, its network ── spec ──► source: libvirt migrates
    source: it is not, or perhaps not, here ── left, unsure ──► target: looks ──► it is here (done), or not (called off)

Whoever runs is right: libvirt lets the guest go on at one end alone. So a running domain decides at once; one that is gone, off or paused
after an interrupted migration is asked for at the other end, and nothing is started, removed or called off before the answer.
"""

from __future__ import annotations

from garage.core import changes as p
from garage.core.changes import Change, Move, MoveStep, Seen, Wanted
from garage.core.drain import COLD, LIVE, rests
from garage.core.hypervisor_types import Domain, Power
from garage.core.plan import IMAGE_LOOK
from garage.core.states import State

ASKED = (MoveStep.LEFT, MoveStep.UNSURE)


def depart(machine: Wanted, move: Move, seen: Seen) -> list[Change]:
    """What the node does on which the machine is."""
    if move.step in ASKED:
        return [p.Wait("target")]
    if move.step is MoveStep.MOVING and not _here(machine, seen.domain):
        return [p.AskTarget()]
    if not rests(machine.state, machine.wants_running) or (machine.state in LIVE and not _active(seen.domain)):
        return [p.EndMove()]  # what was asked for, or happened, comes first
    if move.spec is None:
        return [p.Wait("target")]
    if machine.state in LIVE:
        return [p.Migrate()]
    if not seen.disk and not machine.ran:
        return [p.FinishMove()]  # nothing was ever on it. A disk that has gone is libvirt's to refuse, and is named
    if seen.network_version < machine.spec_version:
        return [p.Wait("network")]
    afresh: list[Change] = [p.Destroy()] if _active(seen.domain) else []
    return [*afresh, p.Define(), p.StartPaused(), p.Migrate()]


def arrive(machine: Wanted, move: Move, seen: Seen) -> list[Change]:
    """What the node does to which the machine goes. A file that is there was made for this move: older ones are removed first."""
    if move.step in ASKED:
        return [p.Confirm()]
    if machine.state is State.UNREACHABLE and seen.domain is not None and seen.domain.power is Power.RUNNING:
        return [p.Confirm()]
    if move.spec is not None:
        return [p.Wait("source")]
    if not seen.disk and seen.image < 100:
        return [p.Wait("image", IMAGE_LOOK)]
    files: list[Change] = [] if seen.disk else [p.MakeDisk()]
    files += [] if seen.seed else [p.WriteSeed()]
    if seen.network_version < move.version:
        return files or [p.Wait("network")]
    return [*files, p.Prepared()]


def arrived(move: Move, domain: Domain | None) -> bool:
    """Whether the machine is here, by a look at its domain that is younger than the question."""
    if domain is None:
        return False
    return domain.power is not Power.PAUSED or move.step is MoveStep.LEFT


def asks(machine: Wanted, domain: Domain | None) -> MoveStep | None:
    """What the source asks the target after an interrupted migration, with `domain` as it is here and no migration under way; None: it is
    here for certain."""
    if _here(machine, domain):
        return None
    return MoveStep.LEFT if domain is None or domain.power is Power.OFF else MoveStep.UNSURE


def _here(machine: Wanted, domain: Domain | None) -> bool:
    """A machine that is off lies where its domain is: its disk is complete there, whatever was copied of it."""
    if domain is None:
        return False
    return machine.state in COLD or domain.power is Power.RUNNING


def _active(domain: Domain | None) -> bool:
    return domain is not None and domain.active and not domain.crashed
