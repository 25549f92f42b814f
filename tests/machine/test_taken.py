"""Machines that wait in a pool, really booted and paused, and taken: nobody's before, somebody's within seconds, no two alike."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from garage.shell.images import Manifest
from tests.machine.pooled import Pooled, shared

pytestmark = pytest.mark.machine

KNOCK = """
import socket, sys
one = socket.socket(); one.settimeout(5)
try: one.connect((sys.argv[1], 22)); print("open")
except TimeoutError: print("none")
except OSError as error: print(error.errno)
"""
USER_DATA = """#cloud-config
hostname: chosen
users: [default, {name: carol, shell: /bin/sh}]
write_files: [{path: /etc/motd, content: hello}]
runcmd:
  - [sh, -c, "id -un > /var/tmp/ran; echo said by runcmd"]
"""
BOOT = "cat /proc/sys/kernel/random/boot_id"
VIRSH = ("virsh", "-q", "-c", "qemu:///system")
COUNT = 2


@pytest.fixture(scope="module")
def garage(image_store: tuple[Path, Manifest]) -> Iterator[Pooled]:
    """Two machines wait in it."""
    made = Pooled(image_store[0])
    try:
        made.fill("tiny", COUNT, 280)
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
        found = [garage.run([sys.executable, "-c", KNOCK, garage.address(name)]).strip() for name in names]
        assert found[0] == str(errno.ECONNREFUSED), "it runs for this moment, with its port closed"
        assert found[1] in ("none", str(errno.EHOSTUNREACH))
    finally:
        garage.run([*VIRSH, "suspend", names[0]])
        garage.start("worker")


def test_nothing_secret_is_in_one_that_waits(garage: Pooled, tmp_path: Path) -> None:
    """Its disk as the node has it, its seed, and what its kernel was told."""
    machine = garage.domains()[0].removeprefix("garage-tmx-")
    folder = garage.home / "machines" / machine
    raw = garage.home / "disk.raw"
    garage.run(["qemu-img", "convert", "-U", "-O", "raw", str(folder / "disk.qcow2"), str(raw)])
    for path in ("/etc", "/var/lib", "/var/log", "/root", "/home"):
        subprocess.run(["debugfs", "-R", f"rdump {path} {tmp_path}", str(raw)], check=True, capture_output=True)
    raw.unlink()
    etc = tmp_path / "etc"
    assert (etc / "hostname").read_text() == "spare\n"
    assert (tmp_path / "lib/garage/instance").read_text() == f"{machine} spare"
    assert not [*(etc / "ssh").glob("ssh_host_*"), *(etc / "ssh/authorized_keys.d").iterdir()]
    assert not [path for path in tmp_path.rglob("*") if path.name in ("authorized_keys", "known_hosts", "user-data")]
    passwords = [line.split(":")[1] for line in (etc / "shadow").read_text().splitlines()]
    assert all(password.startswith(("*", "!")) for password in passwords)
    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [text for text in [*texts, (folder / "seed.iso").read_bytes()] if b"PRIVATE KEY-----" in text]


def test_who_asks_has_one_at_once_and_no_two_are_alike(garage: Pooled) -> None:
    """Twenty are compared by `make test-pools`."""
    seen = {}
    for name in ("one", "two"):
        given = ["--user-data", str(garage.home / "user-data")] if name == "two" else []
        (garage.home / "user-data").write_text(USER_DATA)
        made = json.loads(garage.garage("-o", "json", "machine", "create", name, "--size", "tiny", *given))
        assert (made["state"], made["cold_reason"]) == ("ready", "")
        seen[name] = garage.identity(name)
        assert seen[name]["host key"] == made["host_key"].split()[1]
        assert made["ipv4"] in seen[name]["addresses"].split()
        lines = garage.ssh(name, f"getent hosts {made['ipv4']}; date +%s").split("\n")
        assert made["fqdn"] in lines[0]
        assert abs(int(lines[1]) - time.time()) < 30, "its clock stood still while it was paused"
    assert garage.ssh("one", "hostname; cloud-init status").split("\n")[:2] == ["one", "status: disabled"]
    assert shared(seen) == []


def test_late_user_data_has_its_way(garage: Pooled) -> None:
    """By cloud-init itself, as after a boot: it says when it is done, and keeps its log."""
    said = garage.ssh("two", "cloud-init status --wait | tail -1; cat /var/log/cloud-init-output.log; hostname")
    assert "status: done" in said
    assert "said by runcmd" in said
    assert said.strip().endswith("chosen")
    assert garage.ssh("two", "cat /var/tmp/ran; id -un carol; stat -c %a /etc/motd").split() == ["root", "carol", "644"]
    assert garage.identity("two")["cloud-init's instance-id"] == garage.show("two")["id"]
    assert garage.ssh("two", "systemctl is-system-running --wait").strip() == "running"


def test_started_again_it_is_who_it_was(garage: Pooled) -> None:
    """By the garage, and by itself, with the seed of a pool machine still in its drive."""
    before = {name: garage.identity(name) for name in ("one", "two")}
    garage.ssh("two", "sudo systemctl reboot", check=False)
    garage.garage("machine", "reboot", "one")
    garage.wait_state("one", "booting")
    garage.wait_state("one", "ready")
    deadline = time.monotonic() + 120
    while garage.ssh("two", BOOT, check=False).strip() in ("", before["two"]["boot id"]):
        assert time.monotonic() < deadline, garage.logs()
        time.sleep(1)
    for name in ("one", "two"):
        after = garage.identity(name)
        for key in ("machine-id", "host key", "addresses", "instance-id", "cloud-init's instance-id"):
            assert after[key] == before[name][key]
        assert after["boot id"] != before[name]["boot id"], "it did boot"
    assert garage.ssh("one", "hostname").strip() == "one"
    assert garage.ssh("two", "hostname").strip() == "chosen"
