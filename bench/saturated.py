"""`overlay.false_downs`: links that BFD took down although their line was only full and the server busy.

tsukuba (registry) ──────────┐
nagoya ──(50 Mb/s, full)─────┤ internet       all cores: a loop without end each
osaka ───────────────────────┘
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.record import Figure, benchmark
from bench.sites import Sites, inside, sites

RATE = 50
LINES = {"tsukuba": "delay: 4ms", "nagoya": f"delay: 6ms, rate: {RATE}Mb/s", "osaka": "delay: 8ms"}
SETTINGS = {"nagoya": f"[[line]]\nrate_mbit = {RATE}\n"}
BFD_MS, SECONDS, SETTLE_SECONDS = 300, 600, 20


@benchmark("overlay.false_downs")
def false_downs() -> Figure:
    """Ten minutes with BFD at 300 ms x 3; both ends of every link are counted."""
    with sites(LINES, SETTINGS) as made:
        made.join_all()
        places = made.add_machines()
        made.overlay.garage("site", "configure", "--bfd", str(BFD_MS))
        time.sleep(SETTLE_SECONDS)
        before = _downs(made)
        with _busy(), _sending(made, places) as streams:
            time.sleep(SECONDS)
        downs = _downs(made) - before
        sent = [_mbit(stream) for stream in streams]
    note = (
        f"{SECONDS} s, BFD {BFD_MS} ms x 3, a line of {RATE} Mb/s carrying {sum(sent):.0f} Mb/s of TCP, all cores busy"
    )
    return Figure("overlay.false_downs", downs, "count", SECONDS, note)


@contextmanager
def _busy() -> Iterator[None]:
    """A loop without end for each core; it ends with us, however that is."""
    argv = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", "while :; do :; done"]
    loops = [subprocess.Popen(argv) for _ in range(os.cpu_count() or 2)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@contextmanager
def _sending(made: Sites, places: dict[str, str]) -> Iterator[list[subprocess.Popen[str]]]:
    """From nagoya's machine to those of both others, two TCP streams each. Without a report per second (-i 0): nobody reads the pipe until
    the end, and ten minutes of them do not fit into it."""
    targets = {"tsukuba": made.own, "osaka": made.others["osaka"][1]}
    servers = [
        subprocess.Popen(inside(places[name], ["iperf3", "-s", "-1"]), stdout=subprocess.DEVNULL) for name in targets
    ]
    time.sleep(1)
    clients = [
        subprocess.Popen(
            inside(
                places["nagoya"],
                ["iperf3", "-J", "-i", "0", "-P", "2", "-t", str(SECONDS - 5), "-c", site.network.machines[0].ipv4],
            ),
            stdout=subprocess.PIPE,
            text=True,
        )
        for site in targets.values()
    ]
    try:
        yield clients
    finally:
        for server in servers:
            server.terminate()
        for client in clients:
            client.terminate()


def _mbit(stream: subprocess.Popen[str]) -> float:
    said = json.loads(stream.communicate(timeout=30)[0])
    return float(said["end"]["sum_received"]["bits_per_second"]) / 1e6


def _downs(made: Sites) -> int:
    """How often BFD has taken a session down, at all nodes."""
    command = ["vtysh", "-c", "show bfd peers counters json"]
    nodes = ("tsukuba", *made.others)
    return sum(row["session-down"] for node in nodes for row in json.loads(made.overlay.run(node, command)))
