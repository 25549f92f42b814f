"""`make test-pools`: twenty machines that waited, ten of them asked for at once, and no two alike.

A garage in namespaces of its own boots them in advance (tiny, 10 GiB in all; emulated on two cores that is a quarter of an hour). Then ten
people ask in the same moment while the pool is allowed to refill, the other ten one after another, half of those with user-data. What
happens is said in lines, what came of it in a line of JSON; the exit code is 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from garage.core.recipe import parse_recipe
from garage.shell.images import build
from garage.shell.mirrors import server_mirror
from tests.leftovers import Run
from tests.machine.conftest import CACHE, IMAGES, alone
from tests.machine.pooled import Pooled, shared

SIZE = "tiny"
FILLED_WITHIN = 3600.0
USER_DATA = "#!/bin/sh\ntouch /var/tmp/ran\n"
LOOK = 0.2


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def seconds(machine: dict[str, Any]) -> float:
    """From the request to the first SSH banner, as the garage has recorded both."""
    return (datetime.fromisoformat(machine["ready_at"]) - datetime.fromisoformat(machine["created_at"])).total_seconds()


class Trial:
    """One garage, its full pool, and what was wrong."""

    def __init__(self, garage: Pooled, count: int, burst: int) -> None:
        self.garage, self.count, self.burst = garage, count, burst
        self.wrong: list[str] = []

    def run(self) -> dict[str, Any]:
        began = time.monotonic()
        self.garage.fill(SIZE, self.count, FILLED_WITHIN)
        filled = time.monotonic() - began
        say(f"{self.count} wait after {filled:.0f} s")
        at_once = self.ask_at_once([f"burst{number}" for number in range(self.burst)])
        rest = [self.ask(f"single{number}", late=number % 2 == 1) for number in range(self.count - self.burst)]
        identities = {made["name"]: self.garage.identity(made["name"]) for made in [*at_once, *rest]}
        self.wrong += shared(identities)
        self.check_user_data([made["name"] for made in rest[1::2]], identities)
        return {
            "machines": len(identities),
            "fill_s": round(filled),
            "burst_s": sorted(round(seconds(made), 2) for made in at_once),
            "single_s": [round(seconds(made), 2) for made in rest],
            "single_median_s": round(statistics.median(seconds(made) for made in rest), 2) if rest else None,
            "load": round(os.getloadavg()[0], 1),
            "wrong": self.wrong,
        }

    def ask(self, name: str, *, late: bool = False) -> dict[str, Any]:
        given: Sequence[str] = ()
        if late:
            (self.garage.home / "user-data").write_text(USER_DATA)
            given = ("--user-data", str(self.garage.home / "user-data"))
        words = ("-o", "json", "machine", "create", name, "--size", SIZE)
        return self.checked(json.loads(self.garage.garage(*words, *given)))

    def checked(self, made: dict[str, Any]) -> dict[str, Any]:
        if made["cold_reason"] or made["state"] != "ready":
            self.wrong.append(f"{made['name']}: {made['state']}, cold: {made['cold_reason']}")
        else:
            say(f"  {made['name']} {seconds(made):.2f} s, load {os.getloadavg()[0]:.1f}")
        return made

    def ask_at_once(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """In the same moment; watches that nothing is made in advance meanwhile."""
        over = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            watch = pool.submit(self.watch, over)
            try:
                argv = [sys.executable, "-m", "tests.long.at_once", str(self.garage.home), SIZE, *names]
                made = [self.checked(machine) for machine in json.loads(self.garage.run(argv))]
            finally:
                over.set()
            if watch.result():
                self.wrong.append("the pool was refilled while people waited")
        return made

    def watch(self, over: threading.Event) -> int:
        """The most that were starting in advance at one moment; asks the database's file, which costs nobody anything."""
        most = 0
        query = "SELECT count(*) FROM machine WHERE state = 'spare' AND NOT warm"
        with contextlib.closing(sqlite3.connect(f"file:{self.garage.home}/db/garage.db?mode=ro", uri=True)) as database:
            while not over.wait(LOOK):
                most = max(most, database.execute(query).fetchone()[0])
        return most

    def check_user_data(self, names: Sequence[str], identities: dict[str, dict[str, str]]) -> None:
        for name in names:
            said = self.garage.ssh(name, "cloud-init status --wait | tail -1; ls /var/tmp/ran", check=False).split("\n")
            if said[:2] != ["status: done", "/var/tmp/ran"]:
                self.wrong.append(f"{name}: {said}")
            identities[name] = self.garage.identity(name)
        self.wrong += [
            f"no cloud-init's instance-id: {n}" for n in names if not identities[n]["cloud-init's instance-id"]
        ]
        self.wrong += shared(identities)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make test-pools")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--burst", type=int, default=10)
    words = parser.parse_args()
    recipe = parse_recipe((IMAGES / "debian-12.toml").read_text())
    run = Run()
    try:
        with alone(), tempfile.TemporaryDirectory(dir=CACHE) as work:
            build(
                recipe,
                store=CACHE / "images",
                mirror=server_mirror(os.environ),
                work=Path(work),
                progress=lambda *_: None,
            )
        garage = Pooled(CACHE / "images", share=0.6)
        try:
            found = Trial(garage, words.count, words.burst).run()
        finally:
            garage.close()
    finally:
        run.end()
    print(json.dumps(found, ensure_ascii=False), flush=True)
    sys.exit(bool(found["wrong"]))


if __name__ == "__main__":
    main()
