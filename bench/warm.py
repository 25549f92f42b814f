"""`machine.warm_to_ssh`: from a request to the first SSH banner out of a full pool, beside `virt-install --import --cloud-init`."""

from __future__ import annotations

import math
import os
import socket
import statistics
import sys
import time
import uuid

from bench.cold import SIZE, remove_machine
from bench.pooled import IMAGE, fixed, wait_for
from bench.record import Figure, benchmark
from bench.running import running
from bench.virt_install import NAME, baseline, remove_domain
from bench.workplace import Workplace, workplace
from garage.client.api import Api

TAKES = int(os.environ.get("GARAGE_BENCH_TAKES", "12"))
BASELINES = int(os.environ.get("GARAGE_BENCH_ROUNDS", "3"))
POOL = 2
"""What a quarter of the RAM of a server with 24 GiB has room for."""
LOOK = 0.05
PATIENCE = 60.0
CALM = 3.0
"""Seconds from the pool being full to the request: nobody asks in the same moment."""


@benchmark("machine.warm_to_ssh")
def warm_to_ssh() -> Figure:
    """p50 of ours; the baseline's median beside it, p95 in the note."""
    garage = running()
    api = garage.api()
    removers = {"domain": remove_domain, "machine": lambda name: remove_machine(api, name)}
    with workplace(garage.home, removers) as place:
        other = baseline(place, kvm=api.get("/nodes")["items"][0]["virtualisation"] == "kvm")
        theirs = [other.seconds() for _ in range(BASELINES)]
        with fixed(api, SIZE, POOL):
            ours = [_take(place, api) for _ in range(TAKES)]
    value, median = statistics.median(ours), statistics.median(theirs)
    p95 = sorted(ours)[math.ceil(0.95 * len(ours)) - 1]
    listed = ", ".join(f"{one:.2f}" for one in ours)
    note = f"p95 {p95:.2f} s; ours {listed}; baseline {', '.join(f'{one:.1f}' for one in theirs)}; load {os.getloadavg()[0]:.1f}"
    return Figure("machine.warm_to_ssh", value, "s", TAKES, note, NAME, median, median / value)


def _take(place: Workplace, api: Api) -> float:
    """A request to the API until the controller's own probe of port 22 saw a banner, as in `machine.cold_to_ssh`: whoever else knocks
    before that costs the guest a process of its sshd. The machine is deleted after that."""
    wait_for(api, IMAGE, SIZE, POOL)
    time.sleep(CALM)
    name = f"bench-{uuid.uuid4().hex[:8]}"
    with place.noted("machine", name, lambda name: remove_machine(api, name)):
        began = time.monotonic()
        made = api.post("/machines", {"name": name, "size": SIZE})
        if made["cold_reason"]:
            raise RuntimeError(f"{name} did not come out of the pool: {made['cold_reason']}")
        while (found := api.get(f"/machines/{made['id']}"))["state"] != "ready":
            if time.monotonic() - began > PATIENCE:
                raise RuntimeError(f"{name}: {found['state']} {found['error']}")
            time.sleep(LOOK)
        taken = time.monotonic() - began
        _check_banner(made["ipv4"])
        if found["cold_reason"]:
            raise RuntimeError(f"{name} had to boot after all: {found['cold_reason']}")
        print(f"  {taken:.2f} s, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
        return taken


def _check_banner(address: str) -> None:
    """`ready` is no mere word."""
    with socket.create_connection((address, 22), timeout=PATIENCE) as opened:
        said = opened.recv(16)
    if not said.startswith(b"SSH-2.0"):
        raise RuntimeError(f"{address} says {said!r}")
