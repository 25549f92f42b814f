"""Carries out a machine's changes, on threads that may take their time, and tells the node's loop what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from garage import tracing
from garage.core.changes import Change, PushKeys, Wanted
from garage.core.states import State
from garage.core.volumes import Volume
from garage.errors import GarageError
from garage.services.work import Hold
from garage.worker import failpoint, moving, volumes
from garage.worker.apply import apply, failed
from garage.worker.errands import Stale, Tools, check
from garage.worker.lookout import Done, Lookout
from garage.worker.observe import needs_files

log = logging.getLogger(__name__)
BRINGING_UP = (State.PREPARING, State.BOOTING)
UNSEEN: list[Change] = [PushKeys()]
"""What succeeds without changing anything that a look shows."""
FINAL = frozenset({"hypervisor_error", "disk_full", "tool_failed", "unavailable", "config", "internal", "timeout"})
"""Errors by which bringing a machine up fails for good; `hypervisor_away` is waited out."""


class Carrier:
    """Of one node, under one hold."""

    def __init__(
        self, tools: Tools, hold: Hold, lookout: Lookout, tell: Callable[[Done], None], monotonic: Callable[[], float]
    ) -> None:
        self._tools, self._hold, self._lookout, self._tell = tools, hold, lookout, tell
        self._monotonic = monotonic

    def carry_out(self, machine: Wanted, changes: list[Change]) -> None:
        with tracing.of(machine.request):
            self._carry_out(machine, changes)

    def _carry_out(self, machine: Wanted, changes: list[Change]) -> None:
        error: GarageError | None = None
        try:
            apply(self._tools, self._hold, machine, changes)
        except Stale:
            pass
        except GarageError as raised:
            error = raised
            log.warning("%s (%s): %s", machine.name, machine.id, raised)
        except Exception:
            error = GarageError("internal", "unexpected")
            log.exception("%s (%s): an error of ours", machine.name, machine.id)
        self._finish(machine, changes, error)

    def _finish(self, machine: Wanted, changes: list[Change], error: GarageError | None) -> None:
        try:
            final = error is not None and (error.code in FINAL or _elsewhere(self._hold, machine, error))
            if error and final and self._give_up(machine, error):
                error = None
        except Stale:
            error = None
        except GarageError as raised:
            error = raised
        except Exception:  # untold, the machine would be busy for ever
            error = GarageError("internal", "unexpected")
            log.exception("%s (%s): an error of ours", machine.name, machine.id)
        self._leave(machine.id, changes, error, files=needs_files(machine))

    def _give_up(self, machine: Wanted, error: GarageError) -> bool:
        """Record that what was tried has failed for good; False when it is tried again."""
        if machine.move is not None:
            moving.refused(self._tools, self._hold, machine, machine.move, error)
            return True
        if machine.state in BRINGING_UP and not machine.taken:
            return self._tools.recorder.put(self._hold, failed(machine, error)).result() or True
        return False

    def clean_up(self, machine_id: str) -> None:
        error = _tried(machine_id, lambda: moving.clean(self._tools, self._hold, machine_id))
        self._leave(machine_id, [], error)

    def tend(self, volume: Volume, changes: list[Change]) -> None:
        """Of a volume that no machine has."""
        with tracing.of(volume.request):
            error = _tried(volume.id, lambda: self._tend(changes))
            self._tell(Done(volume.id, changes, None, error, self._monotonic()))

    def _tend(self, changes: list[Change]) -> None:
        for change in changes:
            failpoint.step()
            check(self._tools)
            volumes.apply(self._tools, self._hold, None, change)
        failpoint.step()

    def _leave(self, machine_id: str, changes: list[Change], error: GarageError | None, *, files: bool = False) -> None:
        """Tell the node's loop, with a fresh look where there may be something to see."""
        look, ended = None, self._monotonic()
        try:
            if error or changes != UNSEEN:
                look = self._lookout.glance(machine_id, files=files)
        except GarageError as raised:
            error = error or raised
        except Exception:
            error = error or GarageError("internal", "unexpected")
            log.exception("%s: an error of ours", machine_id)
        self._tell(Done(machine_id, changes, look, error, ended))


def _tried(what: str, work: Callable[[], None]) -> GarageError | None:
    """The error by which it ended."""
    try:
        work()
    except Stale:
        return None
    except GarageError as raised:
        log.warning("%s: %s", what, raised)
        return raised
    except Exception:
        log.exception("%s: an error of ours", what)
        return GarageError("internal", "unexpected")
    return None


def _elsewhere(hold: Hold, machine: Wanted, error: GarageError) -> bool:
    """It may be the other node of a move that does not answer. Were it this one, it could not be called off either, and is tried again."""
    return error.code == "hypervisor_away" and machine.move is not None and machine.move.to.name != hold.node
