"""A whole garage with pools in namespaces of its own, and what no two of its machines may have in common."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.machine.garage_inside import SETTINGS, Garage
from tests.netlab import NetLab

ALIKE = {
    "machine-id": "cat /etc/machine-id",
    "boot id": "cat /proc/sys/kernel/random/boot_id",
    "host key": "cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub",
    "random numbers": "head -c 24 /dev/urandom | base64",
    "addresses": "hostname -I",
    "MAC": "cat /sys/class/net/eth0/address",
    "DHCP client": "sed -n s/^CLIENTID=//p /run/systemd/netif/leases/*",
    "DHCPv6 client": "networkctl status eth0 --no-pager | sed -n 's/.*DHCP6 Client DUID: *//p'",
    "instance-id": "cat /var/lib/garage/instance",
    "cloud-init's instance-id": "sudo cat /var/lib/cloud/data/instance-id 2>/dev/null",
}
"""What is asked of each machine, a line each; the last is empty where cloud-init had nothing to do."""


class Pooled(Garage):
    """In the node of a NetLab of its own; its admin may have any number of machines, which share what processors there are."""

    def __init__(self, store: Path, *, share: float = 0.25) -> None:
        self.lab = NetLab()
        settings: dict[str, Any] = {**SETTINGS, "pool_ram_share": share, "vcpu_overcommit": 64.0}
        super().__init__(store, lambda argv: ["ip", "netns", "exec", self.lab.node, *argv], settings)
        quota = ("--machines", "100", "--vcpus", "100", "--memory-mib", "100000", "--disk-gib", "5000")
        self.garage("project", "quota", "admin", *quota)

    def close(self) -> None:
        super().close()
        self.lab.close()

    def pool(self, size: str = "tiny") -> dict[str, Any]:
        items = json.loads(self.garage("-o", "json", "admin", "pool", "list"))["items"]
        return next((item for item in items if item["size"] == size), {"waiting": 0, "starting": 0})

    def keep(self, size: str, count: int) -> None:
        self.garage("admin", "pool", "set", "debian-12", size, str(count))

    def fill(self, size: str, count: int, seconds: float) -> None:
        """Have `count` wait, and of the default kind none."""
        self.keep("small", 0)
        self.keep(size, count)
        deadline = time.monotonic() + seconds
        while self.pool(size)["waiting"] < count:
            assert time.monotonic() < deadline, self.logs()
            time.sleep(1)

    def address(self, domain: str) -> str:
        """Of a machine that is nobody's, so no command tells it: from the database's file."""
        with contextlib.closing(sqlite3.connect(f"file:{self.home}/db/garage.db?mode=ro", uri=True)) as database:
            query = "SELECT ipv4 FROM machine WHERE id = ?"
            return str(database.execute(query, (domain.rpartition("-")[2],)).fetchone()[0])

    def identity(self, name: str) -> dict[str, str]:
        """Key of ALIKE → what the machine says."""
        lines = self.ssh(name, "; ".join(f'echo "$({command})"' for command in ALIKE.values())).split("\n")
        return dict(zip(ALIKE, lines, strict=False))


def shared(identities: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What two machines have in common that should be theirs alone; "no …" where one has none."""
    found = []
    for key in ALIKE:
        said = [(name, word) for name, identity in identities.items() for word in identity.get(key, "").split()]
        owners: dict[str, str] = {}
        for name, word in said:
            if owners.setdefault(word, name) != name:
                found.append(f"{key} {word}: {owners[word]}, {name}")
        if key != "cloud-init's instance-id":
            found += [f"no {key}: {name}" for name in identities if name not in dict(said)]
    return found
