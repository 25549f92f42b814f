"""Real FRR, apart from everything else: brought from any configuration to any other, and left alone when nothing has changed.

network and pid namespace of its own (nothing leads out): zebra, bgpd, bfdd in path space garage_tXXX; no peer answers
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from netd.core.bgp_diff import commands
from netd.core.bgp_text import bgp_config
from netd.core.wanted import Wanted
from netd.shell.routes import Frr, running
from tests.bgpwanted import OWN, wanted

pytestmark = pytest.mark.kernel

NAMES = ("kyoto", "nagoya", "naha", "osaka", "otaru", "sendai")
STEPS = 12


def test_frr_gets_from_any_configuration_to_any_other() -> None:
    """`follow` raises when FRR has not taken a line; what FRR prints afterwards is what was wanted, and nothing is left to do."""
    argv = [
        "unshare",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        sys.executable,
        "-m",
        "tests.kernel.test_bgp",
    ]
    done = subprocess.run([*argv, f"t{os.getpid():x}"[-6:]], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"{STEPS} steps"


def walk(instance: str) -> None:
    """In the namespace: from one configuration drawn by chance to the next."""
    chance = random.Random(20)
    with tempfile.TemporaryDirectory(prefix="garage-frr-") as folder:
        frr = Frr(Path(folder))
        try:
            for _ in range(STEPS):
                _step(frr, anything(instance, chance))
        finally:
            frr.stop(instance)
    print(f"{STEPS} steps")


def _step(frr: Frr, given: Wanted) -> None:
    frr.follow(given)
    text = bgp_config(given, os.uname().nodename)
    assert commands(running(f"garage_{given.instance}"), text) == []
    assert frr.plan(given) == frr.follow(given) == []


def anything(instance: str, chance: random.Random) -> Wanted:
    sites = chance.sample(NAMES, chance.randint(0, len(NAMES)))
    linked = {number: chance.choice([*sites, OWN]) for number in chance.sample(range(1, 12), chance.randint(0, 6))}
    classes = {number: chance.randint(0, 3) for number in linked if chance.random() < 0.7}
    draining = [number for number in linked if chance.random() < 0.2]
    sparing = [number for number in linked if chance.random() < 0.3]
    return wanted(instance, sites, linked, classes, draining, chance.choice((300, 1000)), sparing)


if __name__ == "__main__":
    walk(sys.argv[1])
