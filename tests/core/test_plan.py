"""core.plan: state in, exact changes out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from garage.core import changes as p
from garage.core.changes import Change, Fault, Fire, Limits, Seen, Show, Wait, Wanted
from garage.core.hypervisor_types import Domain, Power, Reason
from garage.core.plan import CONSOLE_LOOK, YIELD, plan, turns
from garage.core.snapshots import Order
from garage.core.states import TABLE, Event, State
from garage.core.volumes import Volume, VolumeState

LIMITS = Limits(boot_timeout=300.0, stop_timeout=60.0)
WANTED = Wanted(
    id="0" * 20, name="one", project="alice", state=State.PREPARING, state_since=0.0, wants_running=True, started=True,
    spec_version=7, step="", image="ab" * 32, cmdline="quiet", vcpus=1, memory_mib=512, disk_gib=5, ipv4="10.31.0.16",
    mac="52:67:00:00:00:01", tap="gttst1",
)  # fmt: skip
NOTHING = Seen(domain=None, disk=False, seed=False, network_version=7, age=0.0)
FILES = replace(NOTHING, disk=True, seed=True)
RUNNING, OFF = Domain(Power.RUNNING), Domain(Power.OFF)
BY_GUEST, BY_CRASH = Domain(Power.OFF, Reason.GUEST), Domain(Power.OFF, Reason.CRASH)
PANICKED, FULL = Domain(Power.CRASHED, Reason.CRASH), Domain(Power.PAUSED, Reason.FULL)
PAUSED = Domain(Power.PAUSED)
DISK: list[Change] = [Show("disk"), p.MakeDisk(), p.WriteSeed()]
ON: list[Change] = [Show("starting"), p.Define(), p.Start()]
PROBING: list[Change] = [Show("waiting_ssh"), p.Probe(), Wait("ssh", CONSOLE_LOOK)]
TAKEN: dict[str, object] = {"taken": True}
WAITS = replace(FILES, domain=PAUSED)
TOLD: list[Change] = [Show("identity"), p.Probe()]

AGAIN: dict[str, object] = {"started": False}
REBUILT: dict[str, object] = {"redo": p.Redo.DISK}
RESIZED: dict[str, object] = {"redo": p.Redo.SIZE}
ORDER, UNDO = Order("a" * 20), Order("b" * 20, remove=True)
ASKED: dict[str, object] = {"orders": (ORDER, UNDO), "has_snapshots": True}
RETURNS: dict[str, object] = {"redo": p.Redo.REVERT, "revert_to": "a" * 20}
RETURN: list[Change] = [p.RestoreDisk("a" * 20), p.GrowDisk(), p.MarkRedone()]
RESTING: dict[str, object] = {"wants_running": False}
HELD = Volume("f" * 20, "data", VolumeState.ATTACHED, 2, 2)
KEEP, DROP = replace(HELD, orders=(ORDER,)), replace(HELD, orders=(UNDO, ORDER))
BACK = replace(HELD, state=VolumeState.REVERTING, revert_to="a" * 20)
GOES = replace(KEEP, state=VolumeState.DETACHING)
ENDS = replace(KEEP, state=VolumeState.DELETING)
UP = replace(FILES, domain=RUNNING)
COPY = p.CopyVolume(KEEP, ORDER, live=False)
HAS: dict[str, object] = {"volumes": (HELD,)}
COPIED: dict[str, object] = {"volumes": (KEEP,)}
REMOVED: list[Change] = [p.Undefine(), p.RemoveFiles(), Fire(Event.DELETED)]
GROWS: dict[str, object] = {"grows": True}
FREE: dict[str, object] = {"disk_limited": False}

S = State
CASES: list[tuple[str, State, dict[str, object], Seen, list[Change]]] = [
    ("all at once when the rules stand", S.PREPARING, {}, NOTHING, [*DISK, *ON, Fire(Event.STARTED)]),
    ("files while the rules are awaited", S.PREPARING, {}, replace(NOTHING, network_version=6), DISK),
    ("killed after the disk", S.PREPARING, {}, replace(NOTHING, disk=True), [Show("disk"), p.WriteSeed(), *ON, Fire(Event.STARTED)]),
    ("no tap before the rules", S.PREPARING, {}, replace(FILES, network_version=6), [Show("network"), Wait("network")]),
    ("killed after define", S.PREPARING, {}, replace(FILES, domain=OFF), [*ON, Fire(Event.STARTED)]),
    ("killed after start", S.PREPARING, {}, replace(FILES, domain=RUNNING), [Fire(Event.STARTED)]),
    ("taken", S.PREPARING, TAKEN, replace(WAITS, turn_ago=0.0), [p.Resume(), p.GiveIdentity(), *TOLD, Wait("ssh", 15.0)]),
    ("taken, others first", S.PREPARING, TAKEN, replace(WAITS, age=99.0), [Show("identity"), Wait("turn", YIELD)]),
    ("taken, told", S.PREPARING, TAKEN, replace(WAITS, domain=RUNNING, turn_ago=5.0, asked_ago=4.0), [*TOLD, Wait("ssh", 10.0)]),
    ("taken, its SSH answers", S.PREPARING, TAKEN, replace(WAITS, domain=RUNNING, turn_ago=5.0, answered=True), [Fire(Event.IDENTIFIED)]),
    ("taken, deaf", S.PREPARING, TAKEN, replace(WAITS, domain=RUNNING, turn_ago=15.0), [p.Destroy(), p.RemoveFiles(), p.BootAnew()]),
    ("taken, gone off", S.PREPARING, TAKEN, replace(WAITS, domain=OFF), [p.RemoveFiles(), p.BootAnew()]),
    ("rebuild", S.PREPARING, REBUILT, replace(FILES, domain=RUNNING), [Show("disk"), p.Destroy(), p.RemoveFiles(), p.MarkRedone()]),
    ("rebuild, killed after destroy", S.PREPARING, REBUILT, replace(FILES, domain=OFF), [Show("disk"), p.RemoveFiles(), p.MarkRedone()]),
    ("rebuild, killed again", S.PREPARING, REBUILT, replace(NOTHING, domain=OFF), [Show("disk"), p.RemoveFiles(), p.MarkRedone()]),
    ("rebuild, recorded", S.PREPARING, {}, replace(NOTHING, domain=OFF), [*DISK, *ON, Fire(Event.STARTED)]),
    ("rebuild, failed and started", S.BOOTING, AGAIN | REBUILT, FILES, [Show("disk"), p.RemoveFiles(), p.MarkRedone()]),
    ("a snapshot of one that runs", S.READY, ASKED, replace(FILES, domain=RUNNING, age=120.0), [p.TakeSnapshot(ORDER, live=True)]),
    ("its agent may still start", S.READY, ASKED, replace(FILES, domain=RUNNING), [p.TakeSnapshot(ORDER, live=True, patient=True)]),
    ("keys before that", S.READY, ASKED | {"keys_applied": False}, replace(FILES, domain=RUNNING), [p.PushKeys()]),
    ("limits before keys", S.READY, {"keys_applied": False} | FREE, replace(FILES, domain=RUNNING), [p.LimitDisk()]),
    ("those of one that is off come with its start", S.STOPPED, RESTING | FREE, replace(FILES, domain=OFF), []),
    ("none of one that an admin paused", S.READY, ASKED, replace(FILES, domain=PAUSED), []),
    ("grows", S.READY, GROWS | ASKED, replace(FILES, domain=RUNNING, age=120.0), [p.Grow()]),
    ("grows, its agent may still start", S.READY, GROWS, replace(FILES, domain=RUNNING), [p.Grow(patient=True)]),
    ("left paused in the middle of it", S.READY, GROWS, replace(FILES, domain=PAUSED), [p.Resume()]),
    ("a stop before that", S.READY, ASKED | RESTING | GROWS, replace(FILES, domain=RUNNING), [Fire(Event.STOP)]),
    ("a snapshot of one that is off", S.STOPPED, ASKED | RESTING, replace(FILES, domain=OFF), [p.TakeSnapshot(ORDER, live=False)]),
    ("a snapshot before it starts", S.BOOTING, AGAIN | ASKED, replace(FILES, domain=OFF), [p.TakeSnapshot(ORDER, live=False)]),
    ("a snapshot of one that failed", S.FAILED, ASKED, replace(FILES, domain=OFF), [p.TakeSnapshot(ORDER, live=False)]),
    ("a snapshot goes", S.READY, {"orders": (UNDO,)}, replace(FILES, domain=RUNNING), [p.RemoveSnapshot("b" * 20)]),
    ("returned at once", S.STOPPED, RETURNS | RESTING, replace(FILES, domain=OFF), RETURN),
    ("returned after a failed start", S.FAILED, RETURNS, replace(FILES, domain=OFF), RETURN),
    ("returned before it starts", S.BOOTING, AGAIN | RETURNS, replace(FILES, domain=OFF), RETURN),
    ("never while it runs", S.STOPPED, RETURNS | RESTING, replace(FILES, domain=RUNNING, age=99.0), [p.Destroy()]),
    ("of a volume as well", S.STOPPED, RESTING | COPIED, replace(FILES, domain=OFF), [COPY]),
    ("of a volume before it starts", S.BOOTING, AGAIN | COPIED, replace(FILES, domain=OFF), [Show("disk"), COPY]),
    ("of a volume before it boots anew", S.PREPARING, COPIED, NOTHING, [Show("disk"), COPY]),
    ("of a volume that a guest has", S.READY, COPIED, replace(UP, age=120.0), [p.CopyVolume(KEEP, ORDER, live=True)]),
    ("of one whose agent may still start", S.READY, COPIED, UP, [p.CopyVolume(KEEP, ORDER, live=True, patient=True)]),
    ("before the guest lets go of it", S.READY, {"volumes": (GOES,)}, replace(UP, age=120.0), [p.CopyVolume(GOES, ORDER, live=True)]),
    ("one of a volume goes at any time", S.READY, {"volumes": (DROP,)}, UP, [p.RemoveVolumeSnapshot(DROP, "b" * 20)]),
    ("a volume returns", S.FAILED, {"volumes": (BACK,)}, replace(FILES, domain=OFF), [p.RevertVolume(BACK)]),
    ("not while it runs", S.READY, {"volumes": (BACK,)}, replace(FILES, domain=RUNNING), []),
    ("those of a volume that goes go with it", S.STOPPED, RESTING | {"volumes": (ENDS,)}, replace(FILES, domain=OFF), []),
    ("they go with it", S.DELETING, {"has_snapshots": True}, NOTHING, [p.RemoveFiles(), p.RemoveSnapshots(), Fire(Event.DELETED)]),
    ("resized, still off", S.STOPPED, RESIZED | {"wants_running": False}, replace(FILES, domain=OFF), []),
    ("resized", S.BOOTING, AGAIN | RESIZED, replace(FILES, domain=OFF), [p.GrowDisk(), p.MarkRedone()]),
    ("resized, recorded", S.BOOTING, AGAIN, replace(FILES, domain=OFF), [p.WriteSeed(), *ON, p.MarkStarted()]),
    ("resized before it ever had a disk", S.BOOTING, AGAIN | RESIZED, NOTHING, [p.MarkRedone()]),
    ("probe", S.BOOTING, {}, replace(FILES, domain=RUNNING), PROBING),
    ("answered", S.BOOTING, {}, replace(FILES, domain=RUNNING, answered=True), [Fire(Event.ANSWERED)]),
    ("time over", S.BOOTING, {}, replace(FILES, domain=RUNNING, age=300.0), [Fire(Event.ERROR, Fault.BOOT_TIMEOUT)]),
    ("panic", S.BOOTING, {}, replace(FILES, domain=PANICKED), [Fire(Event.ERROR, Fault.CRASH)]),
    ("early panic", S.BOOTING, {}, replace(FILES, domain=RUNNING, panicked=True), [Fire(Event.ERROR, Fault.CRASH)]),
    ("nearly over", S.BOOTING, {}, replace(FILES, domain=RUNNING, age=299.0), [*PROBING[:2], Wait("ssh", 1.0)]),
    ("QEMU died", S.BOOTING, {}, replace(FILES, domain=BY_CRASH), [Fire(Event.ERROR, Fault.CRASH)]),
    ("guest went off while booting", S.BOOTING, {}, replace(FILES, domain=BY_GUEST), [Fire(Event.POWERED_OFF)]),
    ("node went down while booting", S.BOOTING, {}, replace(FILES, domain=OFF), [Fire(Event.SILENT)]),
    ("definition lost while booting", S.BOOTING, {}, FILES, [Fire(Event.SILENT)]),
    ("no space while booting", S.BOOTING, {}, replace(FILES, domain=FULL), [p.Resume(), *PROBING]),
    ("lease ended while it was silent", S.BOOTING, {"wants_running": False}, replace(FILES, domain=RUNNING), [Fire(Event.STOP)]),
    ("start again", S.BOOTING, {"started": False}, replace(FILES, domain=BY_GUEST), [p.WriteSeed(), *ON, p.MarkStarted()]),
    ("start again after a failed preparation", S.BOOTING, {"started": False}, NOTHING, [*DISK, *ON, p.MarkStarted()]),
    ("start again, its disk is gone", S.BOOTING, {"started": False, "ran": True}, NOTHING, [Fire(Event.ERROR, Fault.DISK_GONE)]),
    ("start again, rules missing", S.BOOTING, {"started": False}, replace(FILES, network_version=0), [Show("network"), Wait("network")]),
    ("start again, killed after start", S.BOOTING, {"started": False}, replace(FILES, domain=RUNNING), [p.MarkStarted()]),
    ("start again, panicked one still there", S.BOOTING, {"started": False}, replace(FILES, domain=PANICKED), [p.Destroy()]),
    ("wake up", S.BOOTING, {"started": False}, replace(FILES, domain=PAUSED), [p.Resume(), p.MarkStarted()]),
    ("fine", S.READY, {}, replace(FILES, domain=RUNNING), []),
    ("keys changed", S.READY, {"keys_applied": False}, replace(FILES, domain=RUNNING), [p.PushKeys()]),
    ("paused by an admin", S.READY, {}, replace(FILES, domain=PAUSED), []),
    ("paused because the disk was full", S.READY, {}, replace(FILES, domain=FULL), [p.Resume()]),
    ("guest went off", S.READY, {}, replace(FILES, domain=BY_GUEST), [Fire(Event.POWERED_OFF)]),
    ("crashed", S.READY, {}, replace(FILES, domain=PANICKED), [Fire(Event.ERROR, Fault.CRASH)]),
    ("node lost power", S.READY, {}, replace(FILES, domain=OFF), [Fire(Event.SILENT)]),
    ("definition lost", S.READY, {}, FILES, [Fire(Event.SILENT)]),
    ("ask", S.STOPPING, {}, replace(FILES, domain=RUNNING), [p.Shutdown()]),
    ("wait", S.STOPPING, {}, replace(FILES, domain=RUNNING, age=4.0, asked_ago=3.0), [Wait("shutdown", 7.0)]),
    ("ask again", S.STOPPING, {}, replace(FILES, domain=RUNNING, age=11.0, asked_ago=10.0), [p.Shutdown()]),
    ("the end is near", S.STOPPING, {}, replace(FILES, domain=RUNNING, age=59.0, asked_ago=1.0), [Wait("shutdown", 1.0)]),
    ("pull the plug", S.STOPPING, {}, replace(FILES, domain=RUNNING, age=60.0, asked_ago=1.0), [p.Destroy()]),
    ("cannot hear", S.STOPPING, {}, replace(FILES, domain=PANICKED), [p.Destroy()]),
    ("off", S.STOPPING, {}, replace(FILES, domain=BY_GUEST), [Fire(Event.OFF)]),
    ("off because it is gone", S.STOPPING, {}, FILES, [Fire(Event.OFF)]),
    ("a reboot goes on", S.STOPPED, {}, replace(FILES, domain=BY_GUEST), [Fire(Event.START)]),
    ("stopped", S.STOPPED, {"wants_running": False}, replace(FILES, domain=BY_GUEST), []),
    ("somebody started it by hand", S.STOPPED, {"wants_running": False}, replace(FILES, domain=RUNNING), [p.Shutdown()]),
    ("failed holds no memory", S.FAILED, {}, replace(FILES, domain=PANICKED), [p.Destroy()]),
    ("failed", S.FAILED, {}, replace(FILES, domain=OFF), []),
    ("found running", S.UNREACHABLE, {}, replace(FILES, domain=RUNNING), [Fire(Event.FOUND_RUNNING)]),
    ("found off", S.UNREACHABLE, {}, replace(FILES, domain=BY_GUEST), [Fire(Event.FOUND_OFF)]),
    ("disk gone", S.UNREACHABLE, {}, NOTHING, [Fire(Event.DISK_GONE)]),
    ("delete", S.DELETING, {}, replace(FILES, domain=RUNNING), [p.Destroy(), *REMOVED]),
    ("delete with a volume", S.DELETING, HAS, UP, [p.Flush(), p.Destroy(), *REMOVED]),
    ("delete with a volume, paused", S.DELETING, HAS, WAITS, [p.Destroy(), *REMOVED]),
    ("rebuild with a volume", S.PREPARING, REBUILT | HAS, UP, [Show("disk"), p.Flush(), p.Destroy(), p.RemoveFiles(), p.MarkRedone()]),
    ("delete, killed after destroy", S.DELETING, {}, replace(FILES, domain=OFF), REMOVED),
    ("delete, killed after undefine", S.DELETING, {}, FILES, [p.RemoveFiles(), Fire(Event.DELETED)]),
    ("lost", S.LOST, {}, replace(FILES, domain=RUNNING), []),
    ("suspended", S.SUSPENDED, {}, replace(FILES, domain=PAUSED), []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "row", "seen", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_plan(state: State, row: dict[str, object], seen: Seen, expected: list[Change]) -> None:
    assert plan(replace(WANTED, state=state, **row), seen, LIMITS) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_only_events_that_the_table_lists(case: tuple[str, State, dict[str, object], Seen, list[Change]]) -> None:
    for change in case[4]:
        if isinstance(change, Fire):
            assert (case[1], change.event) in TABLE


def test_of_a_burst_as_many_as_keep_the_processors_busy_come_first() -> None:
    def taken(number: int, since: float) -> Wanted:
        return replace(WANTED, id=f"{number:020x}", taken=True, state_since=since)

    burst = [taken(1, 5.0), taken(2, 4.0), taken(3, 4.0), taken(4, 1.0), taken(5, 9.0)]
    others = [replace(WANTED, id="f" * 20), replace(taken(6, 0.0), state=State.READY)]
    assert turns([*burst, *others], 2) == {taken(4, 1.0).id, taken(2, 4.0).id, taken(3, 4.0).id}
    assert turns(burst[-1:], 2) == {burst[-1].id}
