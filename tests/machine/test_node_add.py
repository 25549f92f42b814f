"""`garage node add` for real: a server as new as `tests/servers.py` makes them, by root's password, from the command line; and back.

one  controller, web, worker, netd, libvirt ──┐
                                              ├── lan
two  nothing but sshd ────────────────────────┘
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from garage.shell.images import Manifest
from tests.machine.garage_inside import BIN
from tests.machine.servers_garage import ServersGarage
from tests.servers import Servers

pytestmark = pytest.mark.machine

SETTINGS: dict[str, Any] = {
    "instance": "tsv",
    "site_ipv4": "10.77.0.0/20",
    "site_ipv6": "fd77:7:7::/48",
    "pool_ram_share": 0,
}


TALK = """
import os, socket, sys, time
line = socket.create_connection((sys.argv[1], 22), 10)
print(line.recv(8).decode(), flush=True)
while not os.path.exists("go"):
    time.sleep(0.2)
line.settimeout(20)
line.sendall(b"SSH-2.0-test\\r\\n")
said = b""
while b"curve25519" not in said:
    said += line.recv(4096)
print("alive", flush=True)
"""
"""An SSH connection that is opened before a move and spoken on after it (sshd waits 120 s for a login)."""


@pytest.fixture(scope="module")
def lab(image_store: tuple[Path, Manifest]) -> Iterator[Servers]:
    """The image lies on both: how it comes to a node is another test's."""
    with Servers("one", "two", store=image_store[0]) as made:
        yield made


@pytest.fixture(scope="module")
def garage(lab: Servers) -> Iterator[ServersGarage]:
    made = ServersGarage(lab, "one", SETTINGS)
    yield made
    made.close()


def add(garage: ServersGarage, *words: str, secret: str = "") -> tuple[int, str]:
    """(exit code, what was said) of `garage node add` of server two."""
    argv = [str(BIN / "garage"), "node", "add", f"root@{garage.lab['two'].address}", *words]
    script = f'{" ".join(argv)} 2>&1; echo "exit $?"'
    said = garage.run(["bash", "-c", script], input=secret, check=False)
    text, _, code = said.strip().rpartition("exit ")
    return int(code), text


def test_nothing_happens_without_the_right_host_key_or_password(garage: ServersGarage) -> None:
    two = garage.lab["two"]
    code, said = add(garage, "--host-key", "SHA256:" + "A" * 43)
    assert (code, "does not show that host key" in said) == (5, True), said
    code, said = add(garage)
    assert (code, "nobody has compared" in said) == (5, True), said
    code, said = add(garage, "--yes", "--password-stdin", secret="wrong\n")
    assert (code, "does not let root in" in said) == (37, True), said
    assert two.run("ls -A /root /var/lib/garage") == "/root:\n\n/var/lib/garage:\nimages\n"
    assert json.loads(garage.garage("-o", "json", "node", "list"))["items"][0]["name"] == "node1"


def test_a_fault_is_named_before_anything_is_changed(garage: ServersGarage) -> None:
    two = garage.lab["two"]
    two.run("mv /dev/net/tun /dev/tun-away")
    code, said = add(garage, "--yes", "--password-stdin", "--own-name", "lab", secret=f"{two.password}\n")
    two.run("mv /dev/tun-away /dev/net/tun")
    assert (code, "/dev/net/tun is missing" in said, "modprobe tun" in said) == (17, True, True), said
    assert two.run("ls -A /var/lib/garage; ls /etc/pki") == "images\n"


def test_a_server_becomes_a_node(garage: ServersGarage) -> None:
    """By the key now, which the password has put there; with one interruption of the worker in the middle."""
    two = garage.lab["two"]
    code, said = add(garage, "--yes", "--no-wait")
    assert code == 0, said
    _until(lambda: _task(garage)["step"] == "certificate", garage)
    garage.stop("worker", 9)
    garage.start("worker")
    _until(lambda: _task(garage)["state"] not in ("waiting", "running"), garage, 120)
    assert _task(garage)["state"] == "done", f"{_task(garage)}\n{garage.logs()}"
    nodes = {node["name"]: node for node in json.loads(garage.garage("-o", "json", "node", "list"))["items"]}
    assert nodes["node2"]["netd_error"] == ""
    assert nodes["node2"]["applied_version"] > 0
    assert "gbtsv" in two.run("ip -brief link")
    secrets = garage.run(["grep", "-rlaF", "--exclude-dir=images", two.password, "/var/lib/garage"], check=False)
    assert secrets == "", "the password is nowhere"


def test_libvirt_there_lets_in_the_controller_alone(garage: ServersGarage) -> None:
    one, two = garage.server, garage.lab["two"]
    uri = f"qemu+tls://{two.address}/system?pkipath="
    said = one.run(["virsh", "-q", "-c", f"{uri}/var/lib/garage/keys/pki", "hostname"])
    assert said.strip() == "two"
    two.run(
        "mkdir /tmp/pki; cp /etc/pki/CA/cacert.pem /tmp/pki; cp /etc/pki/qemu/client-cert.pem /tmp/pki/clientcert.pem"
    )
    two.run("cp /etc/pki/qemu/client-key.pem /tmp/pki/clientkey.pem")
    refused = two.run(f"virsh -q -c '{uri}/tmp/pki' hostname 2>&1", check=False)
    assert "two" not in refused.splitlines(), "QEMU's certificate opens no libvirt"


def test_the_nodes_are_one_site(garage: ServersGarage) -> None:
    def linked() -> bool:
        sites = json.loads(garage.garage("-o", "json", "site", "list", check=False) or '{"items": []}')["items"]
        return bool(sites) and [node["links_up"] for node in sites[0]["nodes"]] == [1, 1]

    _until(linked, garage, 60)


def test_a_machine_on_it_is_reached_as_any_other(garage: ServersGarage) -> None:
    """From the controller by `garage ssh`, from a machine on the first node and the other way round: over the link between the nodes."""
    for node, place in (("node1", "here"), ("node2", "there")):
        garage.garage("node", "label", node, f"place={place}")
        garage.garage("machine", "create", place, "--size", "tiny", "--label", f"place={place}", "--no-wait")
    for place in ("here", "there"):
        garage.wait_state(place, "ready", seconds=150)
    there = garage.show("there")
    assert there["node"] == "node2"
    assert "garage-tsv-" in garage.lab["two"].run(["virsh", "-q", "list", "--name"])
    assert garage.ssh("there", "hostname").strip() == "there"
    here = garage.show("here")
    for family in ("ipv4", "ipv6"):
        assert "2 received" in garage.ssh("here", f"ping -c 2 {there[family]}")
        assert "2 received" in garage.ssh("there", f"ping -c 2 {here[family]}")
    for asks, other in (("here", there), ("there", here)):
        assert garage.ssh(asks, f"getent ahostsv4 {other['fqdn']}").split()[0] == other["ipv4"], (
            "by name from another node"
        )
    assert "in_use" in garage.run(["bash", "-c", f"{BIN}/garage -o json node remove node2 --yes 2>&1"], check=False)


def test_cut_off_that_is_told_and_afterwards_nothing_has_been_started_twice(garage: ServersGarage) -> None:
    two, boot = garage.lab["two"], garage.ssh("there", "cat /proc/sys/kernel/random/boot_id")
    two.cut()
    garage.wait_state("there", "unreachable", seconds=90)
    assert garage.show("here")["state"] == "ready"
    two.cut(on=False)
    garage.wait_state("there", "ready", seconds=90)
    _until(lambda: garage.ssh("there", "cat /proc/sys/kernel/random/boot_id", check=False) == boot, garage)
    lists = [server.run(["virsh", "-q", "list", "--all", "--name"]).split() for server in garage.lab.servers.values()]
    assert [len(found) for found in lists] == [1, 1]
    assert not set(lists[0]) & set(lists[1])


def test_emptied_while_somebody_is_connected_the_machine_is_who_it_was(garage: ServersGarage) -> None:
    """From node2 to the controller's own server, by libvirt's and QEMU's certificates; the route follows, and the TCP connection lives."""
    before, boot = garage.show("there"), garage.ssh("there", "cat /proc/sys/kernel/random/boot_id")
    garage.ssh("here", f"cat >talk.py; nohup python3 talk.py {before['ipv4']} >talk 2>&1 </dev/null &", input=TALK)
    _until(lambda: "SSH-2.0" in garage.ssh("here", "cat talk"), garage)
    garage.garage("node", "label", "node1", "place=there")
    said = garage.garage("node", "drain", "node2", "--yes")
    after = garage.show("there")
    assert (after["node"], after["state"]) == ("node1", "ready"), f"{said}\n{garage.logs()}"
    for kept in ("ipv4", "ipv6", "fqdn", "host_key"):
        assert after[kept] == before[kept], kept
    garage.ssh("here", "touch go")
    _until(lambda: "alive" in garage.ssh("here", "cat talk"), garage, 30)
    assert garage.ssh("there", "cat /proc/sys/kernel/random/boot_id") == boot, "it has not been started again"
    assert "2 received" in garage.ssh("here", f"ping -c 2 {after['fqdn']}")
    assert "garage-tsv-" not in garage.lab["two"].run(["virsh", "-q", "list", "--all", "--name"])
    assert json.loads(garage.garage("-o", "json", "node", "show", "node2"))["state"] == "maintenance"
    garage.garage("machine", "delete", "there", "--yes")
    _until(lambda: "there" not in garage.garage("machine", "list"), garage)


def test_removed_it_has_no_way_back(garage: ServersGarage) -> None:
    two = garage.lab["two"]
    garage.garage("node", "remove", "node2", "--yes")
    assert _task(garage)["said"] == ""
    assert [node["name"] for node in json.loads(garage.garage("-o", "json", "node", "list"))["items"]] == ["node1"]
    assert "garage-controller" not in two.run("cat /root/.ssh/authorized_keys")
    assert "gbtsv" not in two.run("ip -brief link")
    uri = f"qemu+tls://{two.address}/system?pkipath=/var/lib/garage/keys/pki"
    assert "two" not in garage.server.run(f"virsh -q -c '{uri}' hostname 2>&1", check=False).splitlines()


def _task(garage: ServersGarage) -> dict[str, object]:
    found: dict[str, object] = json.loads(garage.garage("-o", "json", "node", "show", "node2", check=False) or "{}")
    task = found.get("task", found)
    assert isinstance(task, dict)
    return {"step": "", "state": ""} | task


def _until(true: Callable[[], bool], garage: ServersGarage, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{_task(garage)}\n{garage.logs()}"
        time.sleep(0.2)
