"""One contract, three hypervisors: the fake, libvirt's test driver and real QEMU with a guest of a few bytes."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt
import pytest

from garage.core import names
from garage.core.domain_xml import DomainSpec, VolumeDisk, render
from garage.core.hypervisor_types import Domain, Hypervisor, Power, Reason, Shape
from garage.core.tiny_guest import Kind, build
from garage.core.volumes import LIMIT
from garage.errors import GarageError
from garage.shell import disk_copy
from garage.shell.disks import LocalDisks
from garage.shell.fake_hypervisor import FakeHypervisor
from garage.shell.fake_node import FakeDisks
from garage.shell.hypervisor import LibvirtHypervisor, domain_of
from garage.shell.seed import write_seed
from tests.realms import IMAGE, libvirt_answers, realm

PAUSED = Domain(Power.PAUSED)
ONE, TWO = "1" * 20, "2" * 20
RUNNING, OFF = Domain(Power.RUNNING), Domain(Power.OFF)


@dataclass
class Subject:
    """A hypervisor under test, with machines that it can run."""

    name: str
    hypervisor: Hypervisor
    spec: Callable[[str], DomainSpec]
    home: Path

    def settles(self, machine_id: str, expected: Domain | None) -> None:
        end = time.monotonic() + 20
        while (seen := self.hypervisor.look(machine_id)) != expected and time.monotonic() < end:
            time.sleep(0.02)
        assert seen == expected


def spec_in(home: Path, instance: str) -> Callable[[str], DomainSpec]:
    def make(machine_id: str) -> DomainSpec:
        folder = home / "machines" / machine_id
        return DomainSpec(
            instance=instance, machine_id=machine_id, title="tiny", vcpus=1, memory_mib=32, kvm=False,
            image_disk=home / "images" / IMAGE / "disk.qcow2", kernel=folder / "vmlinuz", initrd=None,
            cmdline="tiny", disk=folder / "disk.qcow2", seed=folder / "seed.iso",
            bridge=names.bridge(instance), tap=names.tap(instance, int(machine_id[0])), mac=f"52:67:00:00:00:0{machine_id[0]}",
            console_log=home / "console" / f"{machine_id}.log",
        )  # fmt: skip

    return make


@pytest.fixture
def fake(tmp_path: Path) -> Subject:
    return Subject("fake", FakeHypervisor(), spec_in(tmp_path, "tfk"), tmp_path)


@pytest.fixture
def test_driver(tmp_path: Path) -> Iterator[Subject]:
    hypervisor = LibvirtHypervisor("test:///default", instance="ttd", home=tmp_path)
    yield Subject("test", hypervisor, spec_in(tmp_path, "ttd"), tmp_path)
    hypervisor.close()


@pytest.fixture
def qemu() -> Iterator[Subject]:
    if not libvirt_answers():
        pytest.skip("needs root and libvirt")
    with realm(Kind.SIT) as made:
        hypervisor = LibvirtHypervisor("qemu:///system", instance=made.instance, home=made.home)
        for machine_id in (ONE, TWO):
            folder = made.home / "machines" / machine_id
            folder.mkdir(parents=True)
            (folder / "seed.iso").write_bytes(bytes(65536))
            (folder / "disk.qcow2").write_bytes((made.home / "images" / IMAGE / "disk.qcow2").read_bytes())
            LocalDisks(made.home, write_seed).copy_kernel(machine_id, IMAGE)
        hypervisor.facts()
        yield Subject("qemu", hypervisor, spec_in(made.home, made.instance), made.home)
        hypervisor.close()


@pytest.fixture(params=["fake", "test_driver", pytest.param("qemu", marks=pytest.mark.machine)])
def subject(request: pytest.FixtureRequest) -> Subject:
    made: Subject = request.getfixturevalue(request.param)
    return made


def test_a_whole_life(subject: Subject) -> None:
    hv = subject.hypervisor
    assert hv.observe() == {}
    assert hv.look(ONE) is None
    heard: list[str] = []
    hv.listen(heard.append)
    for _ in range(2):
        hv.define(subject.spec(ONE))
    assert hv.look(ONE) == OFF
    for _ in range(2):
        hv.start(ONE)
    assert hv.observe() == {ONE: RUNNING}
    for _ in range(2):
        hv.suspend(ONE)
    subject.settles(ONE, PAUSED)
    for _ in range(2):
        hv.resume(ONE)
    subject.settles(ONE, RUNNING)
    for _ in range(2):
        hv.destroy(ONE)
    assert hv.observe() == {ONE: OFF}
    hv.shutdown(ONE)
    hv.start(ONE)
    if subject.name == "qemu":
        end = time.monotonic() + 20
        while b"tiny guest" not in hv.console(ONE) and time.monotonic() < end:
            time.sleep(0.05)
        assert b"\x1b[32mtiny guest" in hv.console(ONE)
        time.sleep(0.2)  # its ACPI registers are set after the line
    hv.shutdown(ONE)
    subject.settles(ONE, Domain(Power.OFF, Reason.GUEST))
    for _ in range(2):
        hv.undefine(ONE)
    hv.forget_console(ONE)
    assert hv.console(ONE) == b""
    assert hv.observe() == {}
    assert set(heard) == {ONE}


def disk_limit(subject: Subject) -> tuple[int, int]:
    """(operations, bytes) per second, as whoever holds the guest to it says."""
    if isinstance(subject.hypervisor, FakeHypervisor):
        iops, megabytes = subject.hypervisor.disk_limit(ONE)
        return iops, megabytes * 1_000_000
    assert isinstance(subject.hypervisor, LibvirtHypervisor)
    found = subject.hypervisor._ask(ONE, lambda domain: domain.blockIoTune("vda", 0))
    return found["total_iops_sec"], found["total_bytes_sec"]


def test_a_disk_is_limited_from_its_start_and_while_it_runs(subject: Subject) -> None:
    hv, spec = subject.hypervisor, replace(subject.spec(ONE), disk_iops=500, disk_mb=40)
    hv.define(spec)
    hv.limit_disk(ONE, 7, 7)  # it is off: what its definition says holds
    hv.start(ONE)
    assert disk_limit(subject) == (500, 40_000_000)
    # libvirt 9.0's test driver wants a maximum beside every figure
    figures = ((0, 0), (0, 0)) if subject.name == "test" else ((300, 0), (300, 0), (0, 0), (900, 90))
    for iops, megabytes in figures:
        hv.limit_disk(ONE, iops, megabytes)
        assert disk_limit(subject) == (iops, megabytes * 1_000_000)
    hv.destroy(ONE)
    hv.undefine(ONE)
    with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_error"):
        hv.limit_disk(ONE, 1, 1)


def test_what_is_not_there(subject: Subject) -> None:
    hv = subject.hypervisor
    hv.destroy(TWO)
    hv.undefine(TWO)
    with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_error"):
        hv.start(TWO)


def test_a_guest_without_an_agent_executes_nothing(subject: Subject) -> None:
    hv = subject.hypervisor
    if isinstance(hv, FakeHypervisor):
        hv.faults.agent_away = True
    hv.define(subject.spec(ONE))
    hv.start(ONE)
    with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_error"):
        hv.execute(ONE, "true")
    hv.destroy(ONE)
    hv.undefine(ONE)


def test_facts(subject: Subject) -> None:
    facts = subject.hypervisor.facts()
    assert facts.vcpus > 0
    assert facts.memory_mib > 0
    assert facts.virtualisation in ("kvm", "tcg")


@pytest.mark.machine
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind.POWER_OFF, Domain(Power.OFF, Reason.GUEST)),
        (Kind.PANIC, Domain(Power.CRASHED, Reason.CRASH)),
    ],
)
def test_what_guests_do_to_themselves(qemu: Subject, kind: Kind, expected: Domain) -> None:
    (qemu.home / "machines" / ONE / "vmlinuz").write_bytes(build(kind))
    qemu.hypervisor.define(qemu.spec(ONE))
    qemu.hypervisor.start(ONE)
    qemu.settles(ONE, expected)


@pytest.mark.machine
def test_qemu_cannot_write_the_image(qemu: Subject) -> None:
    image = qemu.home / "images" / IMAGE
    qemu.hypervisor.define(qemu.spec(ONE))
    qemu.hypervisor.start(ONE)
    assert {path.stat().st_uid for path in image.iterdir()} == {0}, "libvirt gives away what a domain names"
    assert {path.name for path in image.iterdir()} >= {"disk.qcow2", "vmlinuz"}
    assert (qemu.home / "console" / f"{ONE}.log").stat().st_mode & 0o777 == 0o640


@pytest.mark.machine
def test_a_running_guests_disk_is_copied_as_it_is(qemu: Subject) -> None:
    """This guest has no agent: it cannot be frozen, and is left alone when that is asked for."""
    hv, disks = qemu.hypervisor, LocalDisks(qemu.home, write_seed)
    disks.disk_path(ONE).unlink()
    disks.make_disk(ONE, IMAGE, 1)
    pattern = ["qemu-io", "-f", "qcow2", "-c"]
    subprocess.run([*pattern, "write -P 7 8M 3M", str(disks.disk_path(ONE))], check=True, capture_output=True)
    hv.define(qemu.spec(ONE))
    hv.start(ONE)
    image, told = disks.image_path(IMAGE) / "disk.qcow2", list[int]()
    for frozen in (True, False):
        draft = disks.snapshots.draft(ONE, "a" * 20, IMAGE)
        with pytest.raises(GarageError, match="could not be frozen") if frozen else contextlib.nullcontext():
            hv.copy_disk(ONE, draft, image, frozen=frozen, told=told.append)
    assert told[-1] == 100
    disks.snapshots.keep(ONE, "a" * 20)
    kept = qemu.home / "snapshots" / ONE / f"{'a' * 20}.qcow2"
    said = subprocess.run([*pattern, "read -P 7 8M 3M", str(kept)], check=True, capture_output=True, text=True).stdout
    assert "verification failed" not in said
    assert (image.stat().st_uid, kept.stat().st_uid) == (0, 0)
    assert hv.look(ONE) == RUNNING


@pytest.mark.machine
def test_a_volume_of_a_running_guest_is_copied_as_it_is(qemu: Subject) -> None:
    """The copy is as sparse as the volume; one that another process left does not keep its guest from anything."""
    hv, files = qemu.hypervisor, LocalDisks(qemu.home, write_seed).volumes
    disk, other = (VolumeDisk(name * 20, files.path(name * 20), slot) for slot, name in enumerate("cd"))
    for each in (disk, other):
        files.make(each.id, 1)
    write = ["qemu-io", "-f", "raw", "-c", "write -P 7 8M 3M"]
    subprocess.run([*write, str(disk.path)], check=True, capture_output=True)
    hv.define(replace(qemu.spec(ONE), volumes=(disk,)))
    hv.start(ONE)
    hv.attach_volume(ONE, other)
    left = libvirt.open("qemu:///system")
    domain = left.lookupByName(qemu.spec(ONE).name)
    disk_copy.begin(domain, disk_copy.Mirror(files.draft(other.id, "b" * 20), volume=other.id))
    told = list[int]()
    for frozen in (True, False):
        draft = files.draft(disk.id, "a" * 20)
        with pytest.raises(GarageError, match="could not be frozen") if frozen else contextlib.nullcontext():
            hv.copy_volume(ONE, disk.id, draft, frozen=frozen, told=told.append)
    assert told[-1] == 100
    assert not any(domain.blockJobInfo(device) for device in ("vda", disk.device, other.device))
    left.close()
    files.keep(disk.id, "a" * 20)
    kept = disk.path.with_name(f"{'a' * 20}.raw")
    read = ["qemu-io", "-f", "raw", "-c", "read -P 7 8M 3M", "-c", "read -P 0 11M 900M", str(kept)]
    assert "failed" not in subprocess.run(read, check=True, capture_output=True, text=True).stdout
    assert (kept.stat().st_size, kept.stat().st_uid, (files.kept(disk.id, "a" * 20) or 0) < 8 << 20) == (
        1 << 30,
        0,
        True,
    )
    with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_error"):
        hv.copy_volume(ONE, "e" * 20, draft, frozen=False, told=told.append)
    assert hv.look(ONE) == RUNNING


@pytest.fixture(params=["fake", pytest.param("qemu", marks=pytest.mark.machine)])
def plugged(request: pytest.FixtureRequest) -> Subject:
    """libvirt's test driver plugs nothing into a domain that runs."""
    made: Subject = request.getfixturevalue(request.param)
    return made


def test_volumes_come_with_the_definition_and_while_it_runs(plugged: Subject) -> None:
    """This guest has no system: it never lets go of what it has."""
    hv = plugged.hypervisor
    files = FakeDisks(hv).volumes if isinstance(hv, FakeHypervisor) else LocalDisks(plugged.home, write_seed).volumes
    first, second = (VolumeDisk(name * 20, files.path(name * 20), slot) for slot, name in enumerate("ab"))
    files.make(first.id, 1)
    hv.define(replace(plugged.spec(ONE), volumes=(first,)))
    hv.define(plugged.spec(TWO))
    hv.start(ONE)
    hv.start(TWO)
    with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_error"):
        hv.attach_volume(ONE, second)  # it is not there
    files.make(second.id, 1)
    for _ in range(2):
        hv.attach_volume(ONE, second)
    with pytest.raises(GarageError, match="lock"):
        hv.attach_volume(TWO, first)
    for _ in range(2):
        hv.resize_volume(ONE, second.id, 2)
    with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_error"):
        hv.resize_volume(TWO, second.id, 2)
    assert hv.detach_volume(TWO, first.id), "it does not have it"
    hv.destroy(ONE)
    hv.define(plugged.spec(ONE))
    hv.start(ONE)
    hv.attach_volume(TWO, second)


def test_a_guest_that_runs_grows_as_far_as_its_definition_leaves_room(plugged: Subject) -> None:
    hv, small, large = plugged.hypervisor, Shape(1, 32, 1), Shape(3, 288, 2)
    disks = FakeDisks(hv) if isinstance(hv, FakeHypervisor) else LocalDisks(plugged.home, write_seed)
    if isinstance(disks, LocalDisks):
        disks.disk_path(ONE).unlink()
    disks.make_disk(ONE, IMAGE, 1)
    spec = replace(plugged.spec(ONE), most_vcpus=4, most_memory_mib=512)
    hv.define(spec)
    with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_error"):
        hv.grow(ONE, large)  # it is off
    hv.start(ONE)
    assert hv.shape(ONE) == small
    for _ in range(2):
        hv.grow(ONE, large)
        assert hv.shape(ONE) == large
    hv.grow(ONE, small)
    assert hv.shape(ONE) == large, "nothing shrinks"
    with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_error"):
        hv.grow(ONE, Shape(4, 1024, 3))
    assert hv.shape(ONE) == Shape(4, 288, 2), "what came before that is kept"
    assert hv.look(ONE) == RUNNING
    hv.destroy(ONE)
    hv.define(plugged.spec(ONE))
    hv.start(ONE)
    assert hv.shape(ONE) == Shape(1, 32, 2), "the next start goes by the definition"
    with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_error"):
        hv.grow(ONE, large)


@pytest.mark.machine
def test_a_q35_machine_has_a_free_port_for_each_volume(qemu: Subject) -> None:
    """As KVM's are, though not run by it: libvirt defines it and finds eight ports without a device."""
    connection = libvirt.open("qemu:///system")
    domain = connection.defineXML(render(replace(qemu.spec(ONE), kvm=True), driver="qemu"))
    try:
        root = ET.fromstring(domain.XMLDesc())
        taken = {each.get("bus") for each in root.iterfind("devices/*/address[@type='pci']")}
        ports = [int(each.get("index", "")) for each in root.iterfind("devices/controller[@model='pcie-root-port']")]
        assert len([port for port in ports if f"0x{port:02x}" not in taken]) >= LIMIT
    finally:
        domain.undefine()
        connection.close()


@pytest.mark.machine
def test_a_copy_that_is_called_off_or_left_by_another_process_ends(qemu: Subject) -> None:
    hv, disks = qemu.hypervisor, LocalDisks(qemu.home, write_seed)
    assert isinstance(hv, LibvirtHypervisor)
    disks.disk_path(ONE).unlink()
    disks.make_disk(ONE, IMAGE, 1)
    hv.define(qemu.spec(ONE))
    hv.start(ONE)
    image = disks.image_path(IMAGE) / "disk.qcow2"
    draft = disks.snapshots.draft(ONE, "a" * 20, IMAGE)
    with pytest.raises(InterruptedError):
        hv.copy_disk(ONE, draft, image, frozen=False, told=_call_off)
    draft = disks.snapshots.draft(ONE, "a" * 20, IMAGE)
    left = libvirt.open("qemu:///system")
    disk_copy.begin(left.lookupByName(qemu.spec(ONE).name), disk_copy.Mirror(draft, image))
    for _ in range(2):
        hv.end_copy(ONE)
    assert not left.lookupByName(qemu.spec(ONE).name).blockJobInfo(disk_copy.DISK)
    left.close()
    hv.destroy(ONE)
    hv.end_copy(ONE)
    hv.end_copy(TWO)


def _call_off(_percent: int) -> None:
    raise InterruptedError


def test_domains_of_others_are_not_ours(test_driver: Subject) -> None:
    other = LibvirtHypervisor("test:///default", instance="ttdx", home=test_driver.home)
    other.define(spec_in(test_driver.home, "ttdx")(ONE))
    try:
        assert other.observe() == {ONE: OFF}
        assert test_driver.hypervisor.observe() == {}, "neither theirs nor the test driver's own domain"
    finally:
        other.undefine(ONE)
        other.close()


def test_a_daemon_that_is_not_there(tmp_path: Path) -> None:
    uri = f"qemu+unix:///system?socket={tmp_path}/none"
    hypervisor = LibvirtHypervisor(uri, instance="tno", home=tmp_path)
    with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_away"):
        hypervisor.observe()


def test_a_daemon_that_hangs(tmp_path: Path) -> None:
    """It accepts and never says a word: the call ends all the same, and so does the next one."""
    with socket.socket(socket.AF_UNIX) as server, contextlib.ExitStack() as kept:
        server.bind(f"{tmp_path}/hung")
        server.listen()
        threading.Thread(target=_accept_for_ever, args=(server, kept), daemon=True).start()
        uri = f"qemu+unix:///system?socket={tmp_path}/hung"
        hypervisor = LibvirtHypervisor(uri, instance="thg", home=tmp_path, deadline=0.3)
        for _ in range(2):
            begun = time.monotonic()
            with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_away"):
                hypervisor.observe()
            assert time.monotonic() - begun < 20, "it would wait for ever"


def _accept_for_ever(server: socket.socket, kept: contextlib.ExitStack) -> None:
    with contextlib.suppress(OSError):
        while True:
            kept.enter_context(server.accept()[0])


def test_the_fake_outlives_its_process(tmp_path: Path) -> None:
    uri = f"fake://{tmp_path}/fleet.json?vcpus=64"
    first = FakeHypervisor.from_uri(uri)
    first.define(spec_in(tmp_path, "tfk")(ONE))
    first.start(ONE)
    again = FakeHypervisor.from_uri(uri)
    assert again.observe() == {ONE: RUNNING}
    assert again.facts().vcpus == 64
    with pytest.raises(GarageError, match="not known"):
        FakeHypervisor.from_uri("fake://?colour=red")


def test_what_one_process_does_to_the_fake_others_see(tmp_path: Path) -> None:
    uri = f"fake://{tmp_path}/node.json"
    one, other = (FakeHypervisor.from_uri(uri) for _ in range(2))
    assert other.observe() == {}
    FakeDisks(one).make_disk(ONE, "ab" * 32, 5)
    one.define(spec_in(tmp_path, "tfk")(ONE))
    assert other.observe() == {ONE: OFF}
    assert FakeDisks(other).present(ONE) == (True, False)
    other.start(ONE)
    assert one.answers(ONE)
    other.destroy(ONE)
    one.undefine(ONE)
    FakeDisks(one).remove(ONE)
    assert other.observe() == {}
    assert FakeDisks(other).present(ONE) == (False, False)


def test_the_fake_is_broken_from_outside_by_a_file(tmp_path: Path) -> None:
    fake = FakeHypervisor.from_uri(f"fake://{tmp_path}/node.json")
    faults = tmp_path / "node.json.faults"
    faults.write_text('{"away": true}')
    with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_away"):
        fake.observe()
    faults.unlink()
    assert fake.observe() == {}


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        (libvirt.VIR_DOMAIN_RUNNING, 1, RUNNING),
        (libvirt.VIR_DOMAIN_SHUTDOWN, 1, RUNNING),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN, OFF),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED, OFF),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED, OFF),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN, Domain(Power.OFF, Reason.GUEST)),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, Domain(Power.OFF, Reason.CRASH)),
        (libvirt.VIR_DOMAIN_CRASHED, libvirt.VIR_DOMAIN_CRASHED_PANICKED, Domain(Power.CRASHED, Reason.CRASH)),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, Domain(Power.PAUSED, Reason.FULL)),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, Domain(Power.PAUSED)),
    ],
)
def test_states(state: int, reason: int, expected: Domain) -> None:
    assert domain_of(state, reason) == expected
