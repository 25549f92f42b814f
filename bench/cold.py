"""`machine.cold_to_ssh`: from a request to the first SSH banner, beside `virt-install --import --cloud-init` in the same run.

Both are measured in turn, so that a busy server harms both alike.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
import uuid

from bench.pooled import fixed
from bench.record import Figure, benchmark
from bench.running import running
from bench.virt_install import NAME, baseline, remove_domain
from bench.workplace import Workplace, workplace
from garage.client.api import Api
from garage.client.errors import ClientError

ROUNDS = int(os.environ.get("GARAGE_BENCH_ROUNDS", "3"))
PATIENCE = 600.0
SIZE = "small"
"""As many vCPUs and MiB as the baseline's."""


@benchmark("machine.cold_to_ssh")
def cold_to_ssh() -> Figure:
    """Median seconds of ours; the baseline's median beside it."""
    garage = running()
    api = garage.api()
    removers = {"domain": remove_domain, "machine": lambda name: remove_machine(api, name)}
    ours, theirs = [], []
    with workplace(garage.home, removers) as place:
        other = baseline(place, kvm=api.get("/nodes")["items"][0]["virtualisation"] == "kvm")
        with fixed(api, SIZE, 0):
            for _ in range(ROUNDS):
                theirs.append(other.seconds())
                ours.append(_our_machine(place, api))
                print(f"  ours {ours[-1]:.1f} s, virt-install {theirs[-1]:.1f} s", file=sys.stderr, flush=True)
    value, median = statistics.median(ours), statistics.median(theirs)
    note = f"ours {_list(ours)}; baseline {_list(theirs)}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    return Figure("machine.cold_to_ssh", value, "s", ROUNDS, note, NAME, median, median / value)


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def _our_machine(place: Workplace, api: Api) -> float:
    """A request to the API until the controller's own probe of port 22 saw a banner; the machine is deleted after that."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    with place.noted("machine", name, lambda name: remove_machine(api, name)):
        began = time.monotonic()
        made = api.post("/machines", {"name": name, "size": SIZE})
        if not made["cold_reason"]:
            raise RuntimeError(f"{name} came out of a pool")
        while (found := api.get(f"/machines/{made['id']}"))["state"] != "ready":
            if found["state"] == "failed" or time.monotonic() - began > PATIENCE:
                raise RuntimeError(f"{name}: {found['state']} {found['error']}")
            time.sleep(0.05)
        return time.monotonic() - began


def remove_machine(api: Api, name: str) -> None:
    """Returns when nothing is left of it; also where it was never made."""
    try:
        made = api.delete(f"/machines/{name}")
    except ClientError as error:
        if error.code != "not_found":
            raise
        return
    while api.get(f"/machines/{made['id']}")["state"] != "gone":
        time.sleep(0.2)
