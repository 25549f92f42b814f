"""One node's loop: observe → plan → apply. It sleeps until something changed, an effect ended or a time is up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TypeVar

from garage.config import Config
from garage.core import moves, names
from garage.core import plan as p
from garage.core.hypervisor_types import Disks, Domain, HostFacts, Hypervisor, Images, Prober
from garage.core.plan import Change, Limits, Wanted, plan
from garage.core.silence import Verdict
from garage.core.states import State
from garage.core.types import NodeFacts
from garage.errors import GarageError
from garage.services import draining, leasing, pools, silencing, work
from garage.services.context import Context
from garage.services.work import Hold, NodeWork
from garage.worker import moving
from garage.worker.adopt import Adopter
from garage.worker.apply import apply, failed
from garage.worker.errands import Stale, Tools
from garage.worker.images import ImageKeeper
from garage.worker.observe import Observer
from garage.worker.ownership import RENEW, Keeper
from garage.worker.recorder import Recorder
from garage.worker.watchman import NOTHING

log = logging.getLogger(__name__)
T = TypeVar("T")
FULL_LOOK = 10.0
"""Seconds between looks at everything, whether or not something told of a change."""
AWAY_RETRY = 2.0
EFFECTS = 8
"""Machines of one node that are worked on at the same time."""
BACKOFF_FIRST, BACKOFF_MAX = 1.0, 30.0
GIB = 1 << 30
MEMORY_STEP = 256
"""MiB; what is available changes all the time, and a new figure is a write."""
BRINGING_UP = (State.PREPARING, State.BOOTING)
FIRST_LOGIN = 10.0
"""Seconds after a machine is ready in which what nobody waits for keeps out of its way."""
FINAL = frozenset({"hypervisor_error", "disk_full", "tool_failed", "unavailable", "config", "internal", "timeout"})
"""Errors by which bringing a machine up fails for good; `hypervisor_away` is waited out."""


@dataclass(frozen=True, slots=True)
class Done:
    """A machine's changes were carried out, or not."""

    machine_id: str
    changes: list[Change]
    looked: bool
    domain: Domain | None
    error: GarageError | None


@dataclass(frozen=True, slots=True)
class _Retry:
    """When something that failed is tried again."""

    at: float
    pause: float
    for_guest: bool
    """It waits for the guest's agent: news of the domain is a reason to try at once."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A node's outside world."""

    hypervisor: Hypervisor
    disks: Disks
    prober: Prober
    network_there: Callable[[str], bool]
    """Whether the bridge of that name exists on the node."""
    images: Images | None = None
    """None: every image is there."""


class NodeLoop:
    """All state of a node's worker thread; nothing of it has to survive the process."""

    def __init__(
        self,
        ctx: Context,
        node: str,
        keeper: Keeper,
        backend: Backend,
        recorder: Recorder,
        seed_files: Callable[[str], dict[str, bytes]],
        take: Callable[[str], tuple[str, bytes]],
        *,
        bell: threading.Event | None = None,
        verdict: Callable[[], Verdict] = lambda: NOTHING,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ctx, self._node, self._keeper, self._backend = ctx, node, keeper, backend
        self._config: Config = ctx.config
        self._monotonic = monotonic
        self._verdict = verdict
        self._bell = bell or threading.Event()
        self._dirty: SimpleQueue[str] = SimpleQueue()
        self._done: SimpleQueue[Done] = SimpleQueue()
        self._pool = ThreadPoolExecutor(EFFECTS, thread_name_prefix=f"effect-{node}")
        self._observer = Observer(backend.disks, backend.hypervisor.console, ctx.clock, monotonic)
        self._limits = Limits(self._config.boot_timeout, self._config.stop_timeout)
        self._busy: set[str] = set()
        self._retry: dict[str, _Retry] = {}
        self._facts: HostFacts | None = None
        self._recorded: NodeFacts | None = None
        self._work: NodeWork | None = None
        self._look_at = 0.0
        self._stale = True
        self._people_wait = False
        self._tools = Tools(
            self._config,
            backend.hypervisor,
            backend.disks,
            recorder,
            seed_files,
            take,
            lambda machine_id: work.authorized_keys(ctx, machine_id),
            self._kvm,
            keeper.valid,
            lambda: self._people_wait,
        )
        self._recorder = recorder
        self._images = ImageKeeper(ctx, backend.images, self.wake) if backend.images else None
        if self._images:
            self._observer.image = self._images.percent
        self._adopter = Adopter(ctx, backend.hypervisor, self._pool, monotonic)
        backend.hypervisor.listen(self._heard)

    # --- what wakes it -------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something changed; called from any thread."""
        self._bell.set()

    def changed(self) -> None:
        """Somebody committed."""
        self._stale = True
        self.wake()

    def _heard(self, machine_id: str) -> None:
        self._dirty.put(machine_id)
        self.wake()

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. An unexpected exception is logged and the loop goes on: it is level-triggered."""
        while not stop.is_set():
            try:
                seconds = self.turn()
            except Exception as error:  # noqa: BLE001  (nothing may end a node's loop)
                seconds = AWAY_RETRY
                self._report(error)
            self._bell.wait(seconds)
            self._bell.clear()
        self.close()

    def close(self) -> None:
        """Let effects that run end, then give the node up."""
        if self._images:
            self._images.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        try:
            self._keeper.release()
        except GarageError as error:
            log.warning("%s was not released: %s", self._node, error)

    def _report(self, error: Exception) -> None:
        if isinstance(error, GarageError):
            log.warning("%s: %s", self._node, error)
            if error.code == "version_conflict":
                self._keeper.lost()
        else:
            log.exception("%s: an error of ours", self._node, exc_info=error)

    # --- one turn ------------------------------------------------------------------------------------------------

    def turn(self) -> float:
        """Do what is due; returns the seconds until the next turn that time alone makes necessary."""
        hold = self._keeper.hold()
        if hold is None:
            return 1.0
        try:
            self._collect()
            self._look(hold)
            load = self._load(hold)
            if self._adopter.turn(hold, load, self._observer.domains):
                self._look_at = 0.0
            seconds = self._plan_all(hold, load)
        except GarageError as error:
            if error.code not in ("hypervisor_away", "hypervisor_error"):
                raise
            return self._away(hold, error)
        return max(0.0, min(seconds, self._look_at - self._monotonic(), RENEW))

    def _away(self, hold: Hold, error: GarageError) -> float:
        """Machines keep their state while netd still reports; a full look follows as soon as there is an answer."""
        self._look_at = 0.0
        work.record_away(self._ctx, hold, str(error.params.get("reason", error)))
        if self._node in (verdict := self._verdict()).silent:
            silencing.record_silent(self._ctx, hold, lost=verdict.lost(self._node))
        return AWAY_RETRY

    def _collect(self) -> None:
        """Take in what effects left and what the hypervisor told."""
        for done in _drain(self._done):
            self._busy.discard(done.machine_id)
            self._stale = True
            if done.looked:
                self._observer.note(done.machine_id, done.domain)
            self._settle(done)
        for machine_id in set(_drain(self._dirty)):
            if machine_id:
                self._observer.note(machine_id, self._backend.hypervisor.look(machine_id))
                if (retry := self._retry.get(machine_id)) and retry.for_guest:
                    del self._retry[machine_id]
            else:
                self._look_at = 0.0

    def _settle(self, done: Done) -> None:
        """Remember a question asked, or when to try again after a failure."""
        machine_id = done.machine_id
        if done.error is None:
            self._retry.pop(machine_id, None)
            if p.Shutdown() in done.changes or p.GiveIdentity() in done.changes:
                self._observer.asked(machine_id)
            return
        before = self._retry.get(machine_id)
        pause = min(BACKOFF_MAX, before.pause * 2) if before else BACKOFF_FIRST
        for_guest = any(isinstance(change, p.PushKeys | p.Settle | p.GiveIdentity) for change in done.changes)
        self._retry[machine_id] = _Retry(self._monotonic() + pause, pause, for_guest)
        if done.error.code == "hypervisor_away":
            self._look_at = 0.0

    def _look(self, hold: Hold) -> None:
        """Everything, when it is time."""
        now = self._monotonic()
        if now < self._look_at:
            return
        self._observer.domains = self._backend.hypervisor.observe()
        self._facts = self._backend.hypervisor.facts()
        self._record_facts(hold, self._facts)
        if self._images:
            self._images.look(hold)
        leasing.run(self._ctx, hold)
        pools.tend(self._ctx, hold)
        self._stale |= self._work is not None and (
            self._work.draining or any(m.move for m in self._work.machines.values())
        )
        self._look_at = now + FULL_LOOK

    def _record_facts(self, hold: Hold, facts: HostFacts) -> None:
        space = self._backend.disks.space()
        free, total = round(space.free / GIB, 1), round(space.total / GIB, 1)
        available = facts.memory_available_mib
        step = None if available is None else available // MEMORY_STEP * MEMORY_STEP
        known = NodeFacts(facts.vcpus, facts.memory_mib, free, total, facts.virtualisation, step)
        if known != self._recorded or self._was_away():
            work.record_facts(self._ctx, hold, known)
            self._recorded = known

    def _was_away(self) -> bool:
        return self._work is None or self._work.hypervisor_error

    def _load(self, hold: Hold) -> NodeWork:
        if not self._stale and self._work is not None:
            return self._work
        self._stale = False
        try:
            load = work.load(self._ctx, self._node)
            moves_on = load.draining or any(machine.move for machine in load.machines.values())
            if moves_on and not load.parked and draining.tend(self._ctx, hold):
                load = work.load(self._ctx, self._node)
            self._look_at_new(load)
        except GarageError:
            self._stale = True
            raise
        self._work = load
        known = load.machines.keys() | load.arriving.keys() | load.leftovers
        self._observer.forget_all_but(set(known))
        self._retry = {key: value for key, value in self._retry.items() if key in known}
        return load

    def _look_at_new(self, load: NodeWork) -> None:
        """What came from another node may have come after the last look: it would be taken for gone."""
        if self._work is None:
            self._observer.domains = self._backend.hypervisor.observe()
            return
        for machine_id in load.machines.keys() - self._work.machines.keys():
            if load.machines[machine_id].state is not State.PREPARING:
                self._observer.note(machine_id, self._backend.hypervisor.look(machine_id))

    def _plan_all(self, hold: Hold, load: NodeWork) -> float:
        """Plan every machine that nobody works on; returns the seconds until the first has to be looked at again."""
        targets: dict[str, str] = {}
        answered, soonest = self._backend.prober.answered(), FULL_LOOK
        busy = self._people_wait = self._somebody_waits(load)
        network = self._network_version(load)
        turns = p.turns(load.machines.values(), self._facts.vcpus if self._facts else 1)
        for machine in () if load.parked else load.machines.values():
            if machine.id in self._busy:
                continue
            key = _probe_key(machine)
            turn = machine.id in turns
            seen = self._observer.seen(machine, network, answered=key in answered, busy=busy, turn=turn)
            changes = moves.depart(machine, machine.move, seen) if machine.move else plan(machine, seen, self._limits)
            if p.Probe() in changes:
                targets[key] = machine.ipv4
            soonest = min(soonest, self._begin(hold, machine, changes))
        self._backend.prober.set_targets(targets)
        return min(soonest, FULL_LOOK if load.parked else self._plan_others(hold, load, network))

    def _plan_others(self, hold: Hold, load: NodeWork, network: int) -> float:
        """What comes here from other nodes, and what is left of machines that are not here."""
        soonest = FULL_LOOK
        for machine in load.arriving.values():
            if machine.id not in self._busy and machine.id not in load.leftovers and machine.move:
                changes = moves.arrive(machine, machine.move, self._observer.seen(machine, network, answered=False))
                soonest = min(soonest, self._begin(hold, machine, changes))
        for machine_id in load.leftovers - load.machines.keys() - self._busy:
            soonest = min(soonest, self._clean(hold, machine_id))
        return soonest

    def _somebody_waits(self, load: NodeWork) -> bool:
        """For a machine that starts, or for the first login to one that just did."""
        now = self._ctx.clock()
        return any(
            machine.state in BRINGING_UP
            or (machine.state is State.READY and 0 <= now - machine.state_since < FIRST_LOGIN)
            for machine in load.machines.values()
        )

    def _clean(self, hold: Hold, machine_id: str) -> float:
        if (retry := self._retry.get(machine_id)) and retry.at > self._monotonic():
            return retry.at - self._monotonic()
        self._busy.add(machine_id)
        log.info("%s: remove what is left of it", machine_id)
        self._pool.submit(self._clean_up, hold, machine_id)
        return FULL_LOOK

    def _network_version(self, load: NodeWork) -> int:
        """What netd applied, if that was in this boot of the node and its bridge is there."""
        this_boot = self._facts.boot_id if self._facts else ""
        if load.boot_id and this_boot and load.boot_id != this_boot:
            return 0
        return load.applied_version if self._backend.network_there(names.bridge(self._config.instance)) else 0

    def _begin(self, hold: Hold, machine: Wanted, changes: list[Change]) -> float:
        """Hand effects to the pool; returns the seconds until this machine is looked at again."""
        wait = min((c.seconds for c in changes if isinstance(c, p.Wait) and c.seconds is not None), default=FULL_LOOK)
        effects = [c for c in changes if not _is_idle(c, machine)]
        if not effects:
            return wait
        makes_way = effects == [p.Suspend()]
        if not makes_way and (retry := self._retry.get(machine.id)) and retry.at > self._monotonic():
            return retry.at - self._monotonic()
        self._busy.add(machine.id)
        log.info("%s (%s): %s", machine.name, machine.id, " ".join(map(_word, effects)))
        self._pool.submit(self._carry_out, hold, machine, effects)
        return FULL_LOOK

    # --- on the pool's threads -----------------------------------------------------------------------------------

    def _carry_out(self, hold: Hold, machine: Wanted, changes: list[Change]) -> None:
        error: GarageError | None = None
        try:
            apply(self._tools, hold, machine, changes)
        except Stale:
            pass
        except GarageError as raised:
            error = raised
            log.warning("%s (%s): %s", machine.name, machine.id, raised)
        except Exception:
            error = GarageError("internal", "unexpected")
            log.exception("%s (%s): an error of ours", machine.name, machine.id)
        self._finish(hold, machine, changes, error)

    def _finish(self, hold: Hold, machine: Wanted, changes: list[Change], error: GarageError | None) -> None:
        try:
            if (
                error
                and (error.code in FINAL or _elsewhere(hold, machine, error))
                and self._give_up(hold, machine, error)
            ):
                error = None
        except Stale:
            error = None
        except GarageError as raised:
            error = raised
        self._leave(machine.id, changes, error)

    def _give_up(self, hold: Hold, machine: Wanted, error: GarageError) -> bool:
        """Record that what was tried has failed for good; False when it is tried again."""
        if machine.move is not None:
            moving.refused(self._tools, hold, machine, machine.move, error)
            return True
        if machine.state in BRINGING_UP and not machine.taken:
            return self._recorder.put(hold, failed(machine, error)).result() or True
        return False

    def _clean_up(self, hold: Hold, machine_id: str) -> None:
        error: GarageError | None = None
        try:
            moving.clean(self._tools, hold, machine_id)
        except Stale:
            pass
        except GarageError as raised:
            error = raised
            log.warning("%s: %s", machine_id, raised)
        except Exception:
            error = GarageError("internal", "unexpected")
            log.exception("%s: an error of ours", machine_id)
        self._leave(machine_id, [], error)

    def _leave(self, machine_id: str, changes: list[Change], error: GarageError | None) -> None:
        """Tell the node's thread, with a fresh look."""
        looked, domain = True, None
        try:
            domain = self._backend.hypervisor.look(machine_id)
        except GarageError as raised:
            looked, error = False, error or raised
        self._done.put(Done(machine_id, changes, looked, domain, error))
        self.wake()

    def _kvm(self) -> bool:
        return self._facts is not None and self._facts.virtualisation == "kvm"


def _elsewhere(hold: Hold, machine: Wanted, error: GarageError) -> bool:
    """It may be the other node of a move that does not answer. Were it this one, it could not be called off either, and is tried again."""
    return error.code == "hypervisor_away" and machine.move is not None and machine.move.to.name != hold.node


def _probe_key(machine: Wanted) -> str:
    """One boot of one machine: a banner of an earlier boot says nothing about this one."""
    return f"{machine.id}/{machine.state_since}"


def _is_idle(change: Change, machine: Wanted) -> bool:
    """Nothing that a thread is needed for."""
    return isinstance(change, p.Wait | p.Probe) or (isinstance(change, p.Show) and change.step == machine.step)


def _word(change: Change) -> str:
    return f"{type(change).__name__}({change.event.value})" if isinstance(change, p.Fire) else type(change).__name__


def _drain(queue: SimpleQueue[T]) -> list[T]:
    items: list[T] = []
    while True:
        try:
            items.append(queue.get_nowait())
        except Empty:
            return items
