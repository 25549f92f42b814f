"""The servers that other tests put their nodes on: each with its own libvirt, SSH, root and name, and nothing left of any."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from garage.core.tiny_guest import Kind, build
from tests import leftovers
from tests.servers import Server, Servers

pytestmark = pytest.mark.machine

DOMAIN = """<domain type='qemu'><name>tiny</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type><kernel>/tmp/tiny</kernel></os><features><acpi/></features>
<devices><serial type='file'><source path='/tmp/said'/></serial></devices></domain>"""
ASKPASS = "echo '#!/bin/sh\necho \"$PASSWORD\"' >/tmp/askpass; chmod +x /tmp/askpass; "
OPTIONS = "-o NumberOfPasswordPrompts=1 -o UserKnownHostsFile=/tmp/known"
SSH = "SSH_ASKPASS=/tmp/askpass SSH_ASKPASS_REQUIRE=force ssh " + OPTIONS + " root@{address} hostname"


@pytest.fixture(scope="module")
def lab() -> Iterator[Servers]:
    with Servers("one", "two") as made:
        yield made


def test_each_has_a_libvirt_of_its_own_that_runs_guests(lab: Servers) -> None:
    for server in lab.servers.values():
        server.start_libvirt()
        (server.base / "tiny").write_bytes(build(Kind.SIT, server.name.encode()))
        server.run("cat >/tmp/tiny", input=None, stdin=(server.base / "tiny").open("rb"))
        server.run("cat >/tmp/tiny.xml; virsh -q create /tmp/tiny.xml", input=DOMAIN)
    assert {name: _said(server) for name, server in lab.servers.items()} == {"one": "one", "two": "two"}
    uuids = {server.run("virsh capabilities | grep -m1 uuid") for server in lab.servers.values()}
    assert len(uuids) == 2, "libvirt refuses to migrate to a host of the same id"


def test_one_reaches_the_other_by_ssh_as_a_new_server_is_reached(lab: Servers) -> None:
    one, two = lab["one"], lab["two"]
    one.run(f"echo '{two.address} {two.host_key}' >/tmp/known")
    said = one.run(ASKPASS + SSH.format(address=two.address), env={**one.environment(), "PASSWORD": two.password})
    assert said == "two\n"
    wrong = one.run(ASKPASS + SSH.format(address=two.address), env={**one.environment(), "PASSWORD": "x"}, check=False)
    assert wrong == ""
    assert len({server.run("cat /etc/machine-id") for server in lab.servers.values()}) == 2


def test_what_one_writes_is_neither_in_the_other_nor_outside(lab: Servers) -> None:
    lab["one"].run("touch /etc/of-one /var/lib/garage/of-one /root/of-one")
    assert lab["two"].run("ls /etc/of-one /root /var/lib/garage", check=False) == "/root:\n\n/var/lib/garage:\n"
    assert not Path("/etc/of-one").exists()
    assert (lab["one"].home / "of-one").exists(), "GARAGE_HOME can be looked into"


LIFE = """
import sys
from tests.leftovers import Run
from tests.servers import Servers
run = Run()
lab = Servers("one", "two")
for server in lab.servers.values(): server.start_libvirt()
print(run.folder, flush=True)
sys.stdin.read()
"""


def test_nothing_is_left_of_them_when_their_owner_is_killed() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", LIFE], cwd=leftovers.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    folder = Path(owner.stdout.readline().strip())
    before = set(_inside(folder))
    assert len([name for name in before if "libvirtd" in name]) == 2
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 20
    while (_inside(folder) or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _inside(folder) == []
    assert not folder.exists()


def _inside(folder: Path) -> list[str]:
    found = []
    for pid in leftovers.processes(folder):
        try:
            found.append(f"{pid} {Path(f'/proc/{pid}/comm').read_text().strip()}")
        except OSError:
            continue
    return [name for name in found if not name.endswith("python")]


def _said(server: Server) -> str:
    deadline = time.monotonic() + 60
    while not (said := server.run("cat /tmp/said", check=False).strip()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return said
