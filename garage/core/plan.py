"""What has to be done for one machine: the difference between what is wanted and what is seen, as a list of values.

Level-triggered: the plan depends on what is there now, never on what was done before, so that a crash between any two changes
loses nothing. Changes are carried out in order; the first that fails ends the list and the machine is looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable

from garage.core.changes import (
    BootAnew,
    Change,
    Define,
    Destroy,
    Fault,
    Fire,
    Flush,
    GiveIdentity,
    Grow,
    GrowDisk,
    LimitDisk,
    Limits,
    MakeDisk,
    MarkRedone,
    MarkStarted,
    MarkWarm,
    Probe,
    PushKeys,
    Redo,
    RemoveFiles,
    RemoveSnapshot,
    RemoveSnapshots,
    RestoreDisk,
    Resume,
    Seen,
    Settle,
    Show,
    Shutdown,
    Start,
    Suspend,
    TakeSnapshot,
    Undefine,
    Wait,
    Wanted,
    WriteSeed,
)
from garage.core.hypervisor_types import Domain, Power, Reason
from garage.core.states import Event, State
from garage.core.volume_plan import before_start, of_machine

ASK_AGAIN = 10.0
"""Seconds until a guest is asked again to shut down: one that is still booting does not hear the first time."""
IDENTITY_TIMEOUT = 15.0
"""Seconds from the turn of a machine out of a pool to its SSH; then it boots after all. Usually it takes one."""
AGENT_START = 120.0
"""Seconds from ready within which a guest's agent may still be starting; emulated and on a busy node it takes tens of them."""
YIELD = 1.0
"""Seconds between looks whether the machines that people wait for have started."""
IMAGE_LOOK = 3.0
"""Seconds between looks at how much of an image has come."""
CONSOLE_LOOK = 3.0
"""Seconds between looks at the console of a machine that boots."""


def plan(machine: Wanted, seen: Seen, limits: Limits) -> list[Change]:
    """The changes that bring `machine` nearer to what it should be; empty when it is there."""
    match machine.state:
        case State.SPARE:
            return _spare(machine, seen, limits)
        case State.PREPARING:
            return _prepare(machine, seen)
        case State.BOOTING:
            return _boot(machine, seen, limits)
        case State.READY:
            return _keep(machine, seen)
        case State.STOPPING:
            return _stop(seen, limits) or [Fire(Event.OFF)]
        case State.STOPPED:
            start: list[Change] = [Fire(Event.START)] if machine.wants_running else []
            return _stop(seen, limits) or _aside(machine) or start
        case State.FAILED:
            return [Destroy()] if _active(seen) else _aside(machine)
        case State.UNREACHABLE:
            return _find(seen)
        case State.DELETING:
            return _delete(machine, seen)
        case _:
            return []


def _active(seen: Seen) -> bool:
    return seen.domain is not None and seen.domain.active


def _end(machine: Wanted, seen: Seen) -> list[Change]:
    """Off at once, whatever the guest does; what it wrote on volumes is kept."""
    if not _active(seen):
        return []
    runs = seen.domain is not None and seen.domain.power is Power.RUNNING
    return [Flush(), Destroy()] if runs and machine.volumes else [Destroy()]


def _spare(machine: Wanted, seen: Seen, limits: Limits) -> list[Change]:
    """Booted without an identity, then paused. One that went off or does not come up is of no use to anybody."""
    domain = seen.domain
    if not machine.started:
        if _active(seen):
            return [MarkStarted()]
        return [Wait("busy", YIELD)] if seen.busy else _bring_up(machine, seen, MarkStarted())
    if domain is None or not domain.active or domain.crashed:
        return [Fire(Event.AGED)]
    if machine.warm:
        return [Suspend()] if domain.power is Power.RUNNING else []
    if seen.busy:
        return [Suspend(), Wait("busy", YIELD)] if domain.power is Power.RUNNING else [Wait("busy", YIELD)]
    if seen.age >= limits.boot_timeout:
        return [Fire(Event.AGED)]
    return [*([Resume()] if domain.power is Power.PAUSED else []), Settle(), Suspend(), MarkWarm()]


def _identify(seen: Seen) -> list[Change]:
    """A taken machine: it runs within a moment, or boots like any other."""
    domain = seen.domain
    if seen.answered:
        return [Fire(Event.IDENTIFIED)]
    waited = seen.turn_ago or 0.0
    if domain is None or not domain.active or domain.crashed or waited >= IDENTITY_TIMEOUT:
        # on a new disk: on this one an identity may be half there
        return [*([Destroy()] if _active(seen) else []), RemoveFiles(), BootAnew()]
    if seen.turn_ago is None:
        return [Show("identity"), Wait("turn", YIELD)]
    wait: list[Change] = [Show("identity"), Probe(), Wait("ssh", IDENTITY_TIMEOUT - waited)]
    if seen.asked_ago is not None:
        return wait
    return [*([Resume()] if domain.power is Power.PAUSED else []), GiveIdentity(), *wait]


def turns(machines: Iterable[Wanted], processors: int) -> set[str]:
    """Ids of the machines out of a pool that may get their identity now, those that were asked for first. One more than there are
    processors keeps them busy; with more of them all would be ready only when the last one is."""
    taken = [machine for machine in machines if machine.taken and machine.state is State.PREPARING]
    first = sorted(taken, key=lambda machine: (machine.state_since, machine.id))[: processors + 1]
    return {machine.id for machine in first}


def _prepare(machine: Wanted, seen: Seen) -> list[Change]:
    if machine.redo:
        return _redo(machine, seen)
    if machine.taken:
        return _identify(seen)
    if _active(seen):
        return [Fire(Event.STARTED)]
    return _bring_up(machine, seen, Fire(Event.STARTED))


def _redo(machine: Wanted, seen: Seen) -> list[Change]:
    """What is done and not yet recorded is done again: there is nothing new on the disk before it is recorded."""
    off = _end(machine, seen)
    if machine.redo is Redo.DISK:
        return [Show("disk"), *off, RemoveFiles(), MarkRedone()]
    if machine.redo is Redo.REVERT:
        return [*off, *_revert(machine)]
    return [*off, *([GrowDisk()] if seen.disk else []), MarkRedone()]


def _revert(machine: Wanted) -> list[Change]:
    return [RestoreDisk(machine.revert_to), GrowDisk(), MarkRedone()]


def _snapshot(machine: Wanted, *, live: bool, patient: bool = False) -> list[Change]:
    """The first that is to be made or removed; the others when that is recorded."""
    for order in machine.orders:
        return [RemoveSnapshot(order.id) if order.remove else TakeSnapshot(order, live, patient)]
    return []


def _aside(machine: Wanted) -> list[Change]:
    """What is done to the disk of a machine that is off, whether or not it starts then: people wait for it."""
    revert = _revert(machine) if machine.redo is Redo.REVERT else []
    return _snapshot(machine, live=False) or revert or of_machine(machine.volumes, live=False)


def _bring_up(machine: Wanted, seen: Seen, done: Change, *, again: bool = False) -> list[Change]:
    """Files at once, the domain only when the node's rules know the machine: they stand before its tap is up. `again`: not its first
    boot, so its seed may be of another time: addresses change when the site is renumbered."""
    if copies := before_start(machine.volumes):
        return [Show("disk"), *copies]
    if not seen.disk and seen.image < 100:
        return [Show(f"image {seen.image // 5 * 5}"), Wait("image", IMAGE_LOOK)]
    files: list[Change] = [] if seen.disk else [MakeDisk()]
    files += [] if seen.seed else [WriteSeed()]
    if files:
        files.insert(0, Show("disk"))
    if seen.network_version < machine.spec_version:
        return files or [Show("network"), Wait("network")]
    renewed = [WriteSeed()] if again and seen.seed else []
    return [*files, *renewed, Show("starting"), Define(), Start(), done]


def _boot(machine: Wanted, seen: Seen, limits: Limits) -> list[Change]:
    domain = seen.domain
    if not machine.wants_running:
        return [Fire(Event.STOP)]
    if not machine.started:
        return _boot_anew(machine, seen)
    if domain is None or not domain.active or domain.crashed:
        return _gone_off(domain)
    if seen.answered:
        return [Fire(Event.ANSWERED)]
    if seen.panicked:
        return [Fire(Event.ERROR, Fault.CRASH)]
    if seen.age >= limits.boot_timeout:
        return [Fire(Event.ERROR, Fault.BOOT_TIMEOUT)]
    return [
        *_unpause(domain),
        Show("waiting_ssh"),
        Probe(),
        Wait("ssh", min(CONSOLE_LOOK, limits.boot_timeout - seen.age)),
    ]


def _boot_anew(machine: Wanted, seen: Seen) -> list[Change]:
    """A start that was asked for; what is left of an earlier run may still be there."""
    if machine.orders and not _active(seen) and seen.disk:
        return _snapshot(machine, live=False)
    if machine.redo:
        return _redo(machine, seen)
    domain = seen.domain
    if domain is None or not domain.active:
        if machine.ran and not seen.disk:  # a new one would look as if its data had never been
            return [Fire(Event.ERROR, Fault.DISK_GONE)]
        return _bring_up(machine, seen, MarkStarted(), again=True)
    if domain.power is Power.CRASHED:
        return [Destroy()]
    return [Resume(), MarkStarted()] if domain.power is Power.PAUSED else [MarkStarted()]


def _gone_off(domain: Domain | None) -> list[Change]:
    """It was on and is off: by its guest's will, by a crash, or by something that happened to the node."""
    if domain is not None and domain.crashed:
        return [Fire(Event.ERROR, Fault.CRASH)]
    if domain is not None and domain.reason is Reason.GUEST:
        return [Fire(Event.POWERED_OFF)]
    return [Fire(Event.SILENT)]


def _keep(machine: Wanted, seen: Seen) -> list[Change]:
    domain = seen.domain
    if not machine.wants_running:
        return [Fire(Event.STOP)]
    if domain is None or not domain.active or domain.crashed:
        return _gone_off(domain)
    if not machine.disk_limited:
        return [LimitDisk()]
    if domain.power is Power.RUNNING and not machine.keys_applied:
        return [PushKeys()]
    if domain.power is not Power.RUNNING:  # while it grows, a worker that died may have left it paused
        return [Resume()] if machine.grows and domain.power is Power.PAUSED else _unpause(domain)
    patient = seen.age < AGENT_START
    if machine.grows:
        return [Grow(patient)]
    return _snapshot(machine, live=True, patient=patient) or of_machine(machine.volumes, live=True, patient=patient)


def _unpause(domain: Domain) -> list[Change]:
    """A guest that was paused because the disk was full tries again; one that an admin paused stays so."""
    return [Resume()] if domain.power is Power.PAUSED and domain.reason is Reason.FULL else []


def _stop(seen: Seen, limits: Limits) -> list[Change]:
    """Ask, ask again, then pull the plug; empty when it is off."""
    domain = seen.domain
    if domain is None or not domain.active:
        return []
    if domain.power is not Power.RUNNING or seen.age >= limits.stop_timeout:
        return [Destroy()]
    if seen.asked_ago is None or seen.asked_ago >= ASK_AGAIN:
        return [Shutdown()]
    return [Wait("shutdown", min(limits.stop_timeout - seen.age, ASK_AGAIN - seen.asked_ago))]


def _find(seen: Seen) -> list[Change]:
    """The node is back: what became of the machine?"""
    if _active(seen):
        return [Fire(Event.FOUND_RUNNING)]
    return [Fire(Event.FOUND_OFF if seen.disk else Event.DISK_GONE)]


def _delete(machine: Wanted, seen: Seen) -> list[Change]:
    changes = _end(machine, seen)
    if seen.domain is not None:
        changes.append(Undefine())
    snapshots: list[Change] = [RemoveSnapshots()] if machine.has_snapshots else []
    return [*changes, RemoveFiles(), *snapshots, Fire(Event.DELETED)]
