"""An overlay in a laboratory's world: a registry's own garage at one node, netd at every other, all real.

The registry is the controller's web process with TLS, run as the program that stands beside this interpreter; a site is netd in
its namespace with WireGuard, FRR, dnsmasq and nftables. All files are in the lab's folder, `overlay/NODE/` per node; all processes
are in the lab's namespaces and end with them. Nothing is remembered besides, so any process can go on with an overlay that is up.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from netd.errors import NetdError
from netd.lab import instances, processes, reach
from netd.lab.layout import OWN_PREFIXES, Member
from netd.lab.sites import NETD, Network, SiteNode, peers_line
from netd.lab.world import World
from netd.wire import MachineNet, seal

BIN = Path(sys.executable).parent
PORT = 8443
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NEVER_RENEWED = 1 << 31
"""Version of the registry's own NodeSpec when the laboratory speaks in its controller's place: above all that it will count to,
and above what it overtakes after a restore."""
START_SECONDS = 60.0
Process = subprocess.Popen[bytes]


class LabOverlay:
    """`with World(…) as world: overlay = LabOverlay(world, node)`, then `start_registry`, and `prepare_site` of each other node."""

    def __init__(self, world: World, registry: str) -> None:
        """`registry`: the node that it runs at."""
        self.world, self.registry = world, registry
        self.folder = world.state.folder / "overlay"
        place = world.nodes[registry]
        self.address = place.ipv4 or f"[{place.ipv6}]"
        self.url = f"https://{self.address}:{PORT}"
        self.own = self.instance(0)
        """The registry's instance id."""

    def instance(self, number: int) -> str:
        """Of node `number`, 0 for the registry's."""
        return instances.instance(self.world.state.read()["instances"], number)

    def home(self, node: str) -> Path:
        """A node's GARAGE_HOME."""
        return self.folder / node

    def environment(self, node: str) -> dict[str, str]:
        """What a command at a node finds: its own settings, `garage`, `netd` and a `vtysh` that speaks to its own FRR."""
        own = {key: value for key, value in os.environ.items() if not key.startswith(("GARAGE_", "PYTHON"))}
        home = self.home(node)
        path = f"{home / 'bin'}:{BIN}:{SYSTEM_PATH}"
        return {**own, "GARAGE_HOME": str(home), "HOME": str(home), "PATH": path, "PYTHONUNBUFFERED": "1"}

    # the registry

    def start_registry(self, network: Network | None = None, *, node: str = "node1") -> tuple[Process, Process]:
        """Make the garage at the registry's node and start its web process and its netd, which are returned when it answers.

        `network`: the node's own, with machines, instead of the one that its controller would say; `node`: what netd is called there.
        """
        home = self._home(self.registry, self.own)
        settings = {
            **{"instance": self.own, "listen": f"{self.address}:{PORT}", "hypervisor": "fake://", "node": node},
            **{"site_ipv4": OWN_PREFIXES[0], "site_ipv6": OWN_PREFIXES[1]},
        }
        (home / "garage.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
        self.run(self.registry, [program("garage-server"), "init"])
        with (home / "netd" / "netd.toml").open("a") as file:
            file.write(peers_line(self.peers(self.registry)))
        if network is not None:
            key = load_pem_private_key((home / "keys" / "controller.key").read_bytes(), password=None)
            sealed = seal(network.spec(node, NEVER_RENEWED), key)  # type: ignore[arg-type]
            (home / "netd" / "last-good.json").write_bytes(sealed)
        started = self.start_web(), self.start_netd(self.registry)
        self.wait(self.answers, f"the registry's web process: see {home / 'web.log'}")
        return started

    def start_web(self) -> Process:
        return self.start(self.registry, [program("garage-server"), "web"], "web")

    def answers(self) -> bool:
        """Whether the registry listens."""
        return bool(self.run(self.registry, ["ss", "-Hltn", f"sport = :{PORT}"]).strip())

    def garage(self, *words: str, check: bool = True) -> str:
        """The `garage` command at the registry, as its admin."""
        return self.run(self.registry, [program("garage"), *words], check=check)

    def invite(self, name: str, *words: str) -> str:
        """The token of a new invitation."""
        found: dict[str, Any] = json.loads(self.garage("-o", "json", "site", "invite", name, *words))
        return str(found["token"])

    # the sites

    def site(self, member: Member, machines: tuple[MachineNet, ...] = ()) -> SiteNode:
        """A node's files and commands; nothing is done."""
        network = Network(self.instance(member.number), *member.prefixes, member.site, machines)
        return self.site_of(member.node, network)

    def site_of(self, node: str, network: Network) -> SiteNode:
        return SiteNode(
            node, network, self.home(node), lambda argv: self.world.argv(node, argv), peers=self.peers(node)
        )

    def peers(self, node: str) -> tuple[str, ...]:
        """The other nodes of its site."""
        site = next(site for site in self.world.topology.sites if node in site.nodes)
        return tuple(name for name in site.nodes if name != node)

    def prepare_site(self, site: SiteNode) -> Process:
        """Write its settings and start its netd, which has joined nothing yet."""
        self._home(site.name, site.network.instance)
        site.prepare()
        return self.start_netd(site.name)

    def start_netd(self, node: str) -> Process:
        config = self.home(node) / "netd" / "netd.toml"
        return self.start(node, [*NETD, "run", "--config", str(config)], "netd")

    def _home(self, node: str, instance: str) -> Path:
        home = self.home(node)
        (home / "bin").mkdir(parents=True, exist_ok=True, mode=0o755)
        vtysh = home / "bin" / "vtysh"
        vtysh.write_text(f'#!/bin/sh\nexec {shutil.which("vtysh") or "/usr/bin/vtysh"} -N garage_{instance} "$@"\n')
        vtysh.chmod(0o755)
        return home

    # doing something in it

    def start(self, node: str, argv: Sequence[str], name: str) -> Process:
        """A process at a node in a session of its own, its log `NAME.log` in the node's home; ends with the world."""
        with (self.home(node) / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                self.world.argv(node, argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self.environment(node),
                cwd="/",
            )

    def run(
        self, node: str, argv: Sequence[str], *, check: bool = True, input: str | None = None, seconds: float = 60
    ) -> str:
        """Standard output; NetdError("tool") when it fails."""
        try:
            done = subprocess.run(
                self.world.argv(node, argv),
                **{"capture_output": True, "text": True, "check": False, "cwd": "/"},  # type: ignore[call-overload]
                env=self.environment(node),
                input=input,
                timeout=seconds,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NetdError("tool", f"{node}: {error}") from None
        if check and done.returncode:
            said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}".strip()
            raise NetdError("tool", f"{node}: {' '.join(argv)[:300]}: {done.returncode}\n{said}")
        return str(done.stdout)

    def wait(self, true: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> float:
        """Seconds until `true()`; NetdError("tool") when it takes longer."""
        began = time.monotonic()
        while not true():
            if time.monotonic() - began > seconds:
                raise NetdError("tool", f"not within {seconds:.0f} s: {what}")
            time.sleep(0.05)
        return time.monotonic() - began

    def close(self) -> None:
        """All processes and files of the overlay; the world stays. What removes the world does this, too."""
        processes.end_inside([self.world.namespace(node) for node in self.world.nodes])
        instances.remove_files(self.own[:-1], "")
        shutil.rmtree(self.folder, ignore_errors=True)

    def unreached(self, gateways: dict[str, tuple[str, str]], *, seconds: float = 1.0) -> list[tuple[str, str]]:
        """(from node, address) of all that does not answer; `gateways`: what each node is asked for by every other."""
        return reach.unreached(self.world, gateways, seconds=seconds)


def program(name: str) -> str:
    """A program of the garage beside this interpreter; NetdError where only netd is installed."""
    if not (BIN / name).exists():
        raise NetdError(
            "config", f"there is no {name} in {BIN}", hint="a lab's registry is a garage: install it, or up --bare"
        )
    return str(BIN / name)
