"""One node's loop: observe → plan → apply. It takes a turn when something changed, an effect ended or a time is up.

A turn never waits for the node: whatever asks it runs in a `Crowd`, and what it found comes back with the next turn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TypeVar
from zlib import crc32

from garage import tracing
from garage.config import Config
from garage.core import changes as p
from garage.core import moves, names
from garage.core.changes import Change, Limits, Wanted
from garage.core.hypervisor_types import DiskSpace, Domain, HostFacts
from garage.core.plan import plan, turns
from garage.core.states import State
from garage.core.types import NodeFacts
from garage.core.volume_plan import alone
from garage.core.volumes import Volume
from garage.errors import GarageError
from garage.services import draining, silencing, snapshot_notes, work
from garage.services.work import Hold, NodeWork
from garage.worker.adopt import Adopter
from garage.worker.carrier import BRINGING_UP, Carrier
from garage.worker.errands import Tools
from garage.worker.images import ImageKeeper
from garage.worker.lookout import Done, Lookout, Missed, News, Panorama
from garage.worker.observe import Glance, Observer, needs_files
from garage.worker.shop import Backend, Shop

log = logging.getLogger(__name__)
T = TypeVar("T")
FULL_LOOK = 10.0
"""Seconds between looks at everything, whether or not something told of a change."""
AWAY_RETRY = 2.0
EFFECTS = 8
"""Machines of one node that are worked on at the same time; as many again get their keys."""
KEYS: list[Change] = [p.PushKeys()]
"""Who has left must not be let in for as long as other work takes."""
BACKOFF_FIRST, BACKOFF_MAX = 1.0, 30.0
GIB = 1 << 30
MEMORY_STEP = 256
"""MiB; what is available changes all the time, and a new figure is a write."""
FIRST_LOGIN = 10.0
"""Seconds after a machine is ready in which what nobody waits for keeps out of its way."""
LIVELY = 60.0
"""Seconds after a change of its rows in which a node gets its chores done at every look."""


@dataclass(frozen=True, slots=True)
class _Retry:
    """When something that failed is tried again."""

    at: float
    pause: float
    changes: list[Change]
    """What had failed."""
    for_guest: bool
    """It waits for the guest's agent: news of the domain is a reason to try at once."""


class NodeLoop:
    """The work of one node for as long as it is owned under one epoch; nothing of it has to survive the process."""

    def __init__(self, shop: Shop, hold: Hold, backend: Backend, wake: Callable[[], None]) -> None:
        """`wake` has this loop take a turn soon; called from any thread."""
        self._shop, self._ctx, self._hold, self._backend, self._wake = shop, shop.ctx, hold, backend, wake
        self._config: Config = shop.ctx.config
        self._monotonic = shop.monotonic
        self._dirty: SimpleQueue[str] = SimpleQueue()
        self._news: SimpleQueue[News] = SimpleQueue()
        self._observer = Observer(self._ctx.clock, shop.monotonic)
        self._limits = Limits(self._config.boot_timeout, self._config.stop_timeout)
        self._busy: set[str] = set()
        """Machines that a thread looks at or works on."""
        self._retry: dict[str, _Retry] = {}
        self._settled: dict[str, Domain | None] = {}
        """Machines of this load for which nothing was to do, and their domain then: the plan would be the same."""
        self._facts: HostFacts | None = None
        """None until the node has answered."""
        self._recorded: NodeFacts | None = None
        self._work: NodeWork | None = None
        self._look_at = self._loaded_at = 0.0
        self._looking = self._away = False
        self._told = ""
        """Why the node does not answer, as it is recorded."""
        self._stale = True
        self._since = 0
        """Looks that began earlier do not count."""
        self._silent_told: bool | None = None
        """Whether it is recorded as silent, and then whether as lost."""
        self._ending = self._people_wait = False
        tools = Tools(
            self._config,
            backend.hypervisor,
            backend.disks,
            shop.recorder,
            shop.seed_files,
            shop.take,
            lambda machine_id: work.authorized_keys(self._ctx, machine_id),
            self._kvm,
            self.may_act,
            lambda: self._people_wait,
            lambda machine, snapshot: snapshot_notes.still_wanted(self._ctx, machine, snapshot),
        )
        self._images = ImageKeeper(self._ctx, backend.images, self._wake) if backend.images else None
        if self._images:
            self._observer.image = self._images.percent
        self._lookout = Lookout(hold, backend, self._images, self._tell)
        self._carrier = Carrier(tools, hold, self._lookout, self._tell, shop.monotonic)
        self._adopter = Adopter(self._ctx, backend.hypervisor, self._run_effect, shop.monotonic)
        backend.hypervisor.listen(self._heard)

    # --- what wakes it -------------------------------------------------------------------------------------------

    def changed(self, revision: int | None = None) -> None:
        """Rows of this node were changed, up to `revision`. A loop that has loaded that one already, as after an effect of its own, has
        nothing to do."""
        if revision is None or self._work is None or self._work.revision != revision:
            self._stale = True
            self._wake()

    def _heard(self, machine_id: str) -> None:
        self._dirty.put(machine_id)
        self._wake()

    def _tell(self, news: News) -> None:
        self._news.put(news)
        self._wake()

    # --- how long it lives ---------------------------------------------------------------------------------------

    def may_act(self) -> bool:
        """Asked before every effect."""
        return not self._ending and self._shop.sure(self._hold.owner)

    def end(self) -> None:
        """Begin nothing any more: what runs ends before its next effect."""
        self._ending = True
        if self._images:
            self._images.close()

    def idle(self) -> bool:
        """Nothing of it runs; of use after `end`."""
        return not self._busy and not self._looking

    def turn(self) -> float:
        """`Turns` calls it. An unexpected exception is logged and the loop goes on: it is level-triggered."""
        try:
            return self.step()
        except GarageError as error:
            log.warning("%s: %s", self._hold.node, error)
            if error.code == "version_conflict":
                self.end()
        except Exception:
            log.exception("%s: an error of ours", self._hold.node)
        return AWAY_RETRY

    # --- one turn ------------------------------------------------------------------------------------------------

    def step(self) -> float:
        """Do what is due; returns the seconds until the next turn that time alone makes necessary."""
        if self._work is None:
            self._load()  # before the first look: what came from another node after it would be taken for gone
        told = self._begin_looks()
        self._collect()
        for machine_id in told:  # after what ended meanwhile: its failure is older than the news
            if (retry := self._retry.get(machine_id)) and retry.for_guest:
                del self._retry[machine_id]
        if self._ending or self._facts is None or self._away:
            return max(0.0, self._look_at - self._monotonic()) if not self._looking else FULL_LOOK
        load = self._load()
        if self._adopter.turn(self._hold, load, self._observer.domains):
            self._facts, self._look_at, self._since = None, 0.0, self._lookout.number()
            return 0.0
        seconds = self._plan_all(load)
        return max(0.0, min(seconds, self._look_at - self._monotonic()))

    def _begin_looks(self) -> set[str]:
        """At everything when it is time, and at the machines that the hypervisor told of; returns these."""
        told = set(_drain(self._dirty))
        if "" in told:
            told.discard("")
            self._look_at = 0.0
        for machine_id in told if not self._away else ():
            self._look(machine_id)
        if self._monotonic() >= self._look_at and not self._looking and not self._ending:
            # the first period differs, so that nodes that were taken together are not looked at together for ever
            period = FULL_LOOK if self._facts else FULL_LOOK * (0.5 + crc32(self._hold.node.encode()) / (1 << 33))
            self._looking, self._look_at = True, self._monotonic() + period
            wanted = self._known().values()
            files = [machine.id for machine in wanted if needs_files(machine)]
            self._run_look(lambda: self._lookout.all(files))
        return told

    def _look(self, machine_id: str, *, console: bool = False) -> None:
        machine = self._known().get(machine_id)
        files = machine is not None and needs_files(machine)
        self._run_look(lambda: self._lookout.one(machine_id, files=files, console=console))

    def _run_look(self, look: Callable[[], None]) -> None:
        """One after the other, so that they come back in order, and apart from effects, which take longer."""
        self._shop.crowd.submit(("look", self._hold.node), look)

    def _run_effect(self, effect: Callable[[], None], *, urgent: bool = False) -> None:
        """What is urgent waits for no machine that is made, moved or copied meanwhile."""
        self._shop.crowd.submit(("urgent", self._hold.node) if urgent else self._hold.node, effect, EFFECTS)

    def _collect(self) -> None:
        """Take in what looks and effects left."""
        for news in _drain(self._news):
            match news:
                case Panorama():
                    self._take_in(news)
                case Glance():
                    self._busy.discard(_look_key(news.machine))
                    self._observer.note(news)
                case Missed():
                    self._busy.discard(_look_key(news.machine))
                    self._look_at = 0.0
                case Done():
                    self._busy.discard(news.machine_id)
                    self._stale |= self._loaded_at <= news.ended  # what it wrote may not be in there
                    if news.look is not None:
                        self._observer.note(news.look)
                    self._settle(news)

    def _take_in(self, seen: Panorama) -> None:
        """A full look; where the node does not answer, machines keep their state until there is an answer."""
        self._looking = False
        if self._ending:
            return
        if seen.number < self._since:
            self._look_at = 0.0
            return
        if isinstance(seen.error, GarageError) and seen.error.code in ("hypervisor_away", "hypervisor_error"):
            self._away, self._look_at = True, self._monotonic() + AWAY_RETRY
            if (reason := str(seen.error.params.get("reason", seen.error))) != self._told:
                work.record_away(self._ctx, self._hold, reason)
                self._told = reason
            self._tell_silence()
            return
        if seen.error is not None:
            self._look_at = self._monotonic() + AWAY_RETRY
            raise seen.error
        self._away, self._told, self._silent_told, self._facts = False, "", None, seen.facts
        self._observer.note_all(seen.number, seen.domains, seen.files)
        if seen.facts and seen.space:
            self._record_facts(seen.facts, seen.space)
        if not self._load().parked:
            self._shop.chores.do(self._hold, lively=self._monotonic() - self._loaded_at < LIVELY)
        load = self._load()
        self._stale |= load.draining or any(machine.move for machine in load.machines.values())

    def _tell_silence(self) -> None:
        """Machines keep their state while netd still reports."""
        verdict, node = self._shop.verdict(), self._hold.node
        if node not in verdict.silent:
            self._silent_told = None
            return
        lost = verdict.lost(node)
        runs = lost and any(machine.state.value in silencing.GO_SILENT for machine in self._load().machines.values())
        if self._silent_told != lost or runs:
            silencing.record_silent(self._ctx, self._hold, lost=lost)
            self._silent_told, self._stale = lost, True

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
        for_guest = any(
            isinstance(change, p.PushKeys | p.Settle | p.GiveIdentity | p.TakeSnapshot | p.DetachVolume | p.Grow)
            for change in done.changes
        )
        self._retry[machine_id] = _Retry(self._monotonic() + pause, pause, done.changes, for_guest)
        if done.error.code == "hypervisor_away":
            self._look_at = 0.0

    def _record_facts(self, facts: HostFacts, space: DiskSpace) -> None:
        free, total = round(space.free / GIB, 1), round(space.total / GIB, 1)
        available = facts.memory_available_mib
        step = None if available is None else available // MEMORY_STEP * MEMORY_STEP
        known = NodeFacts(facts.vcpus, facts.memory_mib, free, total, facts.virtualisation, step)
        if known != self._recorded or self._was_away():
            work.record_facts(self._ctx, self._hold, known)
            self._recorded = known

    def _was_away(self) -> bool:
        return self._work is None or self._work.hypervisor_error

    def _known(self) -> dict[str, Wanted]:
        """Machines that are here or on their way here."""
        return self._work.machines | self._work.arriving if self._work else {}

    def _load(self) -> NodeWork:
        if not self._stale and self._work is not None:
            return self._work
        self._stale, begun = False, self._monotonic()
        try:
            load = work.load(self._ctx, self._hold.node)
            moves_on = load.draining or any(machine.move for machine in load.machines.values())
            if moves_on and not (load.parked or self._ending) and draining.tend(self._ctx, self._hold):
                load = work.load(self._ctx, self._hold.node)
        except GarageError:
            self._stale = True
            raise
        if self._work is not None:
            for machine_id in load.machines.keys() - self._work.machines.keys():
                self._observer.forget(machine_id)
        self._work, self._settled, self._loaded_at = load, {}, begun
        known = load.machines.keys() | load.arriving.keys() | load.leftovers
        self._observer.forget_all_but(set(known))
        known |= load.volumes.keys()
        self._retry = {key: value for key, value in self._retry.items() if key in known}
        return load

    def _plan_all(self, load: NodeWork) -> float:
        """Plan every machine that nobody works on; returns the seconds until the first has to be looked at again."""
        targets: dict[str, str] = {}
        answered, soonest = self._backend.prober.answered(), FULL_LOOK
        busy = self._people_wait = self._somebody_waits(load)
        network = self._network_version(load)
        on_turn = turns(load.machines.values(), self._facts.vcpus if self._facts else 1)
        for machine in () if load.parked else load.machines.values():
            domain = self._observer.domains.get(machine.id)
            if machine.id in self._settled and self._settled[machine.id] == domain:
                continue
            if machine.id in self._busy or self._is_blind(machine):
                continue
            key = _probe_key(machine)
            turn = machine.id in on_turn
            seen = self._observer.seen(machine, network, answered=key in answered, busy=busy, turn=turn)
            changes = moves.depart(machine, machine.move, seen) if machine.move else plan(machine, seen, self._limits)
            if not changes and not needs_files(machine):
                self._settled[machine.id] = domain
                continue
            if p.Probe() in changes:
                targets[key] = machine.ipv4
            soonest = min(soonest, self._begin(machine, changes))
        self._backend.prober.set_targets(targets)
        return min(soonest, FULL_LOOK if load.parked else self._plan_others(load, network))

    def _plan_others(self, load: NodeWork, network: int) -> float:
        """What comes here from other nodes, and what is left of machines that are not here."""
        soonest = FULL_LOOK
        for machine in load.arriving.values():
            if machine.id in self._busy or machine.id in load.leftovers or not machine.move or self._is_blind(machine):
                continue
            changes = moves.arrive(machine, machine.move, self._observer.seen(machine, network, answered=False))
            soonest = min(soonest, self._begin(machine, changes))
        for volume in load.volumes.values():
            soonest = min(soonest, self._tend(volume))
        for machine_id in load.leftovers - load.machines.keys() - self._busy:
            soonest = min(soonest, self._clean(machine_id))
        return soonest

    def _somebody_waits(self, load: NodeWork) -> bool:
        """For a machine that starts, or for the first login to one that just did."""
        now = self._ctx.clock()
        return any(
            machine.state in BRINGING_UP
            or (machine.state is State.READY and 0 <= now - machine.state_since < FIRST_LOGIN)
            for machine in load.machines.values()
        )

    def _tend(self, volume: Volume) -> float:
        """Of one that no machine has; in the books as a machine would be."""
        if volume.id in self._busy or not (changes := alone(volume)):
            return FULL_LOOK
        if (retry := self._retry.get(volume.id)) and retry.at > self._monotonic():
            return retry.at - self._monotonic()
        self._busy.add(volume.id)
        log.info("volume %s (%s): %s", volume.name, volume.id, " ".join(map(_word, changes)))
        self._run_effect(lambda: self._carrier.tend(volume, changes))
        return FULL_LOOK

    def _clean(self, machine_id: str) -> float:
        if (retry := self._retry.get(machine_id)) and retry.at > self._monotonic():
            return retry.at - self._monotonic()
        self._busy.add(machine_id)
        log.info("%s: remove what is left of it", machine_id)
        self._run_effect(lambda: self._carrier.clean_up(machine_id))
        return FULL_LOOK

    def _is_blind(self, machine: Wanted) -> bool:
        """Whether it has to be looked at before it can be planned; a look that is due begins."""
        key, blind = _look_key(machine.id), self._observer.blind(machine)
        if key not in self._busy and ((console := self._observer.console_due(machine)) or blind):
            self._busy.add(key)
            self._look(machine.id, console=console)
        return blind

    def _network_version(self, load: NodeWork) -> int:
        """What netd applied, if that was in this boot of the node and its bridge is there."""
        this_boot = self._facts.boot_id if self._facts else ""
        if load.boot_id and this_boot and load.boot_id != this_boot:
            return 0
        return load.applied_version if self._backend.network_there(names.bridge(self._config.instance)) else 0

    def _begin(self, machine: Wanted, changes: list[Change]) -> float:
        """Hand effects to the crowd; returns the seconds until this machine is looked at again."""
        wait = min((c.seconds for c in changes if isinstance(c, p.Wait) and c.seconds is not None), default=FULL_LOOK)
        effects = [c for c in changes if not _is_idle(c, machine)]
        if not effects:
            return wait
        urgent = effects == KEYS
        retry = None if effects == [p.Suspend()] else self._retry.get(machine.id)
        if retry and retry.at > self._monotonic() and not (urgent and retry.changes != KEYS):
            return retry.at - self._monotonic()
        self._busy.add(machine.id)
        with tracing.of(machine.request):
            log.info("%s (%s): %s", machine.name, machine.id, " ".join(map(_word, effects)))
        self._run_effect(lambda: self._carrier.carry_out(machine, effects), urgent=urgent)
        return FULL_LOOK

    def _kvm(self) -> bool:
        return self._facts is not None and self._facts.virtualisation == "kvm"


def _look_key(machine_id: str) -> str:
    """In the set of what threads are busy with; ids are hexadecimal."""
    return f"look {machine_id}"


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
