"""An overlay for tests: netd/lab/overlay.py's, with sites that a test prepares and joins one by one and errors that carry all logs.

The registry is the controller's real web process with TLS; sites are netd in their namespaces with WireGuard, FRR, dnsmasq and nftables.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from netd.errors import NetdError
from netd.lab.overlay import BIN, LabOverlay
from netd.lab.sites import Network, SiteNode
from netd.lab.world import World
from tests.overlaypings import answered

__all__ = ["BIN", "ROOT", "OverlayNet"]

ROOT = Path(__file__).parent.parent


class OverlayNet:
    """Build with a running world; `prepare(site, …)`, `join(site, …)`, look, `close()`."""

    def __init__(self, world: World, *, registry: str) -> None:
        self.world, self.registry = world, registry
        self.lab = LabOverlay(world, registry)
        self.folder, self.url, self.own = self.lab.folder, self.lab.url, self.lab.own
        self.sites: dict[str, SiteNode] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        """netd by node; a test that ends one puts its successor here."""
        try:
            started = self.lab.start_registry()
        except NetdError as error:
            said = self.logs()
            self.close()
            raise AssertionError(f"{error}\n{said}") from None
        self.web, self.processes[registry] = started

    def instance(self, number: int) -> str:
        """Of node `number`, 0 for the registry's: drawn with the world, as several tests at a time share the server's files."""
        return self.lab.instance(number)

    def start(self, place: str, argv: Sequence[str], name: str) -> subprocess.Popen[bytes]:
        """A process at a node; its log is kept till `close`, it ends with the world at the latest."""
        return self.lab.start(place, argv, name)

    def run(
        self, place: str, argv: Sequence[str], *, check: bool = True, input: str | None = None, seconds: float = 60
    ) -> str:
        """What it prints; AssertionError when it fails."""
        try:
            return self.lab.run(place, argv, check=check, input=input, seconds=seconds)
        except NetdError as error:
            raise AssertionError(str(error)) from None

    def garage(self, *words: str, check: bool = True) -> str:
        """The `garage` command at the registry, as its admin."""
        return self.run(self.registry, [str(BIN / "garage"), *words], check=check)

    def invite(self, name: str, *words: str) -> str:
        """The token of a new invitation."""
        return self.lab.invite(name, *words)

    def prepare(self, node: str, number: int, *, of: int | None = None, **more: Any) -> SiteNode:
        """netd at a node, with a network of its own or that of site number `of`; it runs and has joined nothing yet."""
        place = 40 + (of or number)
        network = Network(self.instance(number), f"10.{place}.0.0/20", f"fd{place}::/48", **more)
        site = self.sites[node] = self.lab.site_of(node, network)
        self.processes[node] = self.lab.prepare_site(site)
        return site

    def join(self, node: str, token: str, *words: str) -> str:
        return self.sites[node].netd("join", self.url, *words, input=token)

    def ping(self, place: str, address: str, *, count: int = 1, seconds: float = 2.0) -> bool:
        """Whether all of so many echoes are answered."""
        return answered(lambda argv: self.world.argv(place, argv), address, count, seconds) == count

    def until(self, true: Callable[[], Any], what: str, seconds: float = 30.0) -> float:
        """Seconds until `true()`; AssertionError with all logs when it takes longer."""
        try:
            return self.lab.wait(true, what, seconds)
        except NetdError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def logs(self) -> str:
        paths = sorted(self.folder.glob("*/*.log"))
        return "\n".join(f"== {path}\n{path.read_text(errors='replace')[-2500:]}" for path in paths)

    def close(self) -> None:
        """All processes and files of the overlay; the world stays. World.close() does the same."""
        self.lab.close()
