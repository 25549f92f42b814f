"""libvirt on other servers, over SSH and over TLS: the contract of test_hypervisor.py, guests that move, a node that falls silent."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from garage.core import names
from garage.core.hypervisor_types import Domain, Power, Reason
from garage.core.types import NodeAccess
from garage.errors import GarageError
from garage.shell import migration
from garage.shell.hypervisor import LibvirtHypervisor
from tests.contract.test_hypervisor import (  # noqa: F401  (collected here, with the fixtures below)
    ONE,
    RUNNING,
    Subject,
    spec_in,
    test_a_guest_without_an_agent_executes_nothing,
    test_a_whole_life,
    test_facts,
    test_what_is_not_there,
)
from tests.remotelab import INSTANCE, RemoteLab, remote_lab
from tests.servers import HOME, Server

pytestmark = pytest.mark.machine

PORTS = "49152-49215"
"""Where libvirt has QEMU wait for a guest and its disks (qemu.conf, migration_port_min and _max)."""
STANDING = f"virsh -q list --all; virsh domjobinfo {names.domain(INSTANCE, ONE)}; ss -tno"
SPEC = spec_in(HOME, INSTANCE)(ONE)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteLab]:
    with remote_lab(tmp_path_factory.mktemp("controller")) as made:
        yield made


@pytest.fixture(autouse=True)
def cleared(lab: RemoteLab) -> Iterator[None]:
    yield
    lab.clear()


@pytest.fixture(params=["qemu+ssh", "qemu+tls"])
def subject(request: pytest.FixtureRequest, lab: RemoteLab) -> Subject:
    lab.files("one", ONE)
    return Subject("qemu", lab.hypervisor("one", request.param), spec_in(HOME, INSTANCE), HOME)


def _running(lab: RemoteLab, scheme: str = "qemu+ssh") -> Subject:
    """The guest on node one, and what it needs on node two."""
    for name in ("one", "two"):
        lab.files(name, ONE)
    found = Subject("qemu", lab.hypervisor("one", scheme), spec_in(HOME, INSTANCE), HOME)
    found.hypervisor.define(SPEC)
    found.hypervisor.start(ONE)
    return found


def _console(subject: Subject, text: bytes) -> bytes:
    end = time.monotonic() + 30
    while text not in (said := subject.hypervisor.console(ONE)) and time.monotonic() < end:
        time.sleep(0.1)
    return said


@pytest.mark.parametrize("scheme", ["qemu+ssh", "qemu+tls"])
def test_a_guest_moves_and_goes_on_there(lab: RemoteLab, scheme: str) -> None:
    one = _running(lab, scheme)
    assert b"tiny guest" in _console(one, b"tiny guest")
    two = Subject("qemu", lab.hypervisor("two", scheme), spec_in(HOME, INSTANCE), HOME)
    heard, told = threading.Event(), list[int]()
    two.hypervisor.listen(lambda machine_id: heard.set() if machine_id == ONE else None)
    assert two.hypervisor.observe() == {}
    pause = one.hypervisor.migrate(SPEC, lab.node("two", scheme), told.append)
    assert 0 < pause < 5000
    assert told == sorted(told)
    assert told[-1] == 100
    assert one.hypervisor.observe() == {}
    assert two.hypervisor.observe() == {ONE: RUNNING}
    assert heard.wait(20)
    two.hypervisor.shutdown(ONE)  # it obeys: it is the same guest, still polling its power button
    two.settles(ONE, Domain(Power.OFF, Reason.GUEST))
    two.hypervisor.start(ONE)
    assert b"tiny guest" in _console(two, b"tiny guest")
    assert (lab.home / "console" / f"{ONE}.log").read_bytes() == two.hypervisor.console(ONE), "for the web process"


def test_what_cannot_move_says_why_and_goes_on(lab: RemoteLab) -> None:
    one = _running(lab)
    lab.disks("two").remove(ONE)
    with pytest.raises(GarageError, match="storage") as refused:
        one.hypervisor.migrate(SPEC, lab.node("two"), lambda _percent: None)
    assert refused.value.code == "hypervisor_error"
    nobody = NodeAccess("three", "qemu+ssh://x/system", "192.168.90.99", lab.node("two").ssh_host_key)
    with pytest.raises(GarageError, match="one does not reach three"):
        one.hypervisor.migrate(SPEC, nobody, lambda _percent: None)
    other = NodeAccess("other", *[getattr(lab.node("two"), key) for key in ("hypervisor", "address", "ssh_host_key")])
    lab.files("two", ONE)
    with pytest.raises(GarageError, match=r"[Cc]ertificate"):
        one.hypervisor.migrate(SPEC, other, lambda _percent: None)
    assert one.hypervisor.observe() == {ONE: RUNNING}
    assert lab.hypervisor("two").observe() == {}


def test_a_move_that_does_not_get_on_is_ended(lab: RemoteLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line breaks while the disk travels; when it is back, the guest is here alone, and moves."""
    monkeypatch.setattr(migration, "STALL", 4.0)
    monkeypatch.setattr(migration, "ENDING", 2.0)
    for name in ("one", "two"):
        lab.files(name, ONE)
    lab.servers["one"].run(f"qemu-io -f qcow2 -c 'write -P 7 0 300M' {SPEC.disk}")
    one, two = lab.hypervisor("one"), lab.hypervisor("two")
    one.define(SPEC)
    one.start(ONE)
    with _only(lab.servers["two"], f"tcp dport {PORTS} quota over 50 mbytes drop"):
        with pytest.raises(GarageError) as ended:
            one.migrate(SPEC, lab.node("two"), lambda _percent: None)
        assert ended.value.code in ("timeout", "hypervisor_error")
        assert one.observe() == {ONE: RUNNING}
        with pytest.raises(GarageError, match="port 49152"):
            one.migrate(SPEC, lab.node("two"), lambda _percent: None)
    _until_gone(lab, two)
    assert _until_done(lambda: one.migrate(SPEC, lab.node("two"), lambda _percent: None)) > 0
    assert two.observe() == {ONE: RUNNING}


@contextlib.contextmanager
def _only(server: Server, rule: str) -> Iterator[None]:
    """`rule` at the door of what the server hears."""
    server.run(f"nft 'table inet cut {{ chain in {{ type filter hook input priority 0; {rule}; }}; }}'")
    try:
        yield
    finally:
        server.cut(on=False)


def _until_gone(lab: RemoteLab, two: LibvirtHypervisor) -> None:
    """QEMU hears that its attempt is over when TCP sends again, which waits twice as long after each try: as long as the line was cut."""
    end = time.monotonic() + 60
    while (seen := two.look(ONE)) is not None and time.monotonic() < end:
        time.sleep(0.1)
    assert seen is None, [server.run(STANDING, check=False) for server in lab.servers.servers.values()]


def _until_done(act: Callable[[], float]) -> float:
    """libvirt may need a moment to give the first attempt up."""
    end = time.monotonic() + 30
    while True:
        try:
            return act()
        except GarageError:
            assert time.monotonic() < end
            time.sleep(0.5)


@pytest.mark.parametrize("deaf", [True, False])
def test_a_silent_node_is_noticed_and_found_again(lab: RemoteLab, deaf: bool) -> None:
    """`deaf`: it no longer hears, and still sends. How soon is a benchmark's (`node.silent`)."""
    noticed = list[threading.Event]()
    hypervisors = [lab.hypervisor("two", scheme) for scheme in ("qemu+ssh", "qemu+tls")]
    for hypervisor in hypervisors:
        noticed.append(closed := threading.Event())
        hypervisor.listen(lambda machine_id, closed=closed: None if machine_id else closed.set())  # type: ignore[misc]
        assert hypervisor.observe() == {}
    with _cut_off(lab.servers["two"], deaf=deaf):
        for hypervisor, closed in zip(hypervisors, noticed, strict=True):
            assert closed.wait(30), "libvirt tells by itself"
            with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_away"):
                hypervisor.observe()
    assert [_found_again(hypervisor.observe) for hypervisor in hypervisors] == [{}, {}]


@contextlib.contextmanager
def _cut_off(server: Server, *, deaf: bool) -> Iterator[None]:
    server.cut(deaf=deaf)
    try:
        yield
    finally:
        server.cut(on=False)


def _found_again(observe: Callable[[], dict[str, Domain]]) -> dict[str, Domain]:
    end = time.monotonic() + 40
    while True:
        try:
            return observe()
        except GarageError as error:
            assert error.code == "hypervisor_away"
            assert time.monotonic() < end, error
            time.sleep(0.2)


def test_another_host_key_lets_nobody_in(lab: RemoteLab) -> None:
    assert lab.node("one").ssh_host_key != lab.node("two").ssh_host_key
    node = lab.node("one")
    wrong = NodeAccess(node.name, node.hypervisor, node.address, lab.node("two").ssh_host_key)
    ways = lab.ways()
    try:
        with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_away"):
            LibvirtHypervisor(wrong, instance=INSTANCE, home=HOME, ways=ways).observe()
        with pytest.raises(GarageError, match="host key"):
            ways.shell(wrong).ask("true")
    finally:
        ways.close()
