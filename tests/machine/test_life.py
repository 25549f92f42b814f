"""A real machine through its whole life, and the floor attacked from inside it with real packets (topology: tests/netlab.py)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from garage.shell.images import Manifest
from tests.kernel import frames as f
from tests.kernel.probes import SERVER, Watch, sniff_while
from tests.machine.garage_inside import GarageInside
from tests.netlab import INTERNET, INTERNET6, METADATA, NEIGHBOUR, NODE_UPLINK, NODE_UPLINK6, OFFICE, ROUTER, ROUTER6

pytestmark = pytest.mark.machine

GATEWAY, GATEWAY6 = "10.77.0.1", "fd77:7:7::1"
USER_DATA = """#cloud-config
write_files:
  - {path: /etc/hello, content: "from user-data"}
"""


@pytest.fixture(scope="module")
def garage(image_store: tuple[Path, Manifest]) -> Iterator[GarageInside]:
    """A garage with one machine, "one", made with the command line as a member would."""
    made = GarageInside(image_store[0])
    try:
        made.garage("machine", "create", "one", "--size", "tiny")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module", autouse=True)
def idle(garage: GarageInside) -> Iterator[Watch]:
    """All that the machine sends and all that leaves by the uplink, from the moment on when it is ready."""
    devices = garage.lab.exec(garage.lab.node, "ls /sys/class/net").split()
    tap = next(device for device in devices if device.startswith("gttmx"))
    watch = Watch(garage.lab.node, tap, "up0")
    yield watch
    watch.close()


@pytest.fixture(scope="module")
def world(garage: GarageInside) -> Iterator[None]:
    """TCP servers on the node, at the office, at a neighbour of the node and in the internet."""
    lab, servers = garage.lab, []
    for place, ports in ((lab.node, "23 8088"), (lab.uplink, "80"), (lab.office, "80"), (lab.internet, "80")):
        server = lab.popen(place, [sys.executable, "-c", SERVER, *ports.split()], stdout=subprocess.PIPE)
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n"
        servers.append(server)
    yield
    for server in servers:
        server.kill()
        server.wait()


def test_names_and_ipv6_are_there_at_the_first_login(garage: GarageInside) -> None:
    """SSH answers seconds before networkd and resolved do. The first test, so that it comes early enough."""
    one = garage.show("one")
    said = garage.ssh("one", f"cat /proc/uptime; getent hosts {one['ipv4']}; ping -6 -c 1 {GATEWAY6}", check=False)
    assert one["fqdn"] in said
    assert " 0% packet loss" in said


def test_it_is_ready_and_lets_its_owner_in_without_a_question(garage: GarageInside) -> None:
    one = garage.show("one")
    assert one["state"] == "ready"
    assert one["virtualisation"] in ("tcg", "kvm")
    said = garage.ssh(
        "one", "hostname; id -un; sudo -n id -u; cat /etc/machine-id; cat /etc/ssh/ssh_host_ed25519_key.pub"
    )
    lines = said.split("\n")
    assert lines[:3] == ["one", "debian", "0"]
    assert len(lines[3]) == 32
    assert lines[4].split()[1] == one["host_key"].split()[1]


def test_its_addresses_are_those_fixed_before_it_booted(garage: GarageInside) -> None:
    one = garage.show("one")
    deadline = time.monotonic() + 90
    while one["ipv6"] not in (said := garage.ssh("one", "ip -br addr show eth0; ip route; resolvectl dns eth0")):
        assert time.monotonic() < deadline, said
        time.sleep(1)
    assert f"{one['ipv4']}/32" in said
    assert f"default via {GATEWAY}" in said
    assert GATEWAY in said.splitlines()[-1]


def test_names_of_machines_and_of_the_node_resolve_inside(garage: GarageInside) -> None:
    one = garage.show("one")
    found = garage.ssh(
        "one", f"getent hosts {one['fqdn']}; getent ahostsv4 one.admin.home.garage.internal; getent hosts {one['ipv4']}"
    )
    assert one["ipv4"] in found
    assert one["fqdn"] in found


def test_the_disk_has_grown_to_the_size_asked_for(garage: GarageInside) -> None:
    deadline = time.monotonic() + 120
    while int(garage.ssh("one", "df --output=size -BG / | tail -1").strip().rstrip("G")) < 5:
        assert time.monotonic() < deadline
        time.sleep(2)


IDLE = 25.0
"""Seconds."""
QUIET = ("arp", "nd", "igmp")
"""How neighbours on a link find each other."""
ITS_NODE = {("udp", 53), ("udp", 67), ("udp", 123), ("udp", 547), ("icmp", 0), ("icmp6", 0)}
"""What a machine asks its node for: names, addresses, time, an echo."""


def test_an_idle_machine_calls_nobody(garage: GarageInside, idle: Watch) -> None:
    """From the moment on when it is ready; the tests before this one ask it about itself and its node. A ping is the control."""
    time.sleep(max(0.0, idle.begun + IDLE - time.monotonic()))
    seen = idle.end()
    sent = [packet for packet in seen if packet.device != "up0" and not packet.outgoing and packet.proto not in QUIET]
    answers = [packet for packet in sent if packet.sport == 22 and packet.target in (GATEWAY, GATEWAY6)]
    assert answers, "the control: it was heard"
    asked = [packet for packet in sent if packet not in answers]
    assert [p for p in asked if (p.proto, p.dport) not in ITS_NODE or not its_node(p.target)] == []
    assert [p for p in seen if p.device == "up0" and p.outgoing and p.proto not in QUIET] == []
    control = Watch(garage.lab.node, "up0")
    garage.ssh("one", f"ping -c 1 {INTERNET}; ping -c 1 {INTERNET6}")
    left = {(p.proto, p.target) for p in control.end() if p.outgoing}
    assert left >= {("icmp", INTERNET), ("icmp6", INTERNET6)}


def its_node(address: str) -> bool:
    """Also where all who listen are asked: DHCP."""
    return address in (GATEWAY, GATEWAY6, "255.255.255.255", "ff02::1:2") or address.startswith("fe80:")


PROBE = """
import socket, sys, json, concurrent.futures
def probe(target):
    try:
        with socket.create_connection(tuple(target), timeout=5) as s:
            return s.recv(5) == b"hello"
    except OSError:
        return False
targets = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    print(json.dumps(list(pool.map(probe, targets))))
"""


def reach(garage: GarageInside, *targets: tuple[str, int]) -> list[bool]:
    said = garage.ssh("one", f"python3 - '{json.dumps(targets)}'", input=PROBE)
    answers: list[bool] = json.loads(said)
    return answers


def reach_from_node(garage: GarageInside, *targets: tuple[str, int]) -> list[bool]:
    said = garage.lab.python(garage.lab.node, f"import sys; sys.argv[1:] = [{json.dumps(targets)!r}]\n{PROBE}")
    answers: list[bool] = json.loads(said)
    return answers


def test_from_inside_only_the_internet_answers(garage: GarageInside, world: None) -> None:
    open_ = [(INTERNET, 80), (INTERNET6, 80)]
    closed = [(address, 80) for address in (OFFICE, NEIGHBOUR, ROUTER, ROUTER6, METADATA)]
    closed += [(a, p) for a in (GATEWAY, GATEWAY6, NODE_UPLINK, NODE_UPLINK6) for p in (23, 8088)]
    assert reach_from_node(garage, *closed) == [True] * len(closed), "the control: from the node they answer"
    assert reach(garage, *open_, *closed) == [True] * len(open_) + [False] * len(closed)


SEND = """
import socket, sys, json
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(("eth0", 0))
for packet in json.loads(sys.argv[1]): s.send(bytes.fromhex(packet))
"""


def test_frames_that_are_not_its_own_end_at_its_tap(garage: GarageInside) -> None:
    one = garage.show("one")
    mac = garage.ssh("one", "cat /sys/class/net/eth0/address").strip()
    node_mac = garage.lab.exec(garage.lab.node, "cat /sys/class/net/gbtmx/address").strip()
    packets = {
        "own": f.ethernet(
            mac, node_mac, 0x0800, f.udp4(one["ipv4"], INTERNET, 4000, 4000, b"<own>....................")
        ),
        "ip": f.ethernet(
            mac, node_mac, 0x0800, f.udp4("10.77.0.99", INTERNET, 4000, 4000, b"<ip>....................")
        ),
        "mac": f.ethernet(
            "52:54:00:99:99:99", node_mac, 0x0800, f.udp4(one["ipv4"], INTERNET, 4000, 4000, b"<mac>...............")
        ),
        "dhcp": f.ethernet(
            mac, f.BROADCAST, 0x0800, f.udp4(one["ipv4"], "255.255.255.255", 67, 68, b"<dhcp>..............")
        ),
        "ra": f.ethernet(
            mac, "33:33:00:00:00:01", 0x86DD, f.icmp6("fe80::1234", "ff02::1", 134, bytes(12) + b"<ra>............")
        ),
        "arp": f.ethernet(mac, f.BROADCAST, 0x0806, f.arp(2, mac, GATEWAY, "10.77.0.99", b"<arp>..............")),
    }
    payload = json.dumps([packet.hex() for packet in packets.values()])
    seen = sniff_while(garage.lab.node, "gbtmx", lambda: garage.ssh("one", f"sudo python3 - '{payload}'", input=SEND))
    assert {name for name in packets if f"<{name}>".encode() in seen} == {"own"}


def test_what_its_disk_and_its_tap_may_do_changes_while_it_runs(garage: GarageInside) -> None:
    domain = f"garage-tmx-{garage.show('one')['id']}"

    def tuned() -> dict[str, str]:
        said = garage.run(["virsh", "-q", "-c", "qemu:///system", "blkdeviotune", domain, "vda"])
        return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in said.splitlines())}

    assert tuned()["total_iops_sec"] == "5000", "it booted with what its size has"
    garage.garage("machine", "limit", "one", "--disk-iops", "321", "--disk-mb", "0", "--net-mbit", "77")
    deadline = time.monotonic() + 60
    while (found := tuned())["total_iops_sec"] != "321":
        assert time.monotonic() < deadline, garage.logs()
        time.sleep(0.3)
    assert found["total_bytes_sec"] == "0"
    while "rate over 9625000 bytes/second" not in garage.lab.exec(
        garage.lab.node, "nft list set bridge garage_tmx sends"
    ):
        assert time.monotonic() < deadline, garage.logs()
        time.sleep(0.3)
    assert garage.ssh("one", "echo still here").strip() == "still here"
    garage.garage(
        "machine", "limit", "one", *("--disk-iops", "default", "--disk-mb", "default", "--net-mbit", "default")
    )


BUSY = "python3 -c 'import asyncio, email, http.client, json, ssl, unittest'; apt-cache policy; ls -lR /etc | sort | tail -1"
"""Makes its emulator translate what it has not seen yet."""


def test_it_grows_while_it_runs_and_its_system_uses_that(garage: GarageInside) -> None:
    before = garage.show("one")
    figures = "nproc; df --output=size -BG / | tail -1; cat /sys/block/vda/size; grep MemTotal /proc/meminfo"
    figures = f"cat /proc/sys/kernel/random/boot_id; {figures}"
    boot = garage.ssh("one", figures).split()[0]
    deadline = time.monotonic() + 300
    garage.garage("machine", "resize", "one", "small", check=False)
    while (after := garage.show("one"))["resize_error"]:
        same = ("size", "vcpus", "memory_mib", "disk_gib")
        assert {name: after[name] for name in same} == {name: before[name] for name in same}, after
        assert "its emulator can take no more vCPUs" in after["resize_error"]["detail"], after
        assert time.monotonic() < deadline, after
        garage.ssh("one", BUSY)
        garage.garage("machine", "resize", "one", "small", check=False)
    assert (after["size"], after["growing"], after["state"]) == ("small", False, "ready")
    found = garage.ssh("one", figures).split()
    assert found[0] == boot, "it has not been started again"
    assert (int(found[1]), int(found[3]) * 512) == (after["vcpus"], after["disk_gib"] << 30)
    assert int(found[2].rstrip("G")) > before["disk_gib"]
    assert int(found[5]) > (after["memory_mib"] - 256) * 1024


def test_a_killed_worker_and_web_leave_it_running_and_come_back(garage: GarageInside) -> None:
    garage.stop("worker", 9)
    garage.stop("web", 9)
    garage.start("web")
    garage.start("worker")
    garage.wait_ready()
    garage.wait_state("one", "ready", seconds=60)
    assert garage.ssh("one", "echo still here").strip() == "still here"


def test_without_libvirt_it_goes_on_and_what_is_asked_meanwhile_is_done_later(garage: GarageInside) -> None:
    garage.ssh("one", "echo kept > note; sync")
    garage.kill_libvirt()
    garage.wait_said("libvirt", "node", "list")
    assert "not answering: hypervisor" in garage.garage("status")
    assert garage.show("one")["state"] == "ready"
    assert garage.ssh("one", "echo still here").strip() == "still here"
    garage.garage("machine", "stop", "one", "--no-wait")
    time.sleep(3)
    assert garage.show("one")["state"] == "stopping"
    garage.start_libvirt()
    garage.wait_state("one", "stopped")
    garage.wait_ready()
    assert "all well" in garage.garage("node", "list")


def test_resized_and_started_again_it_has_the_same_disk_address_and_host_key(garage: GarageInside) -> None:
    before = garage.show("one")
    garage.garage("machine", "resize", "one", "medium")
    garage.garage("machine", "start", "one")
    after = garage.wait_state("one", "ready", "failed")
    assert after["state"] == "ready", after
    assert garage.ssh("one", "cat note").strip() == "kept"
    assert (after["ipv4"], after["host_key"]) == (before["ipv4"], before["host_key"])
    assert after["disk_gib"] > before["disk_gib"]
    vcpus, disk = garage.ssh("one", "nproc; cat /sys/block/vda/size").split()
    assert (int(vcpus), int(disk) * 512) == (after["vcpus"], after["disk_gib"] << 30)


def test_returned_to_a_snapshot_of_when_it_ran_it_has_its_old_files_and_is_still_itself(garage: GarageInside) -> None:
    before = garage.show("one")
    garage.ssh("one", "echo old > thing")  # not synced: freezing does it
    made = json.loads(garage.garage("-o", "json", "machine", "snapshot", "create", "one", "before"))
    assert (made["state"], made["how"]) == ("ready", "frozen"), made
    assert 0 < made["bytes"] < made["disk_gib"] << 30, "it lies on the image"
    garage.ssh("one", "echo new > thing; echo more > other; sync")  # nothing stands still any more
    garage.garage("machine", "stop", "one")
    garage.wait_state("one", "stopped")
    garage.garage("machine", "snapshot", "revert", "one", "before", "--yes")
    # as many vCPUs as this server has cores: what follows boots faster
    garage.garage("machine", "resize", "one", "small")
    garage.garage("machine", "start", "one")
    after = garage.wait_state("one", "ready", "failed")
    assert after["state"] == "ready", after
    said = garage.ssh("one", "cat thing; ls other 2>&1; cat /etc/ssh/ssh_host_ed25519_key.pub /var/lib/garage/instance")
    lines = said.split("\n")
    assert lines[0] == "old"
    assert "No such file" in lines[1]
    assert lines[2].split()[1] == after["host_key"].split()[1]
    assert lines[3].startswith(f"{before['id']} "), "who it is was written anew"
    same = ("id", "ipv4", "host_key", "disk_gib", "lease_until")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert (before["size"], after["size"], after["vcpus"]) == ("medium", "small", 2)
    garage.garage("machine", "snapshot", "delete", "one", "before", "--yes")
    deadline = time.monotonic() + 60
    while "before" in garage.garage("machine", "snapshot", "list", "one"):
        assert time.monotonic() < deadline, garage.logs()
        time.sleep(0.3)
    assert not list((garage.home / "snapshots").glob("*/*"))


def test_a_volume_comes_and_goes_while_it_runs_keeps_its_data_and_grows(garage: GarageInside) -> None:
    made = json.loads(garage.garage("-o", "json", "volume", "create", "data", "--size", "1", "--machine", "one"))
    assert (made["state"], made["machine"]) == ("attached", "one"), made
    file = garage.home / "volumes" / made["id"] / "disk.raw"
    assert (file.stat().st_size, file.stat().st_blocks < 100) == (1 << 30, True), "sparse"
    path = made["path"]
    appears = f"for _ in $(seq 300); do [ -e {path} ] && break; sleep 0.2; done"
    # the label of its own disk, from which it starts later all the same
    use = f"sudo mkfs.ext4 -q -L root -N 64 -O ^has_journal {path}; sudo mount {path} /mnt; echo kept | sudo tee /mnt/thing"
    garage.ssh("one", f"{appears}; {use}")
    garage.garage("volume", "detach", "data", check=False)
    said = garage.garage("volume", "list")
    assert "mounted" in said, said
    garage.ssh("one", "sudo umount /mnt")
    garage.garage("volume", "detach", "data")
    assert garage.ssh("one", f"ls {path} 2>/dev/null || echo none").strip() == "none"
    assert file.stat().st_uid == 0, "no guest's any more"
    garage.garage("volume", "attach", "data", "one")
    garage.garage("volume", "grow", "data", "2")
    seen = f"cat /sys/block/$(basename $(readlink -f {path}))/size"
    said = garage.ssh("one", f"{appears}; sudo mount {path} /mnt; cat /mnt/thing; sudo umount /mnt; {seen}")
    assert said.split() == ["kept", str((2 << 30) // 512)]


def test_a_volume_is_returned_to_what_it_was_while_a_guest_wrote_on_it(garage: GarageInside) -> None:
    """Its file systems stand still while it is copied; while the machine has it nothing is returned beneath it."""
    found = json.loads(garage.garage("-o", "json", "volume", "show", "data"))
    path, folder = found["path"], garage.home / "volumes" / found["id"]
    appears = f"for _ in $(seq 300); do [ -e {path} ] && break; sleep 0.2; done"
    garage.ssh("one", f"{appears}; sudo mount {path} /mnt; echo new | sudo tee /mnt/unsynced")
    made = json.loads(garage.garage("-o", "json", "volume", "snapshot", "create", "data", "before"))
    assert (made["state"], made["how"], 0 < made["bytes"] < 1 << 28) == ("ready", "frozen", True), "sparse"
    garage.ssh("one", "echo lost | sudo tee /mnt/thing /mnt/other; sudo umount /mnt")
    garage.garage("volume", "snapshot", "revert", "data", "before", "--yes", check=False)
    assert garage.ssh("one", f"sudo mount {path} /mnt; cat /mnt/thing; sudo umount /mnt").split() == ["lost"]
    garage.garage("volume", "detach", "data")
    garage.garage("volume", "snapshot", "revert", "data", "before", "--yes")
    garage.garage("volume", "attach", "data", "one")
    said = garage.ssh(
        "one", f"{appears}; sudo mount {path} /mnt; cat /mnt/thing /mnt/unsynced; ls /mnt; sudo umount /mnt"
    )
    assert said.split() == ["kept", "new", "lost+found", "thing", "unsynced"]
    garage.garage("volume", "snapshot", "delete", "data", "before", "--yes")
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) > 1:
        assert time.monotonic() < deadline, garage.logs()
        time.sleep(0.3)


def test_a_guest_that_panics_and_a_qemu_that_is_killed_are_told_and_start_again(garage: GarageInside) -> None:
    crash = "sudo sh -c '(sleep 0.5; echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 &'"
    garage.ssh("one", crash)
    broken = garage.wait_state("one", "failed", seconds=60)
    assert broken["error"]["code"] == "boot_failed", broken
    assert "</TASK>" in broken["console_tail"], "the kernel's last words"
    garage.garage("machine", "start", "one")
    assert garage.wait_state("one", "ready", "failed")["state"] == "ready"
    garage.run(["sh", "-c", "kill -9 $(cat /run/libvirt/qemu/garage-tmx-*.pid)"])
    assert "crashed" in garage.wait_state("one", "failed", seconds=60)["error"]["detail"]
    garage.garage("machine", "start", "one")
    assert garage.wait_state("one", "ready", "failed")["state"] == "ready"
    assert garage.ssh("one", "cat note").strip() == "kept"


MEMBER = """
import sys
from garage import config
from garage.app import make_context
from garage.services import api_tokens, accounts, keys, projects
from garage.services.context import Caller
ctx = make_context(config.load())
admin = api_tokens.by_token(ctx, (ctx.config.home / "admin.token").read_text().strip())
name, project, key = sys.argv[1:]
who = accounts.accept_invitation(ctx, accounts.create_user(ctx, admin, name)[1], f"password of {name}", "127.0.0.1")[0]
keys.add(ctx, who, "laptop", key)
projects.create(ctx, admin, project)
projects.set_member(ctx, admin, project, name, "member")
"""


def member(garage: GarageInside, name: str, project: str) -> Path:
    """Somebody with a key, in a new project of the admin's; their private key."""
    path = garage.home / "root" / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    public = path.with_suffix(".pub").read_text().strip()
    garage.run([sys.executable, "-c", MEMBER, name, project, public])
    return path


def gets_in(garage: GarageInside, key: Path) -> bool:
    """With that key alone, past the garage: it is the guest that decides. Another failure than a refusal is none."""
    ipv4 = garage.show("one")["ipv4"]
    options = ("BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
    argv = ["ssh", "-F", "none", "-i", str(key), *(word for option in options for word in ("-o", option))]
    said = garage.run(["sh", "-c", f"{' '.join(argv)} debian@{ipv4} echo welcome 2>&1"], check=False)
    assert "welcome" in said or "Permission denied" in said, said
    return "welcome" in said


def until_in(garage: GarageInside, key: Path, *, expected: bool) -> float:
    """Seconds from now until the guest answers `expected`; a login to an emulated guest takes some of them itself."""
    began = time.monotonic()
    while gets_in(garage, key) is not expected:
        assert time.monotonic() < began + 120, garage.logs()
    return time.monotonic() - began


def until_it_hears(garage: GarageInside, machine_id: str) -> None:
    """Its agent starts some seconds after its SSH."""
    ping = [
        "virsh", "-q", "-c", "qemu:///system", "qemu-agent-command", f"garage-tmx-{machine_id}", '{"execute":"guest-ping"}'
    ]  # fmt: skip
    deadline = time.monotonic() + 120
    while "return" not in garage.run(ping, check=False):
        assert time.monotonic() < deadline, garage.logs()
        time.sleep(0.3)


def test_rebuilt_it_is_the_same_machine_on_a_new_disk(garage: GarageInside) -> None:
    before = garage.show("one")
    path = json.loads(garage.garage("-o", "json", "volume", "show", "data"))["path"]
    until_it_hears(garage, before["id"])
    garage.ssh("one", f"sudo mount {path} /mnt; echo late | sudo tee /mnt/late")  # not synced: it is told to
    garage.garage("machine", "rebuild", "one", "--yes")
    after = garage.show("one")
    assert after["state"] == "ready", after
    said = garage.ssh("one", f"cat note 2>/dev/null || echo gone; sudo mount {path} /mnt; cat /mnt/thing /mnt/late")
    assert said.split() == ["gone", "kept", "late"], "the volume stays as it was"
    same = ("id", "name", "ipv4", "ipv6", "host_key", "size", "disk_gib", "lease_until", "created_at")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert after["rebuilt_at"]


def test_in_another_project_only_its_members_log_in_and_who_leaves_is_out(garage: GarageInside) -> None:
    bob, carol = member(garage, "bob", "arms"), member(garage, "carol", "legs")
    garage.ssh("one", "sudo umount /mnt")
    garage.garage("volume", "detach", "data")  # a volume stays in its project, and its machine with it
    garage.garage("machine", "transfer", "one", "legs")
    took = [until_in(garage, carol, expected=True)]
    assert not gets_in(garage, bob)
    garage.garage("machine", "transfer", "one", "arms")
    took += [until_in(garage, carol, expected=False), until_in(garage, bob, expected=True)]
    began = time.monotonic()
    assert "Machines from which keys were removed: 1" in garage.garage("user", "offboard", "bob", "--delete", "--yes")
    took += [time.monotonic() - began, until_in(garage, bob, expected=False)]
    assert garage.ssh("one", "echo still here").strip() == "still here", "the admin is a member of both"
    print("seconds until carol is in; is out, bob in; he is said to be out, is refused:", *(f"{t:.1f}" for t in took))


def test_deleted_it_leaves_nothing(garage: GarageInside) -> None:
    one = garage.show("one")
    garage.garage("machine", "delete", "one", "--yes")
    deadline = time.monotonic() + 60
    while garage.domains():
        assert time.monotonic() < deadline, garage.logs()
        time.sleep(0.3)
    while json.loads(garage.garage("-o", "json", "machine", "list"))["items"]:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert not (garage.home / "machines" / one["id"]).exists()
    assert json.loads(garage.garage("-o", "json", "volume", "show", "data"))["state"] == "available"
    garage.garage("volume", "delete", "data", "--yes")
    while list((garage.home / "volumes").glob("*")):
        assert time.monotonic() < deadline, garage.logs()
        time.sleep(0.3)
    rules = garage.lab.exec(garage.lab.node, "nft list table bridge garage_tmx")
    assert one["ipv4"] not in rules
