"""SIGKILL between any two effects of create and of delete, with a real worker process, libvirt and QEMU.

What must come out: exactly one domain, disk and name, or none. The guest is a few bytes; Linux would only take time.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from garage.services import machines
from garage.services.machines import NewMachine
from tests.realms import Realm, libvirt_answers, realm

pytestmark = [
    pytest.mark.machine,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not libvirt_answers(), reason="needs root and libvirt"),
]
CREATE_STEPS, DELETE_STEPS = 8, 5
"""Changes of a plan, and the moment after the last one."""


@pytest.fixture(scope="module")
def home() -> Iterator[Realm]:
    with realm() as made:
        yield made


def die(home: Realm, ref: str, point: int, end: str) -> None:
    """A worker that kills itself at `point`; it must not get to `end` and live."""
    process = home.worker(GARAGE_FAILPOINT=str(point))
    process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL


def finish(home: Realm, ref: str, end: str) -> None:
    """A worker that lives brings the machine to `end`."""
    process = home.worker()
    try:
        assert home.wait(ref, end, "failed", process=process) == end
    finally:
        process.terminate()
        assert process.wait(timeout=60) in (0, -signal.SIGTERM)


@pytest.mark.parametrize("point", range(1, CREATE_STEPS + 1))
def test_killed_while_it_creates_and_while_it_deletes(home: Realm, point: int) -> None:
    made = machines.create(home.ctx, home.caller, NewMachine(name=f"point-{point}", size="tiny"))
    home.netd()
    die(home, made.id, point, "booting")
    finish(home, made.id, "booting")
    assert home.domains(made.id) == [f"garage-{home.instance}-{made.id}"]
    assert home.files(made.id) == ["disk.qcow2", "seed.iso"]
    machines.delete(home.ctx, home.caller, made.id)
    if point <= DELETE_STEPS:
        die(home, made.id, point, "gone")
    finish(home, made.id, "gone")
    assert home.domains(made.id) == []
    assert home.files(made.id) == []
    assert not list((home.home / "console").glob(f"{made.id}*"))
    assert made.id not in [item.id for item in machines.listing(home.ctx, home.caller).items]
