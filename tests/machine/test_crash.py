"""SIGKILL between any two effects of create and of delete, with a real worker process, libvirt and QEMU.

What must come out: exactly one domain, disk and name, or none. The guest is a few bytes; Linux would only take time.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator

import pytest

from garage.services import machines
from garage.services.machines import NewMachine
from tests.realms import Realm, libvirt_answers, realm

pytestmark = [
    pytest.mark.machine,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not libvirt_answers(), reason="needs root and libvirt"),
]


@pytest.fixture(scope="module")
def home() -> Iterator[Realm]:
    with realm() as made:
        yield made


class Deaths:
    """At the first step of what is to be done, at the second, … up to the moment after the last, when all is done already."""

    def __init__(self, home: Realm, end: str) -> None:
        self._home, self._end = home, end
        self._seen: list[tuple[object, ...]] = []
        self.complete = False

    def die(self, ref: str, point: int) -> None:
        """A worker kills itself at step `point`."""
        process = self._home.worker(GARAGE_FAILPOINT=str(point))
        process.wait(timeout=60)
        assert process.returncode == -signal.SIGKILL, f"at step {point}"
        state = self._home.row(ref).state
        self._seen.append((state, len(self._home.domains(ref)), self._home.files(ref)))
        self.complete = state == self._end

    def finish(self, ref: str) -> None:
        """A worker lives and goes on from there."""
        process = self._home.worker()
        try:
            assert self._home.wait(ref, self._end, "failed", process=process) == self._end, self._seen[-1:]
        finally:
            process.terminate()
            assert process.wait(timeout=60) in (0, -signal.SIGTERM)

    @property
    def moments(self) -> int:
        """How many different things the dead left."""
        return sum(one not in self._seen[:number] for number, one in enumerate(self._seen))


def test_killed_while_it_creates_and_while_it_deletes(home: Realm) -> None:
    creating, deleting = Deaths(home, "booting"), Deaths(home, "gone")
    for point in itertools.count(1):
        made = machines.create(home.ctx, home.caller, NewMachine(name=f"point-{point}", size="tiny"))
        home.netd()
        if not creating.complete:
            creating.die(made.id, point)
        creating.finish(made.id)
        assert home.domains(made.id) == [f"garage-{home.instance}-{made.id}"]
        assert home.files(made.id) == ["disk.qcow2", "seed.iso", "vmlinuz"]
        machines.delete(home.ctx, home.caller, made.id)
        if not deleting.complete:
            deleting.die(made.id, point)
        deleting.finish(made.id)
        assert home.domains(made.id) == []
        assert home.files(made.id) == []
        assert not list((home.home / "console").glob(f"{made.id}*"))
        assert made.id not in [item.id for item in machines.listing(home.ctx, home.caller).items]
        if creating.complete and deleting.complete:
            break
    assert creating.moments >= 6, "nothing, disk, seed, kernel, domain, its start recorded"
    assert deleting.moments >= 4, "everything, no domain, no files, no name"
