"""The worker against the fake hypervisor and SQLite: every turn is taken by hand, both clocks are moved by hand."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import select

from garage import tracing
from garage.core.guest_keys import FOLLOW
from garage.core.hypervisor_types import Domain, Power, Reason
from garage.core.seed import AUTHORIZED_KEYS
from garage.core.states import Event
from garage.db.models import EventRow
from garage.errors import GarageError
from garage.services import crew, images, keys, machines, work
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.worker.loop import AWAY_RETRY, BACKOFF_FIRST
from garage.worker.ownership import BEAT
from garage.worker.park import park
from tests.conftest import ALICE_KEY, Clock
from tests.inproc.rig import NODE, Rig, rigged

HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def rig(ctx: Context, clock: Clock, alice: Caller) -> Iterator[Rig]:
    with rigged(ctx, clock, alice) as made:
        yield made


def test_create_and_delete(rig: Rig) -> None:
    ref = rig.ready()
    assert rig.fake.calls == [(call, ref) for call in ("disk", "seed", "define", "start")]
    assert rig.row(ref).ready_at is not None
    version = rig.node().spec_version
    machines.delete(rig.ctx, rig.caller, ref)
    rig.until(ref, "deleting", "gone")
    assert rig.fake.calls[4:] == [(call, ref) for call in ("destroy", "undefine", "remove")]
    assert rig.node().spec_version == version + 1
    assert rig.row(ref).host_key_private == b""
    assert rig.ready("one") != ref, "name and address are free again"


def test_each_line_says_for_which_request_it_is(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(tracing.Stamp())
    caplog.set_level(logging.INFO)
    refs = {}
    for name, reason, end in (("one", "", "ready"), ("two", "no memory", "failed")):
        rig.fake.faults.start_refused = reason
        asked = replace(rig.ctx, request=f"r-{name}")
        refs[name] = machines.create(asked, rig.caller, NewMachine(name=name, size="tiny")).id
        rig.netd()
        rig.until_true(lambda: rig.row(refs[name]).state == end)  # noqa: B023
    for name, ref in refs.items():
        lines = [record for record in caplog.records if f"({ref}): " in record.getMessage()]
        assert {record.request for record in lines} == {f"[r-{name}] "}
        assert "garage.worker.loop" in {record.name for record in lines}
    assert {record.request for record in caplog.records if record.name == "garage.worker.carrier"} == {"[r-two] "}


def test_each_step_is_an_event(rig: Rig) -> None:
    ref = rig.ready()
    with rig.ctx.db.read() as session:
        rows = session.scalars(select(EventRow).where(EventRow.subject == ref).order_by(EventRow.id))
        steps = [(row.data["state"], row.data["step"]) for row in rows]
    assert steps == [
        ("preparing", ""),
        ("preparing", "disk"),
        ("preparing", "starting"),
        ("booting", ""),
        ("booting", "waiting_ssh"),
        ("ready", ""),
    ]


def test_the_domain_waits_for_the_rules(rig: Rig) -> None:
    made = machines.create(rig.ctx, rig.caller, NewMachine(name="one"))
    rig.settle()
    assert [call for call, _ in rig.fake.calls] == ["disk", "seed"]
    assert rig.row(made.id).step == "network"
    rig.network = False
    rig.netd()
    rig.settle()
    assert len(rig.fake.calls) == 2, "the bridge is not there"
    rig.network = True
    rig.until(made.id, "preparing", "booting", "ready")


def test_rules_of_an_earlier_boot_do_not_count(rig: Rig) -> None:
    made = machines.create(rig.ctx, rig.caller, NewMachine(name="one"))
    rig.netd(boot_id="the boot before")
    rig.settle()
    assert [call for call, _ in rig.fake.calls] == ["disk", "seed"]
    rig.netd()
    rig.until(made.id, "preparing", "booting", "ready")


def test_after_a_panic_it_is_started_again(rig: Rig) -> None:
    ref = rig.make()
    rig.until(ref, "preparing", "booting", "ready")
    rig.fake.happen(ref, Domain(Power.CRASHED, Reason.CRASH), b"Kernel panic - not syncing: sysrq\r\n")
    rig.until(ref, "ready", "failed")
    rig.fake.settings.boot = 0.2
    machines.start(rig.ctx, rig.caller, ref)
    rig.until(ref, "booting", "ready")


def test_a_boot_that_never_answers_fails_with_its_console(rig: Rig) -> None:
    rig.fake.faults.mute = True
    ref = rig.make()
    rig.until(ref, "preparing", "booting")
    rig.fake.happen(ref, Domain(Power.RUNNING), b"\x1b[31mGave up waiting for root\x1b[0m\r\n")
    rig.pass_time(rig.ctx.config.boot_timeout - 1)
    rig.settle()
    assert rig.row(ref).state == "booting"
    rig.pass_time(2)
    rig.until(ref, "booting", "failed")
    row = rig.row(ref)
    assert row.console_tail == "booting\nGave up waiting for root"
    assert row.error is not None
    assert row.error["code"] == "boot_failed"
    rig.until_true(lambda: rig.fake.look(ref) == Domain(Power.OFF))  # a failed machine holds no memory
    rig.fake.faults.mute = False
    machines.start(rig.ctx, rig.caller, ref)
    rig.until(ref, "booting", "ready")


def test_a_panic_fails_at_once(rig: Rig) -> None:
    rig.fake.faults.mute = True
    ref = rig.make()
    rig.until(ref, "preparing", "booting")
    rig.settle()
    rig.fake.happen(ref, Domain(Power.CRASHED, Reason.CRASH), b"Kernel panic - not syncing")
    rig.until(ref, "booting", "failed")
    assert "Kernel panic" in rig.row(ref).console_tail


def test_an_early_panic_is_read_from_the_console(rig: Rig) -> None:
    rig.fake.faults.mute = True
    ref = rig.make()
    rig.until(ref, "preparing", "booting")
    rig.settle()
    rig.fake.happen(ref, Domain(Power.RUNNING), b"Kernel panic - not syncing: no init\r\nrebooting\r\n")
    rig.pass_time(4)
    rig.until(ref, "booting", "failed")
    assert rig.row(ref).console_tail.endswith("no init\nrebooting")


def test_stop_start_and_reboot(rig: Rig) -> None:
    ref = rig.ready()
    machines.stop(rig.ctx, rig.caller, ref)
    rig.until(ref, "stopping", "stopped")
    rig.settle()
    assert rig.row(ref).state == "stopped"
    machines.start(rig.ctx, rig.caller, ref)
    rig.until(ref, "booting", "ready")
    machines.reboot(rig.ctx, rig.caller, ref)
    rig.until(ref, "stopping", "stopped", "booting", "ready")
    assert [call for call, _ in rig.fake.calls if call == "start"] == ["start"] * 3


def test_a_deaf_guest_is_asked_again_then_unplugged(rig: Rig) -> None:
    ref = rig.ready()
    rig.fake.faults.deaf = True
    machines.stop(rig.ctx, rig.caller, ref)
    rig.settle()
    rig.pass_time(11)
    rig.settle()
    assert [call for call, _ in rig.fake.calls].count("shutdown") == 2
    assert rig.row(ref).state == "stopping"
    rig.pass_time(rig.ctx.config.stop_timeout)
    rig.until(ref, "stopping", "stopped")
    assert rig.fake.calls[-1] == ("destroy", ref)


def test_a_guest_that_powers_itself_off_stays_off(rig: Rig) -> None:
    ref = rig.ready()
    rig.fake.happen(ref, Domain(Power.OFF, Reason.GUEST))
    rig.until(ref, "ready", "stopped")
    rig.settle()
    assert (rig.row(ref).state, rig.row(ref).wants_running) == ("stopped", False)


def test_a_node_that_lost_power_starts_its_machines_again(rig: Rig) -> None:
    ref = rig.ready()
    rig.end()
    rig.fake.reboot_node("second boot")
    rig.begin()
    rig.settle()
    assert rig.fake.look(ref) == Domain(Power.OFF), "the rules do not stand yet in this boot"
    rig.netd("second boot")
    rig.until(ref, "booting", "ready")
    assert rig.row(ref).wants_running


def test_a_disk_that_is_gone_is_lost(rig: Rig) -> None:
    ref = rig.ready()
    rig.disks.remove(ref)
    rig.fake.reboot_node("fake-boot")
    rig.until(ref, "ready", "unreachable", "lost")


def test_libvirt_away_and_back(rig: Rig) -> None:
    ref = rig.ready()
    rig.fake.faults.away = True
    machines.reboot(rig.ctx, rig.caller, ref)
    rig.pass_time(30)
    rig.settle()
    assert rig.row(ref).state == "stopping"
    assert rig.node().hypervisor_error == "simulated"
    with pytest.raises(GarageError, match="no server takes"):
        machines.create(rig.ctx, rig.caller, NewMachine(name="two"))
    rig.fake.faults.away = False
    rig.pass_time(AWAY_RETRY)
    rig.until(ref, "stopping", "stopped", "booting", "ready")
    assert rig.node().hypervisor_error == ""


def test_a_key_that_is_added_later_reaches_the_guest(rig: Rig) -> None:
    ref = rig.ready()
    keys.add(rig.ctx, rig.caller, "laptop", ALICE_KEY)
    rig.settle()
    assert rig.row(ref).keys_applied
    assert rig.fake.read_file(ref, AUTHORIZED_KEYS).decode() == ALICE_KEY + "\n"
    rig.settle()
    assert [call for call, _ in rig.fake.calls].count("write_file") == 1


def test_a_guest_of_an_image_that_people_brought_is_told_by_a_script(rig: Rig) -> None:
    images.register(rig.ctx, "debian-12", "cd" * 32, {"name": "debian-12", "boot": "bios"})
    ref = rig.ready()
    keys.add(rig.ctx, rig.caller, "laptop", ALICE_KEY)
    rig.fake.faults.agent_away = True
    rig.settle()
    assert not rig.row(ref).keys_applied
    rig.fake.faults.agent_away = False
    rig.pass_time(60)
    rig.until_true(lambda: rig.row(ref).keys_applied)
    assert rig.fake.read_file(ref, FOLLOW).decode() == ALICE_KEY + "\n"
    assert ("write_file", ref) not in rig.fake.calls, "its sshd knows no file of ours"


def test_an_old_epoch_is_refused(rig: Rig) -> None:
    ref = rig.ready()
    crew.join(rig.ctx, "another", "elsewhere", "node9")
    assert crew.take(rig.ctx, "another", [NODE]) == [], "its owner is at work"
    [me] = [mate for mate in crew.mates(rig.ctx) if mate.id == rig.pulse.id]
    assert crew.bury(rig.ctx, me)
    [new] = crew.take(rig.ctx, "another", [NODE])
    assert new.epoch == rig.hold.epoch + 1
    row = rig.row(ref)
    late = work.Moved(ref, machines.State.READY, row.state_since, Event.POWERED_OFF)
    with pytest.raises(GarageError, match="another worker owns"):
        work.record(rig.ctx, rig.hold, [late])
    assert rig.row(ref).state == "ready"
    crew.leave(rig.ctx, "another", [NODE])
    rig.monotonic.now += BEAT
    rig.pulse.turn()
    assert rig.pulse.id != me.id, "it was given up, and begins anew"
    rig.own()


def test_a_disk_that_is_full_fails_the_machine_alone(rig: Rig) -> None:
    ref = rig.ready("old")
    rig.fake.faults.disk_full = True
    new = rig.make("late")
    rig.until(new, "preparing", "failed")
    error = rig.row(new).error
    assert error is not None
    assert error["code"] == "disk_full"
    assert rig.row(ref).state == "ready"
    machines.delete(rig.ctx, rig.caller, new)
    rig.until(new, "deleting", "gone")


def test_an_error_of_ours_while_a_failure_is_recorded_keeps_nobody_busy(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, record = [RuntimeError("ours")], work.record_all

    def failing(ctx: Context, notes: Mapping[work.Hold, Sequence[work.Note]]) -> object:
        moves = any(isinstance(note, work.Moved) and note.error for each in notes.values() for note in each)
        if moves and ours:
            raise ours.pop()
        return record(ctx, notes)

    monkeypatch.setattr(work, "record_all", failing)
    rig.fake.faults.disk_full = True
    ref = rig.make()
    rig.until_true(lambda: not ours and ref not in rig.loop._busy)
    rig.pass_time(BACKOFF_FIRST)
    rig.until(ref, "preparing", "failed")
    assert (ours, rig.row(ref).error["code"]) == ([], "disk_full")  # type: ignore[index]


def test_a_start_that_libvirt_refuses(rig: Rig) -> None:
    rig.fake.faults.start_refused = "no such bridge"
    ref = rig.make()
    rig.until(ref, "preparing", "failed")
    assert rig.row(ref).error is not None
    rig.fake.faults.start_refused = ""
    machines.start(rig.ctx, rig.caller, ref)
    rig.until(ref, "booting", "ready")


def test_a_full_disk_does_not_pause_for_ever(rig: Rig) -> None:
    ref = rig.ready()
    rig.fake.happen(ref, Domain(Power.PAUSED, Reason.FULL))
    rig.settle()
    assert rig.fake.look(ref) == Domain(Power.RUNNING)


def test_park_and_resume(rig: Rig) -> None:
    kept, stopped = rig.ready("kept"), rig.ready("stopped")
    machines.stop(rig.ctx, rig.caller, stopped)
    rig.until(stopped, "stopping", "stopped")
    rig.end()
    assert park(rig.ctx, rig.fake, 5.0) == 1
    assert rig.row(kept).state == "unreachable"
    assert rig.row(kept).wants_running
    assert rig.fake.observe()[kept].power is Power.OFF
    rig.begin()
    rig.settle()
    assert rig.row(kept).state == "unreachable", "as long as the garage is parked"
    work.set_parked(rig.ctx, False)
    rig.settle()
    rig.netd()
    rig.until(kept, "booting", "ready")
    assert rig.row(stopped).state == "stopped"


def test_a_park_that_is_killed_leaves_machines_that_are_found(rig: Rig) -> None:
    ref = rig.ready()
    rig.end()
    work.silence(rig.ctx, NODE)
    rig.begin()
    rig.netd()
    rig.until(ref, "unreachable", "booting", "ready")
    assert [call for call, _ in rig.fake.calls].count("start") == 1


def test_a_lease_is_warned_ended_and_deleted_once_each(rig: Rig) -> None:
    ref = rig.ready()
    rig.pass_time(6 * DAY + HOUR)
    rig.settle()
    assert rig.row(ref).lease_warned
    rig.pass_time(DAY)
    rig.until(ref, "ready", "stopping", "stopped")
    rig.clock.now -= 30 * DAY
    rig.monotonic.now += 100
    rig.settle()
    assert rig.row(ref).state == "stopped", "a clock set back deletes nothing"
    rig.clock.now += 30 * DAY
    rig.pass_time(71 * HOUR)
    rig.settle()
    assert rig.row(ref).state == "stopped"
    rig.pass_time(2 * HOUR)
    rig.until(ref, "stopped", "deleting", "gone")
    assert rig.audits("lease.warn", "lease.end", "machine.delete") == ["lease.warn", "lease.end", "machine.delete"]


def test_a_clock_set_back_does_not_stretch_a_boot(rig: Rig) -> None:
    rig.fake.faults.mute = True
    ref = rig.make()
    rig.until(ref, "preparing", "booting")
    rig.clock.now -= 365 * DAY
    rig.settle()
    rig.monotonic.now += rig.ctx.config.boot_timeout + 1
    rig.until(ref, "booting", "failed")


def test_slow_machines_do_not_hold_up_others(rig: Rig) -> None:
    rig.fake.settings.start = 3.0
    slow = rig.make("slow")
    rig.until(slow, "preparing")
    rig.settle()
    rig.fake.settings.start = 0.0
    quick = rig.make("quick")
    rig.until(quick, "preparing", "booting", "ready")
    assert rig.row(slow).state == "preparing", "it still starts"
    rig.until(slow, "preparing", "booting", "ready")


def test_what_waits_for_the_agent_is_tried_when_the_guest_says_hello(rig: Rig) -> None:
    ref = rig.ready()
    rig.fake.faults.agent_away = True
    keys.add(rig.ctx, rig.caller, "laptop", ALICE_KEY)
    rig.settle()
    assert not rig.row(ref).keys_applied
    rig.fake.faults.agent_away = False
    rig.settle()
    assert not rig.row(ref).keys_applied, "not before its time"
    rig.fake.happen(ref, Domain(Power.RUNNING))
    rig.settle()
    assert rig.row(ref).keys_applied
