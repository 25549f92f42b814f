"""Sites for the network's benchmarks: namespaces with real WireGuard, FRR and nftables, and a registry at the first of them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from netd.lab import machines
from netd.lab.layout import Member, machine, members
from netd.lab.overlay import LabOverlay
from netd.lab.parse import parse
from netd.lab.sites import NETD, Network, SiteNode
from netd.lab.world import World

NAMES = ("tsukuba", "nagoya", "osaka", "kyoto", "sendai", "naha")
"""The first one keeps the registry."""
OWN_GATEWAY = "10.30.0.1"
"""Of the registry's site, to which only BGP shows the way."""
JOIN_LIMIT, BRIDGE_LIMIT = 60.0, 30.0


@dataclass(frozen=True)
class Sites:
    """An overlay that nobody has joined yet; netd runs at each of `others`."""

    overlay: LabOverlay
    own: SiteNode
    others: dict[str, tuple[Member, SiteNode]]

    def join_all(self) -> list[float]:
        return [join(self.overlay, member) for member, _site in self.others.values()]

    def add_machines(self) -> dict[str, str]:
        """A pretend machine at each site; its namespace by the site's node."""
        return {
            site.name: self._machine(site) for site in (self.own, *(site for _member, site in self.others.values()))
        }

    def _machine(self, site: SiteNode) -> str:
        world, network = self.overlay.world, site.network
        bridge = network.spec(site.name).bridge
        shown = ["ip", "-br", "link", "show", "dev", bridge.name]
        self.overlay.wait(lambda: self.overlay.run(site.name, shown, check=False), bridge.name, BRIDGE_LIMIT)
        return machines.add(world, site.name, bridge, network.machines[0])


@contextmanager
def sites(lines: dict[str, str], settings: Mapping[str, str] | None = None) -> Iterator[Sites]:
    """`lines`: the site's name → what its line is like in the topology's words, e.g. "delay: 4ms"; the first keeps the registry.
    `settings`: what a site's netd.toml ends with."""
    topology = "".join(f"  {name}: {{lines: {{{name}-line: {{{line}}}}}}}\n" for name, line in lines.items())
    with World(parse(f"name: bench\nsites:\n{topology}")) as world:
        own, *others = members(world.topology)
        overlay = LabOverlay(world, own.node)
        vm = machine(overlay.own, own.place)
        network = Network(overlay.own, *own.prefixes, own.site, (vm,))
        overlay.start_registry(network, node=own.node)
        made = {m.node: (m, overlay.site(m, (machine(overlay.instance(m.number), m.place),))) for m in others}
        for _member, site in made.values():
            _start(overlay, site, (settings or {}).get(site.name, ""))
        try:
            yield Sites(overlay, overlay.site_of(own.node, network), made)
        finally:
            overlay.close()


def _start(overlay: LabOverlay, site: SiteNode, settings: str) -> None:
    process = overlay.prepare_site(site)
    if settings:
        process.terminate()
        process.wait(JOIN_LIMIT)
        site.config.write_text(site.config.read_text() + settings)
        overlay.start_netd(site.name)


def plain(count: int) -> dict[str, str]:
    """Lines with a delay of a few milliseconds."""
    return {name: f"delay: {4 + n}ms" for n, name in enumerate(NAMES[:count])}


def join(overlay: LabOverlay, member: Member) -> float:
    """Seconds from typing `netd join` to the first answer of the registry's gateway."""
    token = overlay.invite(member.site, "--own-name", NAMES[0])
    began = time.monotonic()
    config = overlay.home(member.node) / "netd" / "netd.toml"
    process = subprocess.Popen(
        overlay.world.argv(member.node, [*NETD, "join", overlay.url, "--config", str(config)]),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=overlay.environment(member.node),
    )
    assert process.stdin is not None
    process.stdin.write(token.encode())
    process.stdin.close()
    overlay.wait(lambda: answers(overlay, member.node, OWN_GATEWAY), f"{member.node} reaches {OWN_GATEWAY}", JOIN_LIMIT)
    taken = time.monotonic() - began
    assert process.wait(JOIN_LIMIT) == 0
    return taken


def answers(overlay: LabOverlay, node: str, address: str) -> bool:
    argv = overlay.world.argv(node, ["ping", "-n", "-c", "1", "-W", "0.2", address])
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def inside(namespace: str, argv: list[str]) -> list[str]:
    return ["ip", "netns", "exec", namespace, *argv]
