"""A garage on two lab servers (tests/servers.py) with PostgreSQL, and ways to break its parts; its image is the cached one."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

from garage import config as configuration
from garage.app import make_context
from garage.core import names
from garage.core.consistency import NodeSeen, Trouble, troubles
from garage.core.hypervisor_types import Domain, Power, Reason
from garage.core.recipe import parse_recipe
from garage.services import checking
from garage.shell.images import build
from garage.shell.mirrors import server_mirror
from tests import postgres
from tests.machine.conftest import CACHE, IMAGES, alone
from tests.machine.garage_inside import BIN
from tests.machine.servers_garage import ServersGarage
from tests.servers import Servers

SIZE = "tiny"
INSTANCE = "tbi"
SETTINGS: dict[str, Any] = {
    "instance": INSTANCE,
    "site_ipv4": "10.77.0.0/20",
    "site_ipv6": "fd77:7:7::/48",
    "pool_ram_share": 0,
}
NODES = {"one": "node1", "two": "node2"}
RESTARTED_AFTER = 1.0
"""Seconds, as a supervisor would."""


def image_store() -> Path:
    """Built where it is not there yet."""
    recipe = parse_recipe((IMAGES / "debian-12.toml").read_text())
    with alone(), tempfile.TemporaryDirectory(dir=CACHE) as work:
        mirror = server_mirror(os.environ)
        build(recipe, store=CACHE / "images", mirror=mirror, work=Path(work), progress=lambda *_: None)
    return CACHE / "images"


class GarageOnTwo(ServersGarage):
    """`with GarageOnTwo() as garage`; both servers are nodes then."""

    def __init__(self) -> None:
        self.cluster = postgres.start({"unix_socket_permissions": "0777"})
        url = self.cluster.create("garage")
        lab = Servers(*NODES, store=image_store(), shared=(self.cluster.folder,))
        super().__init__(lab, "one", SETTINGS, {"GARAGE_DATABASE_URL": url})
        self.ctx = make_context(configuration.load({"GARAGE_HOME": str(self.home), "GARAGE_DATABASE_URL": url}))
        two = lab["two"]
        argv = [
            str(BIN / "garage"),
            "node",
            "add",
            f"root@{two.address}",
            "--yes",
            "--password-stdin",
            "--own-name",
            "lab",
        ]
        self.run(argv, input=f"{two.password}\n")

    def __enter__(self) -> GarageOnTwo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(self.logs(), flush=True)
        self.ctx.db.close()
        self.close()
        self.lab.close()
        self.cluster.stop()

    # how it is

    def items(self, *words: str) -> list[dict[str, Any]]:
        """Empty while nobody answers."""
        said = self.garage("-o", "json", *words, check=False)
        found: list[dict[str, Any]] = json.loads(said).get("items", []) if said else []
        return found

    def states(self) -> dict[str, str]:
        return {machine["name"]: machine["state"] for machine in self.items("machine", "list")}

    def names_on(self, node: str) -> list[str]:
        return [machine["name"] for machine in self.items("machine", "list") if machine["node"] == node]

    def node(self, name: str) -> dict[str, Any]:
        return next((node for node in self.items("node", "list") if node["name"] == name), {"state": ""})

    def is_well(self) -> bool:
        """All parts, and both nodes."""
        return "all well" in self.garage("status", check=False) and all(
            not (node["hypervisor_error"] or node["netd_error"] or node["silent_since"])
            for node in self.items("node", "list")
        )

    def at_rest(self) -> bool:
        rows = checking.rows(self.ctx)
        return all(row.at_rest and row.state.value not in ("unreachable", "failed", "stopped") for row in rows)

    def troubles(self) -> list[Trouble]:
        """Rows beside what libvirt and the disks of both say."""
        seen = {node: self._seen(server) for server, node in NODES.items()}
        return [*troubles(checking.rows(self.ctx), seen), *checking.over_quota(self.ctx)]

    def _seen(self, server: str) -> NodeSeen:
        place = self.lab[server]
        names_ = place.run("virsh -q list --all --name").split()
        domains = {name.removeprefix(names.domain(INSTANCE, "")): self._domain(server, name) for name in names_}
        disks = place.run("cd /var/lib/garage/machines 2>/dev/null && ls -d */disk.qcow2 2>/dev/null; true").split()
        return NodeSeen(domains, frozenset(path.split("/")[0] for path in disks))

    def _domain(self, server: str, name: str) -> Domain:
        said = self.lab[server].run(["virsh", "-q", "domstate", name]).strip()
        return Domain({"running": Power.RUNNING, "paused": Power.PAUSED}.get(said, Power.OFF), Reason.OTHER)

    # what breaks

    def kill_netd(self, server: str) -> None:
        if server == "one":
            self.stop("netd", signal.SIGKILL)
            time.sleep(RESTARTED_AFTER)
            self.start("netd")
        else:  # its supervisor is there
            self.lab[server].run("pkill -9 -f 'netd run'")

    def kill_libvirt(self, server: str) -> None:
        self.lab[server].run("kill -9 $(cat /run/libvirtd.pid)")
        time.sleep(RESTARTED_AFTER)
        self.lab[server].run(f"pgrep -x libvirtd >/dev/null || libvirtd -d{' --listen' if server == 'two' else ''}")

    def kill_database(self) -> None:
        self.cluster.process.kill()
        self.cluster.process.wait()
        time.sleep(RESTARTED_AFTER)
        folder = self.cluster.folder
        self.cluster.process = postgres.launch(
            folder, folder / "data", folder / "log", {"unix_socket_permissions": "0777"}
        )

    def kill_guest(self, chance: Random) -> str:
        """The name of the machine that it was."""
        machine = chance.choice([one for one in self.items("machine", "list") if one["name"].startswith("kept")])
        server = next(server for server, node in NODES.items() if node == machine["node"])
        pid = f"/run/libvirt/qemu/{names.domain(INSTANCE, machine['id'])}.pid"
        self.lab[server].run(f"kill -9 $(cat {pid})")
        return str(machine["name"])
