"""`overlay.join`, `overlay.failover_*`, `memory.netd`: whole sites in network namespaces."""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from bench.memory import pss_mb
from bench.record import Figure, benchmark
from bench.sites import NAMES, answers, plain, sites
from netd.core.bgp_text import HOLD, KEEPALIVE
from netd.lab.observe import roles
from netd.lab.overlay import LabOverlay

HEAL_LIMIT = 360.0
"""Seconds: a link that was down is not liked best again before five minutes of probes say so (netd/core/preference.py)."""
ROUNDS, TIMER_ROUNDS = 5, 3
CUT = ("nagoya", "osaka")
"""Between whom."""
REPLY = re.compile(r"^\[([0-9.]+)\] \d+ bytes from", re.MULTILINE)
EVERY = 0.02
SETTLE_SECONDS = 15.0


@benchmark("overlay.join")
def joins() -> Figure:
    """One site after the other; netd runs at each before."""
    with sites(plain(len(NAMES))) as made:
        taken = made.join_all()
    note = f"until the registry's gateway answers, by BGP: {', '.join(f'{seconds:.2f}' for seconds in taken)} s"
    return Figure("overlay.join", statistics.median(taken), "s", len(taken), note)


@benchmark("memory.netd")
def memory() -> Figure:
    """The largest netd of five sites in a full mesh."""
    with sites(plain(5)) as made:
        made.join_all()
        time.sleep(SETTLE_SECONDS)
        world = made.overlay.world
        found = {
            node: pss_mb(pid) for node in (NAMES[0], *made.others) for pid, role in roles(world, node) if role == "netd"
        }
    note = "PSS of netd itself after a join: " + ", ".join(f"{node} {value:.0f}" for node, value in found.items())
    return Figure("memory.netd", max(found.values()), "MB", len(found), note)


@benchmark("overlay.failover_fast")
def fast() -> Figure:
    return _failover("overlay.failover_fast", 300)


@benchmark("overlay.failover_default")
def default() -> Figure:
    return _failover("overlay.failover_default", 1000)


def _failover(name: str, bfd_ms: int) -> Figure:
    """How long echoes between two sites fail after their link is cut without a word, until they go by a third; and the same without BFD."""
    with sites(plain(3)) as made:
        made.join_all()
        made.overlay.garage("site", "configure", "--bfd", str(bfd_ms))
        time.sleep(SETTLE_SECONDS)
        far = made.others[CUT[1]][0].gateways[0]
        gaps = [_outage(made.overlay, *CUT, far) for _ in range(ROUNDS)]
        with _without_bfd(made.overlay, CUT):
            timed = [_outage(made.overlay, *CUT, far) for _ in range(TIMER_ROUNDS)]
    note = f"BFD {bfd_ms} ms x 3; no answer for {_listed(gaps)} s; without BFD {_listed(timed)} s"
    ours, theirs = statistics.median(gaps), statistics.median(timed)
    baseline = f"the same cut, BGP's timers alone (keepalive {KEEPALIVE} s, hold {HOLD} s)"
    return Figure(name, ours, "s", len(gaps), note, baseline, theirs, theirs / ours)


def _listed(seconds: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in seconds)


@contextmanager
def _without_bfd(overlay: LabOverlay, nodes: Sequence[str]) -> Iterator[None]:
    """BGP is left to its timers: netd, which also measures and would bring BFD back, is held meanwhile."""
    held = [pid for node in nodes for pid, role in roles(overlay.world, node) if role == "netd"]
    assert len(held) == len(nodes)
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        for node in nodes:
            _forget_bfd(overlay, node)
        yield
    finally:
        for pid in held:
            os.kill(pid, signal.SIGCONT)


def _forget_bfd(overlay: LabOverlay, node: str) -> None:
    said = json.loads(overlay.run(node, ["vtysh", "-c", "show bgp summary json"]))
    asn = next(family["as"] for family in said.values())
    peers = [peer for family in said.values() for peer in family["peers"]]
    lines = [word for peer in peers for word in ("-c", f"no neighbor {peer} bfd")]
    overlay.run(node, ["vtysh", "-c", "configure terminal", "-c", f"router bgp {asn}", *lines])
    assert json.loads(overlay.run(node, ["vtysh", "-c", "show bfd peers json"])) == []


def _outage(overlay: LabOverlay, one: str, other: str, address: str) -> float:
    """The longest time without an answer around a cut of the way between two nodes; heals it and waits until it is in use again."""
    overlay.wait(lambda: _hops(overlay, one, address) == 1, "the direct link is in use", HEAL_LIMIT)
    argv = overlay.world.argv(one, ["ping", "-n", "-D", "-i", str(EVERY), address])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as pings:
        time.sleep(1)
        _cut(overlay, one, other)
        try:
            time.sleep(0.5)
            overlay.wait(lambda: answers(overlay, one, address), "traffic goes by a third site", HEAL_LIMIT)
            time.sleep(1)
        finally:
            overlay.world.exec("internet", ["nft", "delete", "table", "inet", "bench"])
            pings.terminate()
        assert pings.stdout is not None
        times = [float(at) for at in REPLY.findall(pings.stdout.read())]
    return max(b - a for a, b in pairwise(times)) - EVERY


def _cut(overlay: LabOverlay, one: str, other: str) -> None:
    """Nothing passes between two nodes any more, and nobody is told."""
    places = [overlay.world.nodes[node] for node in (one, other)]
    rules = [_drop("ip", [place.ipv4 for place in places]), _drop("ip6", [place.ipv6 for place in places])]
    text = "add table inet bench; add chain inet bench cut { type filter hook forward priority 0; }; " + "".join(rules)
    overlay.world.exec("internet", ["nft", text])


def _drop(family: str, addresses: Sequence[str | None]) -> str:
    a, b = addresses
    pairs = ((a, b), (b, a)) if a and b else ()
    return "".join(f"add rule inet bench cut {family} saddr {x} {family} daddr {y} drop; " for x, y in pairs)


def _hops(overlay: LabOverlay, node: str, address: str) -> int:
    """Sites on the way to `address`."""
    said = overlay.run(node, ["vtysh", "-c", f"show bgp ipv4 unicast {address} bestpath json"], check=False)
    found = re.search(r'"length":(\d+)', said)
    return int(found[1]) if found else 0
