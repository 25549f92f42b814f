"""Machines that wait in a pool, really booted and paused, and taken: nobody's before, somebody's within seconds, no two alike."""

from __future__ import annotations

import errno
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from garage.shell.images import Manifest
from tests.machine.garage_inside import SETTINGS, Garage
from tests.netlab import NetLab

pytestmark = pytest.mark.machine

ALIKE = (
    "cat /etc/machine-id /proc/sys/kernel/random/boot_id; cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub; hostname -I"
)
"""What no two machines may have in common, a line each."""
KNOCK = """
import socket, sys
one = socket.socket(); one.settimeout(5)
try: one.connect((sys.argv[1], 22)); print("open")
except TimeoutError: print("none")
except OSError as error: print(error.errno)
"""
VIRSH = ("virsh", "-q", "-c", "qemu:///system")
COUNT = 2


class Pooled(Garage):
    """A garage with pools, in the node of a NetLab of its own."""

    def __init__(self, store: Path) -> None:
        self.lab = NetLab()
        settings: dict[str, Any] = {**SETTINGS, "pool_ram_share": 0.25}
        super().__init__(store, lambda argv: ["ip", "netns", "exec", self.lab.node, *argv], settings)

    def close(self) -> None:
        super().close()
        self.lab.close()

    def pool(self) -> dict[str, Any]:
        items = json.loads(self.garage("-o", "json", "admin", "pool", "list"))["items"]
        return next((item for item in items if item["size"] == "tiny"), {"waiting": 0})


@pytest.fixture(scope="module")
def garage(image_store: tuple[Path, Manifest]) -> Iterator[Pooled]:
    """Two machines wait in it."""
    made = Pooled(image_store[0])
    try:
        made.garage("admin", "pool", "set", "debian-12", "small", "0")
        made.garage("admin", "pool", "set", "debian-12", "tiny", str(COUNT))
        deadline = time.monotonic() + 280
        while made.pool()["waiting"] < COUNT:
            assert time.monotonic() < deadline, made.logs()
            time.sleep(1)
        yield made
    finally:
        made.close()


def test_those_that_wait_are_nobodys_paused_and_closed(garage: Pooled) -> None:
    assert json.loads(garage.garage("-o", "json", "machine", "list"))["items"] == []
    names = garage.domains()
    assert len(names) == COUNT
    for name in names:
        assert garage.run([*VIRSH, "domstate", name]).strip() == "paused"
    garage.stop("worker")  # it would pause them again
    try:
        garage.run([*VIRSH, "resume", names[0]])
        found = {garage.run([sys.executable, "-c", KNOCK, f"10.77.0.{16 + n}"]).strip() for n in range(COUNT)}
        assert found == {str(errno.ECONNREFUSED), "none"}, "one runs for this moment, with its port closed"
    finally:
        garage.run([*VIRSH, "suspend", names[0]])
        garage.start("worker")


def test_who_asks_has_one_at_once_and_no_two_are_alike(garage: Pooled) -> None:
    seen: list[list[str]] = []
    for name in ("one", "two"):
        made = json.loads(garage.garage("-o", "json", "machine", "create", name, "--size", "tiny"))
        assert (made["state"], made["cold_reason"]) == ("ready", "")
        lines = garage.ssh(name, f"{ALIKE}; hostname; getent hosts {made['ipv4']}; date +%s").split("\n")
        assert lines[2] == made["host_key"].split()[1]
        assert made["ipv4"] in lines[3].split()
        assert lines[4] == name
        assert made["fqdn"] in lines[5]
        assert abs(int(lines[6]) - time.time()) < 30, "its clock stood still while it was paused"
        seen.append(lines[:4])
    for one, other in zip(*seen, strict=True):
        assert set(one.split()).isdisjoint(other.split())


def test_started_again_it_is_who_it_was(garage: Pooled) -> None:
    before = garage.ssh("one", ALIKE).split("\n")
    garage.garage("machine", "reboot", "one")
    garage.wait_state("one", "booting")
    garage.wait_state("one", "ready")
    after = garage.ssh("one", ALIKE).split("\n")
    assert (after[0], after[2]) == (before[0], before[2])
    assert before[1] != after[1], "it did boot"
