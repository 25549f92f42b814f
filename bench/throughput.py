"""`overlay.throughput`: between machines of two sites, beside a WireGuard tunnel of the same kind that was made by hand.

machine ── bridge, floor ── gl… (netd) ──┐                    ┌── gl… (netd) ── bridge, floor ── machine
                                         ├── line ── line ────┤
stand-in ── veth ───────── hm0 (by hand) ┘                    └── hm1 (by hand) ───────── veth ── stand-in
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.record import Figure, benchmark
from bench.sites import NAMES, Sites, inside, sites
from netd.lab.world import World
from netd.shell.run import run
from netd.shell.tunnels import has_module

ROUNDS, SECONDS, WARM_SECONDS = 7, 5, 2
KINDS = {False: "wireguard-go", True: "the kernel's WireGuard"}
"""By whether the kernel has it: netd takes the same."""
PORT, LINK_MTU = 51_999, 1420
"""The MTU is what netd gives a link over a line of 1500 bytes."""


@benchmark("overlay.throughput")
def throughput() -> Figure:
    """One TCP stream, in turn over ours and over the other; the ratio is the median of the pairs'."""
    with sites({NAMES[0]: "", NAMES[1]: ""}) as made:
        made.join_all()
        places = made.add_machines()
        ours = Way(places[NAMES[1]], places[NAMES[0]], made.own.network.machines[0].ipv4)
        with by_hand(made) as other:
            pairs = [_pair(ours, other, first=bool(n % 2)) for n in range(ROUNDS)]
    ratio = statistics.median(a / b for a, b in pairs)
    ours_mbit, other_mbit = (statistics.median(column) for column in zip(*pairs, strict=True))
    note = f"one TCP stream for {SECONDS} s each; ratios {', '.join(f'{a / b:.3f}' for a, b in pairs)}"
    name = f"the same two sites, {KINDS[has_module()]} by hand"
    return Figure("overlay.throughput", ours_mbit, "Mb/s", ROUNDS, note, name, other_mbit, ratio)


@dataclass(frozen=True)
class Way:
    """From a namespace to an address of another."""

    source: str
    target: str
    address: str

    def mbit(self) -> float:
        server = subprocess.Popen(inside(self.target, ["iperf3", "-s", "-1"]), stdout=subprocess.DEVNULL)
        try:
            time.sleep(0.3)
            words = ["iperf3", "-c", self.address, "-t", str(SECONDS), "-O", str(WARM_SECONDS), "-J"]
            said = json.loads(run(inside(self.source, words)))
        finally:
            server.terminate()
            server.wait()
        return float(said["end"]["sum_received"]["bits_per_second"]) / 1e6


def _pair(ours: Way, other: Way, *, first: bool) -> tuple[float, float]:
    """(ours, the other), in turn first, so that what drifts on the server favours neither."""
    if first:
        return ours.mbit(), other.mbit()
    second = other.mbit()
    return ours.mbit(), second


@contextmanager
def by_hand(made: Sites) -> Iterator[Way]:
    """Two stand-ins for machines, joined by what a person would type."""
    world = made.overlay.world
    keys = {node: run(["wg", "genkey"]).strip() for node in NAMES[:2]}
    public = {node: run(["wg", "pubkey"], input=key).strip() for node, key in keys.items()}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number, (node, peer) in enumerate((NAMES[:2], NAMES[1::-1])):
            processes += _tunnel(world, node, number, keys[node])
            endpoint = f"{world.nodes[peer].ipv4}:{PORT}"
            peered = [
                "wg",
                "set",
                _device(number),
                "peer",
                public[peer],
                "allowed-ips",
                "0.0.0.0/0",
                "endpoint",
                endpoint,
            ]
            world.exec(node, peered)
            _stand_in(world, node, number, f"10.250.0.{1 - number}")
        yield Way(_place(world, NAMES[1]), _place(world, NAMES[0]), "10.251.0.2")
    finally:
        for process in processes:
            process.terminate()
            process.wait()
        for node in NAMES[:2]:
            run(["ip", "netns", "del", _place(world, node)], check=False)


def _device(number: int) -> str:
    """The names of wireguard-go's sockets are the server's, whatever the namespace: this process's own."""
    return f"hm{number}x{os.getpid() % 10_000_000}"


def _tunnel(world: World, node: str, number: int, key: str) -> list[subprocess.Popen[bytes]]:
    """The process that carries it, if one does; in a session of its own, as a service's is: a kernel that shares the cores among sessions
    would give it another part than ours."""
    device, address = _device(number), f"10.250.0.{number}/31"
    words = inside(world.namespace(node), ["wireguard-go", "-f", device])
    processes = []
    if has_module():
        world.exec(node, ["ip", "link", "add", device, "type", "wireguard"])
    else:
        silent = subprocess.DEVNULL
        processes = [subprocess.Popen(words, stdout=silent, stderr=silent, start_new_session=True)]
    deadline = time.monotonic() + 20
    while device not in world.exec(node, ["wg", "show", "interfaces"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    world.exec(node, ["wg", "set", device, "listen-port", str(PORT), "private-key", "/dev/stdin"], input=key)
    world.exec(node, ["ip", "address", "add", address, "dev", device])
    world.exec(node, ["ip", "link", "set", device, "mtu", str(LINK_MTU), "up"])
    return processes


def _stand_in(world: World, node: str, number: int, peer: str) -> None:
    place, near, far = _place(world, node), f"10.251.{number}", f"10.251.{1 - number}.0/24"
    run(["ip", "netns", "add", place])
    outside = (
        f"link add hv0 type veth peer name eth0 netns {place}",
        f"addr add {near}.1/24 dev hv0",
        "link set hv0 up",
    )
    run(
        ["ip", "-n", world.namespace(node), "-batch", "-"], input="\n".join((*outside, f"route add {far} via {peer}\n"))
    )
    inside = (
        f"addr add {near}.2/24 dev eth0",
        "link set lo up",
        "link set eth0 up",
        f"route add default via {near}.1\n",
    )
    run(["ip", "-n", place, "-batch", "-"], input="\n".join(inside))


def _place(world: World, node: str) -> str:
    return world.namespace(f"{node}.hand")
