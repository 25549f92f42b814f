"""The node's tables are brought from any ruleset to any other without being replaced, and are then what a new node's are.

A network namespace of its own, in which nothing is but nftables; the same ruleset made anew is looked at in a second one.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from netd.core import nft_text
from netd.core.desired import Desired
from netd.core.floor import Allowed, make_floor
from netd.core.overlay import Bound, Overlay, Peer
from netd.core.plan import Observed, plan, settled
from netd.shell import nft
from netd.wire import MachineNet
from tests.kernel.conftest import BRIDGE, machine, spec

pytestmark = pytest.mark.kernel
STEPS = 60
NOWHERE = Path("/nowhere")
OFFICES = (
    *(f"20.0.{n}.0/24" for n in range(6)),
    "20.0.0.0/16",
    "20.0.2.128/25",
    "20.0.3.7/32",
    "11.0.0.0/8",
    "2a00:1::/64",
)
SITES = tuple((f"10.{n}.0.0/20", f"fd{n}::/48") for n in (32, 48, 64, 80))


def test_from_any_ruleset_to_any_other() -> None:
    argv = ["unshare", "--net", sys.executable, "-m", "tests.kernel.test_refill"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"{STEPS} steps"


def walk() -> None:
    chance = random.Random(31)
    seen, refilled = Observed(), 0
    for _ in range(STEPS):
        wanted = anything(chance)
        for change in (change for change in plan(wanted, seen, NOWHERE) if change.kind == "nft"):
            refilled += change.text.startswith("flush table bridge")
            nft.apply(change.text)
        found = nft.observe(wanted.table)
        assert found == (nft_text.skeleton_id(wanted), nft_text.chains(wanted), nft_text.elements(wanted))
        assert listed() == anew(wanted)
        seen = settled(wanted, seen, NOWHERE)
        if chance.random() < 0.2:  # as after a start of netd
            seen = Observed(skeleton=found.skeleton, chains=found.chains, elements=found.elements)
    assert refilled > STEPS / 2
    print(f"{STEPS} steps")


def anything(chance: random.Random) -> Desired:
    def some(of: Any, most: int = 9) -> list[Any]:
        return chance.sample(list(of), chance.randint(0, min(len(of), most)))

    floor = make_floor(some(OFFICES), [Allowed(f"20.0.0.{n}", "tcp", 80 + n) for n in some(range(4))])
    peers = tuple(
        Peer(
            f"gltst{n}",
            f"100.64.0.{2 * n}",
            f"fd99::{2 * n}",
            here4=f"100.64.0.{2 * n + 1}",
            here6=f"fd99::{2 * n + 1}",
        )
        for n in sorted(some(range(1, 6)))
    )
    bound = tuple(Bound(n, (f"gltst{n}",), SITES[n - 1]) for n in sorted(some(range(1, 5))))
    networks = tuple(sorted(net for pair in some(SITES) for net in pair))
    overlay = Overlay(peers=peers, bound=bound, networks=networks, paused=chance.random() < 0.1)
    machines = [limited(machine(n, f"m{n}"), chance) for n in some(range(1, 9))]
    bridge = msgspec.structs.replace(BRIDGE, ipv4=chance.choice(("10.31.0.1", "10.31.0.2")))
    return Desired(spec(1, *machines, bridge=bridge), floor, overlay, tracked=65_536)


def limited(one: MachineNet, chance: random.Random) -> MachineNet:
    return msgspec.structs.replace(one, net_mbit=chance.choice((0, 10, 100)), connections=chance.choice((0, 40)))


def listed() -> list[str]:
    """Everything that nft lists, in an order that says nothing."""
    return _rows(["nft", "-j", "list", "ruleset"])


def anew(wanted: Desired) -> list[str]:
    """The same of a new node."""
    script = f"nft -f - <<'TEXT'\n{nft_text.skeleton(wanted)}TEXT\nexec nft -j list ruleset"
    return _rows(["unshare", "--net", "sh", "-c", script])


def _rows(argv: list[str]) -> list[str]:
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    rows = [row for row in json.loads(said)["nftables"] if "metainfo" not in row]
    return sorted(json.dumps(_plain(row), sort_keys=True) for row in rows)


def _plain(row: Any) -> Any:
    """Without handles; elements of a set in one order."""
    if isinstance(row, dict):
        found = {key: _plain(value) for key, value in row.items() if key != "handle"}
        return found | ({"elem": sorted(found["elem"], key=json.dumps)} if isinstance(found.get("elem"), list) else {})
    return [_plain(item) for item in row] if isinstance(row, list) else row


if __name__ == "__main__":
    walk()
