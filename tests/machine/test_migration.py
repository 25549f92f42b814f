"""A real Debian moves between two libvirts while it runs, and notices nothing: disk, agent, console, an open TCP connection.

SERVER one: bridge 10.0.2.2 ──VXLAN── bridge :SERVER two        guest 10.0.2.15, on one and then on two
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from garage.core import growth, names
from garage.core.domain_xml import DomainSpec
from garage.core.hypervisor_types import Domain, Power, Shape
from garage.core.seed import Identity, seed_files
from garage.core.sshkeys import make_host_key
from garage.errors import GarageError
from garage.shell.hypervisor import LibvirtHypervisor
from garage.shell.images import Manifest
from tests.machine.guest import BOOT_SECONDS
from tests.remotelab import INSTANCE, RemoteLab, remote_lab
from tests.servers import HOME, Server

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

ONE, GUEST, GATEWAY = "1" * 20, "10.0.2.15", "10.0.2.2"
BRIDGE = names.bridge(INSTANCE)
TALK = f"""
import socket, sys
line = socket.create_connection(("{GUEST}", 22), 10)
print(line.recv(8) == b"SSH-2.0-", flush=True)
line.settimeout(20)
sys.stdin.readline()
line.sendall(b"SSH-2.0-test\\r\\n")
said = line.recv(4096)
while b"curve25519" not in said:
    more = line.recv(4096)
    assert more, said
    said += more
print("alive", flush=True)
"""
"""An SSH connection that is opened before the move and spoken on after it."""


@dataclass
class Moving:
    lab: RemoteLab
    spec: DomainSpec
    one: LibvirtHypervisor
    two: LibvirtHypervisor


@pytest.fixture(scope="module")
def moving(image_store: tuple[Path, Manifest], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moving]:
    store, manifest = image_store
    with remote_lab(tmp_path_factory.mktemp("controller"), store) as lab:
        _join_bridges(lab)
        for name in ("one", "two"):
            _files(lab, name, manifest)
        found = Moving(lab, _spec(manifest), lab.hypervisor("one", "qemu+tls"), lab.hypervisor("two", "qemu+ssh"))
        found.one.define(found.spec)
        found.one.start(ONE)
        _until(lambda: b"SSH-2.0-" in _banner(lab.servers["one"]), BOOT_SECONDS)
        yield found


def _join_bridges(lab: RemoteLab) -> None:
    one, two = lab.servers["one"], lab.servers["two"]
    for server, other in ((one, two), (two, one)):
        server.run(
            f"ip link add vx type vxlan id 7 remote {other.address} dstport 4789 dev eth0; ip link set vx master {BRIDGE} up"
        )
    one.run(f"ip addr add {GATEWAY}/32 dev {BRIDGE}; ip route add {GUEST}/32 dev {BRIDGE}")


def _files(lab: RemoteLab, name: str, manifest: Manifest) -> None:
    private, public = make_host_key(b"x" * 32, "moving")
    who = Identity(
        machine_id=ONE, hostname="moving", fqdn="moving.alice.home.garage.internal", host_key_private=private.decode(),
        host_key_public=public, authorized_keys=[], ipv4=GUEST, gateway=GATEWAY,
    )  # fmt: skip
    disks = lab.disks(name)
    disks.make_disk(ONE, manifest.sha256, 5 if name == "one" else 6)  # by then it has grown
    disks.write_seed(ONE, seed_files(who))
    disks.copy_kernel(ONE, manifest.sha256)


def _spec(manifest: Manifest) -> DomainSpec:
    folder = HOME / "machines" / ONE
    return DomainSpec(
        instance=INSTANCE, machine_id=ONE, title="moving", vcpus=1, memory_mib=512, kvm=False,
        image_disk=HOME / "images" / manifest.sha256 / "disk.qcow2", kernel=folder / "vmlinuz", initrd=folder / "initrd.img",
        cmdline=manifest.cmdline, disk=folder / "disk.qcow2", seed=folder / "seed.iso", bridge=BRIDGE,
        tap=names.tap(INSTANCE, 1), mac="52:67:00:00:00:01", console_log=HOME / "console" / f"{ONE}.log",
        most_vcpus=8, most_memory_mib=4096,
    )  # fmt: skip


def _banner(server: Server) -> bytes:
    return server.run(
        f"timeout 5 bash -c 'exec 3<>/dev/tcp/{GUEST}/22; head -c 8 <&3' 2>/dev/null", check=False
    ).encode()


def _until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.5)


def _answers(hypervisor: LibvirtHypervisor, script: str) -> bool:
    """The guest's agent runs the script, with success."""
    try:
        return hypervisor.execute(ONE, script, wait=60.0)
    except GarageError:
        return False  # it is still starting


def _grows(hypervisor: LibvirtHypervisor, to: Shape) -> None:
    """As soon as its emulator can, which empties its buffer when it has translated enough."""
    end = time.monotonic() + BOOT_SECONDS
    while hypervisor.shape(ONE) != to:
        assert time.monotonic() < end
        try:
            hypervisor.grow(ONE, to)
        except GarageError as error:
            assert error.code == "unavailable", error
            hypervisor.execute(
                ONE, "python3 -c 'import asyncio, email, json, ssl, unittest'; apt-cache policy", wait=60.0
            )
    assert _answers(hypervisor, growth.use(to.vcpus, to.disk_gib))
    assert _answers(
        hypervisor, f"[ $(nproc) = {to.vcpus} ] && [ $(free -m | awk '/Mem/ {{print $2}}') -gt {to.memory_mib - 128} ]"
    )


def test_a_running_machine_that_has_grown_moves_and_notices_nothing(moving: Moving) -> None:
    one, two, lab = moving.one, moving.two, moving.lab
    _until(lambda: _answers(one, "cat /proc/sys/kernel/random/boot_id >/root/boot; sync"), 60)
    _grows(one, Shape(2, 1024, 6))
    one.execute(ONE, "head -c 10000000 /dev/urandom >/root/data; sha256sum /root/data >/root/sum; sync", wait=60.0)
    talk = lab.servers["one"].popen(["python3", "-c", TALK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert talk.stdout is not None
    assert talk.stdout.readline() == "True\n"
    told: list[int] = []
    pause = one.migrate(moving.spec, lab.node("two"), told.append)
    assert len(told) > 2, "progress was told on the way"
    assert 0 < pause < 5000
    moving.lab.disks("one").remove(ONE)  # what is read from now on has come along
    assert (one.observe(), two.observe()) == ({}, {ONE: Domain(Power.RUNNING)})
    assert talk.communicate("go\n", timeout=30)[0] == "alive\n", "the TCP connection lived on"
    same = (
        "cmp /root/boot /proc/sys/kernel/random/boot_id && echo 3 >/proc/sys/vm/drop_caches && sha256sum -c /root/sum"
    )
    assert _answers(two, f"{same} && echo moved here >/dev/ttyS0")
    _until(lambda: b"moved here" in two.console(ONE), 10)
    assert two.shape(ONE) == Shape(2, 1024, 6)
