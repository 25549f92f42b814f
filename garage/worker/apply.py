"""Carries out one machine's changes, in order, on a thread that may take its time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from garage.config import Config
from garage.core import changes as p
from garage.core import guest_keys
from garage.core.changes import Change, Fault, Wanted
from garage.core.console import tail
from garage.core.hypervisor_types import Hypervisor
from garage.core.seed import AUTHORIZED_KEYS, WARM_UP, authorized_keys_text
from garage.core.states import Event
from garage.errors import N_, GarageError
from garage.services.work import BootedAnew, DiskLimited, Hold, KeysPushed, Moved, Note, Redone, Started, Step, Warm
from garage.worker import failpoint, growing, moving, snapshotting, volumes
from garage.worker.errands import Stale, Tools, check, domain_spec, write

log = logging.getLogger(__name__)
SETTLE_SECONDS = 45.0
"""That a guest may take to say whether it has started, and to rehearse a login."""

FLUSH_SECONDS = 5.0
"""That a guest with volumes may take to write on them what is still in its memory, before it is switched off. No longer: it may be the
machine of somebody who has been shown out, and for whom 10 s are promised."""

KEYS_SECONDS = 20.0
"""That a guest of an image that people brought may take to bring its keys in line."""


def apply(tools: Tools, hold: Hold, machine: Wanted, changes: list[Change]) -> None:
    """Carry out `changes`. Raises Stale, or the GarageError of the first change that failed."""
    for change in changes:
        failpoint.step()
        check(tools)
        if isinstance(change, moving.CHANGES) and machine.move is not None:
            moving.apply(tools, hold, machine, machine.move, change)
        elif isinstance(change, snapshotting.CHANGES):
            snapshotting.apply(tools, hold, machine, change)
        elif isinstance(change, volumes.OF_MACHINE):
            volumes.apply(tools, hold, machine, change)
        elif isinstance(change, p.Grow):
            growing.grow(tools, hold, machine, patient=change.patient)
        else:
            _apply_one(tools, hold, machine, change)
    failpoint.step()


_ON_DOMAIN: dict[type, Callable[[Hypervisor, str], None]] = {
    p.Start: lambda hypervisor, machine_id: hypervisor.start(machine_id),
    p.StartPaused: lambda hypervisor, machine_id: hypervisor.start(machine_id, paused=True),
    p.Suspend: lambda hypervisor, machine_id: hypervisor.suspend(machine_id),
    p.Resume: lambda hypervisor, machine_id: hypervisor.resume(machine_id),
    p.Shutdown: lambda hypervisor, machine_id: hypervisor.shutdown(machine_id),
    p.Destroy: lambda hypervisor, machine_id: hypervisor.destroy(machine_id),
    p.Undefine: lambda hypervisor, machine_id: hypervisor.undefine(machine_id),
}

_MARKS: dict[type, Callable[[str], Note]] = {p.MarkStarted: Started, p.MarkWarm: Warm, p.BootAnew: BootedAnew}


def _apply_one(tools: Tools, hold: Hold, machine: Wanted, change: Change) -> None:
    match change:
        case p.Show(step):
            tools.recorder.put(hold, Step(machine.id, step))
        case p.MarkRedone():
            write(tools, hold, Redone(machine.id, machine.redo, machine.state_since))
        case p.Define():
            spec = domain_spec(tools, machine)
            failpoint.step()
            check(tools)
            tools.hypervisor.define(spec)
        case p.PushKeys():
            _push_keys(tools, hold, machine)
        case p.LimitDisk():
            tools.hypervisor.limit_disk(machine.id, machine.disk_iops, machine.disk_mb)
            write(tools, hold, DiskLimited(machine.id, machine.disk_iops, machine.disk_mb))
        case p.Fire(event, fault):
            write(tools, hold, _moved(tools, machine, event, fault))
        case p.MarkStarted() | p.MarkWarm() | p.BootAnew():
            write(tools, hold, _MARKS[type(change)](machine.id))
        case p.Probe() | p.Wait():
            pass
        case p.MakeDisk() | p.GrowDisk() | p.WriteSeed() | p.RemoveFiles():
            _on_files(tools, machine, change)
        case _:
            _on_guest(tools, machine, change)


def _push_keys(tools: Tools, hold: Hold, machine: Wanted) -> None:
    keys = tools.keys(machine.id)
    text = authorized_keys_text(keys).encode()
    check(tools)
    if machine.boot == "kernel":
        tools.hypervisor.write_file(machine.id, AUTHORIZED_KEYS, text)
    elif not tools.hypervisor.execute(machine.id, guest_keys.FOLLOW, text, wait=KEYS_SECONDS):
        raise GarageError("unavailable", N_("{name} did not say that it knows its keys"), name=machine.name)
    write(tools, hold, KeysPushed(machine.id, keys))


def _on_files(tools: Tools, machine: Wanted, change: Change) -> None:
    match change:
        case p.MakeDisk():
            tools.disks.make_disk(machine.id, machine.image, machine.disk_gib)
        case p.GrowDisk():
            tools.disks.grow_disk(machine.id, machine.disk_gib)
        case p.WriteSeed():
            files = tools.seed_files(machine.id)
            check(tools)
            tools.disks.write_seed(machine.id, files)
        case p.RemoveFiles():
            tools.disks.remove(machine.id)
            failpoint.step()
            check(tools)
            tools.hypervisor.forget_console(machine.id)


def _on_guest(tools: Tools, machine: Wanted, change: Change) -> None:
    match change:
        case p.Settle():
            _settle(tools, machine)
        case p.Flush():
            _flush(tools, machine)
        case p.GiveIdentity():
            said = tools.take(machine.id)
            check(tools)
            tools.hypervisor.execute(machine.id, *said)
        case _:
            _ON_DOMAIN[type(change)](tools.hypervisor, machine.id)


def _settle(tools: Tools, machine: Wanted) -> None:
    """Makes way at once when somebody waits for a machine of theirs; it is begun again later."""
    if tools.hypervisor.execute(machine.id, WARM_UP, wait=SETTLE_SECONDS, unless=tools.people_wait):
        return
    if tools.people_wait():
        check(tools)
        tools.hypervisor.suspend(machine.id)
        raise Stale
    raise GarageError("unavailable", N_("{name} is still starting"), name=machine.name)


def _flush(tools: Tools, machine: Wanted) -> None:
    """A guest that does not hear loses what a power cut would have lost."""
    try:
        done = tools.hypervisor.execute(machine.id, "sync", wait=FLUSH_SECONDS)
    except GarageError as error:
        log.info("%s (%s): not told to write what it has yet to: %s", machine.name, machine.id, error)
    else:
        log.info("%s (%s): %s", machine.name, machine.id, "all written" if done else "still writing")


def _moved(tools: Tools, machine: Wanted, event: Event, fault: Fault | None) -> Moved:
    moved = Moved(machine.id, machine.state, machine.state_since, event)
    if fault is None:
        return moved
    console = tail(tools.hypervisor.console(machine.id))
    return replace(moved, error=_error(tools.config, fault).as_dict(), console=console)


def _error(config: Config, fault: Fault) -> GarageError:
    if fault is Fault.BOOT_TIMEOUT:
        return GarageError(
            "boot_failed",
            N_("its SSH did not answer within {seconds} s"),
            hint=N_("look at the last console lines; then start it again, or delete it and make another"),
            seconds=round(config.boot_timeout),
        )
    if fault is Fault.DISK_GONE:
        return GarageError(
            "boot_failed",
            N_("its disk is not on its server any more"),
            hint=N_("ask whoever runs the server; if the disk is lost, delete the machine and make another"),
        )
    return GarageError(
        "boot_failed",
        N_("its system crashed"),
        hint=N_("look at the last console lines; then start it again, or delete it and make another"),
    )


def failed(machine: Wanted, error: GarageError) -> Moved:
    """What is recorded when bringing a machine up was refused for good."""
    return Moved(machine.id, machine.state, machine.state_since, Event.ERROR, error=error.as_dict())
