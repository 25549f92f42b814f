"""An overlay in a laboratory's world: a registry's own garage at one node, netd at every other, all real.

The registry is the controller's real web process with TLS; sites are netd in their namespaces with WireGuard, FRR, dnsmasq and nftables.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from netd.core.overlay import DIGITS
from netd.lab.sites import Network, SiteNode
from netd.lab.world import World

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PORT = 8443
LEFT = ("etc/frr/garage_{}?", "run/frr/garage_{}?", "run/wireguard/gl{}?*.sock")


class OverlayNet:
    """Build with a running world; `join(site)`, look, `close()`."""

    def __init__(self, world: World, *, registry: str) -> None:
        self.world, self.registry = world, registry
        self.folder = Path(tempfile.mkdtemp(prefix="garage-overlay-"))
        self.folder.chmod(0o755)
        place = world.nodes[registry]
        address = place.ipv4 or f"[{place.ipv6}]"
        self.url = f"https://{address}:{PORT}"
        self.own = self.instance(0)
        """The registry's instance id."""
        self.sites: dict[str, SiteNode] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        """netd by node; a test that ends one puts its successor here."""
        self._env = {
            **os.environ,
            "GARAGE_HOME": str(self.folder / "registry"),
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
        }
        try:
            self._start_registry(address)
        except BaseException:
            self.close()
            raise

    def instance(self, number: int) -> str:
        """Of node `number`, 0 for the registry's: several tests at a time share the server's files and sockets, so it carries the pid."""
        return _base36(os.getpid() % 36**2, 2) + _base36(number, 1)

    def _start_registry(self, address: str) -> None:
        home = self.folder / "registry"
        home.mkdir(mode=0o755)
        settings = {
            **{"instance": self.own, "listen": f"{address}:{PORT}", "hypervisor": "fake://"},
            **{"site_ipv4": "10.30.0.0/20", "site_ipv6": "fd30::/48"},
        }
        (home / "garage.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
        self.run(self.registry, [str(BIN / "garage-server"), "init"])
        self.web = self.start(self.registry, [str(BIN / "garage-server"), "web"], "web")
        self.start(
            self.registry,
            [sys.executable, "-m", "netd.cli", "run", "--config", str(home / "netd" / "netd.toml")],
            "registry-netd",
        )
        self.until(lambda: self.garage("status", check=False) != "", "the registry answers")

    def start(self, place: str, argv: Sequence[str], name: str) -> subprocess.Popen[bytes]:
        """A process at a node; ends with `close`, its log is kept till then."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                self.world.argv(place, argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env, cwd=ROOT
            )
        self._processes.append(process)
        return process

    def run(
        self, place: str, argv: Sequence[str], *, check: bool = True, input: str | None = None, seconds: float = 60
    ) -> str:
        done = subprocess.run(
            self.world.argv(place, argv),
            **{"capture_output": True, "text": True, "check": False, "env": self._env, "cwd": ROOT},  # type: ignore[arg-type]
            input=input,
            timeout=seconds,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{place}: {' '.join(argv)[:300]}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return str(done.stdout)

    def garage(self, *words: str, check: bool = True) -> str:
        """The `garage` command at the registry, as its admin."""
        return self.run(self.registry, [str(BIN / "garage"), *words], check=check)

    def invite(self, name: str, *words: str) -> str:
        """The token of a new invitation."""
        found: dict[str, Any] = json.loads(self.garage("-o", "json", "site", "invite", name, *words))
        return str(found["token"])

    def prepare(self, node: str, number: int, *, of: int | None = None, **more: Any) -> SiteNode:
        """netd at a node, with a network of its own or that of site number `of`; it runs and has joined nothing yet."""
        place = 40 + (of or number)
        network = Network(self.instance(number), f"10.{place}.0.0/20", f"fd{place}::/48", **more)
        folder = self.folder / node
        folder.mkdir(mode=0o755)
        site = SiteNode(node, network, folder, lambda argv: self.world.argv(node, argv))
        site.prepare()
        self.processes[node] = site.start()
        self.sites[node] = site
        return site

    def join(self, node: str, token: str, *words: str) -> str:
        return self.sites[node].netd("join", self.url, *words, input=token)

    def ping(self, place: str, address: str, *, count: int = 1, seconds: float = 1.0) -> bool:
        argv = ["ping", "-n", "-c", str(count), "-W", str(seconds), address]
        return subprocess.run(self.world.argv(place, argv), capture_output=True, check=False).returncode == 0

    def until(self, true: Callable[[], Any], what: str, seconds: float = 30.0) -> float:
        """Seconds until `true()`; AssertionError with all logs when it takes longer."""
        began = time.monotonic()
        while not true():
            if time.monotonic() - began > seconds:
                raise AssertionError(f"not within {seconds:.0f} s: {what}\n{self.logs()}")
            time.sleep(0.05)
        return time.monotonic() - began

    def logs(self) -> str:
        paths = [*self.folder.glob("*.log"), *self.folder.glob("*/netd.log")]
        return "\n".join(f"== {path}\n{path.read_text(errors='replace')[-2500:]}" for path in paths)

    def close(self) -> None:
        """Processes end with the world's namespaces; what is left of ours are files."""
        for process in (*self._processes, *self.processes.values()):
            process.kill()
            process.wait()
        for path in [found for pattern in LEFT for found in Path("/").glob(pattern.format(self.own[:2]))]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)


def _base36(number: int, length: int) -> str:
    return "".join(DIGITS[number // 36**place % 36] for place in reversed(range(length)))
