"""`make test-burn-in`: two servers with real libvirt, QEMU, netd, FRR and PostgreSQL are broken at random, and everything comes back.

one  controller, web, worker, netd, libvirt, PostgreSQL ──┐
                                                          ├── lan
two  netd, libvirt ───────────────────────────────────────┘

`garage admin burn-in` breaks a garage of simulated servers in seconds; this one takes a minute per fault. After each one what the
database says is compared with what both servers have (`garage.core.consistency`), and with what was promised. What happens is said in
lines, what came of it in a line of JSON; the exit code is 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from random import Random, SystemRandom
from typing import Any

from tests.leftovers import Run
from tests.long import times
from tests.long.garage_on_two import SIZE, GarageOnTwo

WITHIN = 240.0
"""Seconds in which all is well again, a machine that was asked for after the fault is ready, and nothing is under way; by emulation."""
LOOK = 0.3
MACHINES = 3
"""That stay for the whole run; one more comes and goes with each fault."""


class Trial:
    def __init__(self, garage: GarageOnTwo, chance: Random) -> None:
        self.garage, self.chance = garage, chance
        self.took: dict[str, list[float]] = defaultdict(list)
        self.wrong: list[str] = []
        self.faults: dict[str, Callable[[], Callable[[], None] | None]] = {
            "worker killed": lambda: self.again("worker"),
            "web killed": lambda: self.again("web"),
            "worker and web killed": lambda: (self.again("worker"), self.again("web"))[0],
            "netd killed on one": lambda: garage.kill_netd("one"),
            "netd killed on two": lambda: garage.kill_netd("two"),
            "libvirtd killed on one": lambda: garage.kill_libvirt("one"),
            "libvirtd killed on two": lambda: garage.kill_libvirt("two"),
            "PostgreSQL killed": garage.kill_database,
            "QEMU killed": self.kill_guest,
            "guest panics": self.panic,
            "two cut off": self.cut,
            "moved while libvirtd dies": self.move,
        }

    def begin(self) -> None:
        for number in range(MACHINES):
            self.garage.garage("machine", "create", f"kept{number}", "--size", SIZE)
            self.garage.ssh(f"kept{number}", f"echo {number} > note; sync")
        self.look("the beginning")

    def do(self, name: str) -> str:
        """Break it, mend it, wait for rest, compare; what took how long."""
        mend = self.faults[name]()
        if mend is not None:
            mend()
        began = time.monotonic()
        well = self.until(self.garage.is_well, "all well", began)
        made = f"made{self.chance.randrange(10**6)}"
        self.until(lambda: self.create(made), "a request is answered", began)
        ready = self.until(lambda: self.garage.states().get(made) == "ready", f"{made} is ready", began)
        self.repair()
        rest = self.until(self.garage.at_rest, "at rest", began)
        self.took[name].append(ready)
        self.look(name)
        self.garage.garage("machine", "delete", made, "--yes")
        self.until(lambda: made not in self.garage.states(), f"{made} is gone", began)
        return f"all well after {well:.1f} s, a new machine after {ready:.1f} s, at rest after {rest:.1f} s"

    def until(self, true: Callable[[], bool], what: str, began: float) -> float:
        while not true():
            if time.monotonic() - began > WITHIN:
                raise TimeoutError(f"{what}: not after {WITHIN:.0f} s; {self.garage.states()}")
            time.sleep(LOOK)
        return time.monotonic() - began

    def create(self, name: str) -> bool:
        """Asked for again as long as nobody answers: the name keeps it one."""
        self.garage.garage("machine", "create", name, "--size", SIZE, "--no-wait", check=False)
        return name in self.garage.states()

    def repair(self) -> None:
        """What a person does whose machine has failed, after the garage has said so."""
        for name, state in self.garage.states().items():
            if state in ("failed", "stopped"):
                self.garage.garage("machine", "start", name, check=False)

    def look(self, when: str) -> None:
        """Everything that does not fit, and everything that was promised."""
        found = [str(trouble) for trouble in self.garage.troubles()]
        for number in range(MACHINES):
            if (said := self.garage.ssh(f"kept{number}", "cat note", check=False).strip()) != str(number):
                found.append(f"kept{number}: {said!r}")
        self.wrong += [f"{when}: {text}" for text in found]

    # faults that need more than a line

    def again(self, part: str) -> None:
        self.garage.stop(part, signal.SIGKILL)
        self.garage.start(part)

    def kill_guest(self) -> None:
        """Its machine is told to have crashed before anybody starts it."""
        name = self.garage.kill_guest(self.chance)
        self.until(lambda: self.garage.states()[name] == "failed", f"{name} is called failed", time.monotonic())

    def panic(self) -> None:
        name = self.chance.choice([name for name in self.garage.states() if name.startswith("kept")])
        crash = "(sleep 0.5; echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 &"
        self.garage.ssh(name, f"sudo sh -c '{crash}'")
        self.until(lambda: self.garage.states()[name] == "failed", f"{name} is called failed", time.monotonic())

    def cut(self) -> Callable[[], None]:
        """Until its machines are called unreachable, and some more."""
        two = self.garage.lab["two"]
        there = self.garage.names_on("node2")
        two.cut()
        began = time.monotonic()

        def told() -> bool:
            return all(self.garage.states()[name] == "unreachable" for name in there)

        if there:
            self.took["told that two is silent"].append(self.until(told, "two's machines are unreachable", began))
        time.sleep(self.chance.uniform(0, 20))
        return lambda: two.cut(on=False)

    def move(self) -> Callable[[], None]:
        """One node is emptied, and in the middle of a move a libvirtd dies; then the node is used again."""
        node = self.chance.choice(["node1", "node2"])
        self.garage.garage("node", "drain", node, "--yes", "--no-wait")
        time.sleep(self.chance.uniform(0, 6))
        self.garage.kill_libvirt(self.chance.choice(["one", "two"]))
        time.sleep(self.chance.uniform(0, 6))

        def used() -> bool:
            self.garage.garage("node", "activate", node, check=False)
            return self.garage.node(node)["state"] == "active"

        return lambda: void(self.until(used, f"{node} is active", time.monotonic()))

    def result(self, seed: int, faults: int) -> dict[str, Any]:
        return {"seed": seed, "faults": faults, "seconds": times.told(self.took), "wrong": self.wrong}


def void(_value: object) -> None:
    """For a function that is wanted for what it does."""


def run(trial: Trial, minutes: float) -> int:
    """Every fault once, then again while there is time; how many there were."""
    done, began = 0, time.monotonic()
    while done < len(trial.faults) or time.monotonic() < began + 60 * minutes:
        for name in trial.chance.sample(list(trial.faults), len(trial.faults)):
            if done >= len(trial.faults) and time.monotonic() >= began + 60 * minutes:
                break
            done += 1
            print(f"{time.monotonic() - began:6.0f} s  {done:3}  {name:26}", end="  ", flush=True)
            try:
                print(trial.do(name), *trial.wrong[-1:], flush=True)
            except (AssertionError, TimeoutError) as error:
                print(f"WRONG: {error}", flush=True)
                trial.wrong.append(f"fault {done}, {name}: {error}"[:3000])
                return done
    return done


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test-burn-in")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--seed", type=int)
    words = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))  # the servers are removed on the way out
    seed = words.seed if words.seed is not None else SystemRandom().randrange(10**6)
    print(f"seed {seed}: make test-burn-in SEED={seed} MINUTES={words.minutes:g}", flush=True)
    held = Run()
    try:
        with GarageOnTwo() as garage:
            trial = Trial(garage, Random(seed))
            trial.begin()
            found = trial.result(seed, run(trial, words.minutes))
    finally:
        held.end()
    print(json.dumps(found, ensure_ascii=False), flush=True)
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
