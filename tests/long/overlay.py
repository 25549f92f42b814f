"""`make test-overlay`: an hour of random faults in an overlay of twelve sites, on one server.

tsukuba, the registry ─┐                       ┌─[cone]───── osaka, kobe (no IPv6)
nagoya ────────────────┤                       ├─[symmetric]─ kyoto, nara (no IPv6)
sendai ────────────────┤      internet         ├─[DS-Lite]── sapporo, hakodate
fukuoka (no IPv6) ─────┘                       ├─[MAP-E]──── naha
                                               └─[no UDP]─── office: it joins, and gets no link

After each fault every pair of sites that should reach each other does so within a bounded time, by IPv4 and IPv6; at the end nothing
is left. What happens is said in lines, what came of it in a line of JSON; the exit code is 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from netd.errors import NetdError
from netd.lab import observe
from netd.lab.bringup import BringUp, mend
from netd.lab.layout import MACHINE, PROJECT, Member, reachable
from netd.lab.parse import load
from netd.lab.progress import Progress
from netd.lab.sites import NETD
from netd.lab.world import World
from tests.lableft import Traces
from tests.long import times
from tests.long.faults import ROLES, Fault, draw

ROOT = Path(__file__).parents[2]
TOPOLOGY, KEPT = ROOT / "labs" / "twelve-sites.yaml", ROOT / "build" / "test-overlay"
WITHIN = 120.0
"""Seconds in which all that can reach each other does so again, on a server that has other work, too."""
GIVEN_UP = 300.0
DRAINED = 300.0
ASKED = ("bgp summary", "bfd peers brief", "bgp ipv4 unicast", "bgp ipv6 unicast", "running-config")


class Trial:
    """One overlay and what has been done to it."""

    def __init__(self, world: World, chance: Random) -> None:
        self.world, self.chance = world, chance
        self.up = BringUp(world, Progress())
        self.overlay = self.up.overlay
        self.took: dict[str, list[float]] = defaultdict(list)
        self.wrong: list[str] = []

    def begin(self) -> None:
        self.up.run()
        self.traces = Traces(self.world.name)
        self.before = self.memory()

    def member(self, node: str) -> Member:
        return next(member for member in self.up.members if member.node == node)

    # what should be

    def reached(self, *without: str) -> float:
        """Seconds until all nodes but these reach each other; a line in `wrong` when they take too long, NetdError when they never do."""
        asked = {m.node: m.gateways for m in reachable(self.world.topology) if m.node not in without}
        missing: list[tuple[str, str]] = []

        def all_answer() -> bool:
            missing[:] = self.overlay.unreached(asked)
            return not missing

        try:
            seconds = self.overlay.wait(all_answer, "everybody reaches everybody", GIVEN_UP)
        except NetdError as error:
            raise NetdError("tool", f"{error}: {missing[:6]}") from None
        if seconds > WITHIN:
            self.wrong.append(f"everybody but {without or 'nobody'} reached each other after {seconds:.0f} s only")
        return seconds

    def names(self) -> float:
        """Seconds until one machine reaches another by name."""
        one, other = self.chance.sample([m for m in reachable(self.world.topology) if m.first], 2)
        name = f"{MACHINE}.{PROJECT}.{other.site}.garage.internal"
        place = self.world.namespace(f"{one.node}.{MACHINE}")
        argv = ["sh", "-c", f"ip netns exec {place} ping -c 1 -W 2 {name} >/dev/null 2>&1 && echo yes; true"]
        return self.overlay.wait(lambda: "yes" in _run(argv), f"{one.node}'s machine reaches {name}", WITHIN)

    def memory(self) -> dict[str, float]:
        """MiB by role, all nodes together."""
        found: Counter[str] = Counter()
        for node in self.world.nodes:
            for pid, role in observe.roles(self.world, node):
                found[role] += _resident(pid)
        return {role: round(size / 1024, 1) for role, size in sorted(found.items())}

    def missing(self) -> list[str]:
        return [
            f"{node}: no {found['missing']}" for node, found in observe.running(self.world).items() if found["missing"]
        ]

    # what happens

    def do(self, fault: Fault) -> str:
        """The fault and all that should follow it; how long that took."""
        said = []
        if (away := self._break(fault)) is not None:
            seconds = self.reached(*away)
            self.took[f"{fault.kind}: the others"].append(seconds)
            said.append(f"the others {seconds:.1f} s")
            time.sleep(fault.seconds)
        self._mend(fault)
        seconds = self.reached()
        self.took[fault.kind].append(seconds)
        self.took["a name"].append(self.names())
        self.overlay.wait(lambda: not self.missing(), f"all processes run: {self.missing()}", WITHIN)
        self.traces.look()
        return ", ".join([*said, f"all {seconds:.1f} s"])

    def _break(self, fault: Fault) -> tuple[str, ...] | None:
        """Who is away now; None where there is nothing to see before it is mended."""
        line = self.world.nodes[fault.node].site.lines[0].name
        if fault.kind in ("cut", "lossy"):
            self.world.break_line(line, loss=1.0 if fault.kind == "cut" else 0.3)
        if fault.kind in ROLES:
            self._kill(fault)
        if fault.kind == "rotate":
            self.overlay.garage("site", "rotate", fault.node)
        if fault.kind == "registry":
            self._kill(Fault("web", fault.node))
        if fault.kind == "leave":
            self.overlay.run(fault.node, [*NETD, "leave", "--config", str(self.up.sites[fault.node].config)])
        if fault.kind in ("cut", "lossy", "leave"):
            return (fault.node,)
        return () if fault.kind in ("registry", "rotate") else None

    def _mend(self, fault: Fault) -> None:
        if fault.kind in ("cut", "lossy"):
            self.world.heal()
        if fault.kind in ("netd", "registry"):
            mend(self.world)
            self.overlay.wait(self.overlay.answers, "the registry answers")
        if fault.kind == "leave":
            self.up.join(self.member(fault.node))
        if fault.kind == "rotate":
            self.took["rotate: drained"].append(self.overlay.wait(self._drained, "old links are gone", DRAINED))

    def _drained(self) -> bool:
        return not any(end.link.state == "draining" for end in observe.link_ends(self.overlay))

    def _kill(self, fault: Fault) -> None:
        pids = [pid for pid, role in observe.roles(self.world, fault.node) if role == fault.kind]
        if pids:
            os.kill(pids[int(fault.pick * len(pids)) % len(pids)], signal.SIGKILL)

    def result(self, seed: int, faults: int) -> dict[str, Any]:
        after = {"mib_before": self.before, "mib_after": self.memory()}
        return {"seed": seed, "faults": faults, "seconds": times.told(self.took), **after, "wrong": self.wrong}


def _resident(pid: int) -> int:
    """KiB."""
    try:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(row.split()[1]) for row in rows if row.startswith("VmRSS:")), 0)


def _run(argv: list[str]) -> str:
    from netd.shell.run import run

    return run(argv, check=False)


def keep_logs(trial: Trial) -> None:
    """What is removed with the lab, for who looks for the reason."""
    shutil.rmtree(KEPT, ignore_errors=True)
    for path in trial.overlay.folder.glob("*/*.log"):
        target = KEPT / path.relative_to(trial.overlay.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for node in trial.world.nodes:
        (KEPT / f"{node}.frr").write_text(_said(trial, node))
    print(f"logs are in {KEPT}", flush=True)


def _said(trial: Trial, node: str) -> str:
    """What a node's FRR says of its sessions and routes, and what runs there."""
    ask = " ".join(f"-c 'show {words}'" for words in ASKED)
    argv = ["sh", "-c", f"timeout 30 vtysh {ask}; ip route; ip -6 route"]
    try:
        return trial.overlay.run(node, argv, check=False) + f"{observe.roles(trial.world, node)}\n"
    except NetdError as error:
        return f"{error}\n"


def trial_of(world: World, minutes: float, seed: int) -> tuple[Trial, int]:
    """The trial when its time is over, or something never came right; how many faults there were."""
    trial, done, began = Trial(world, Random(seed)), 0, time.monotonic()
    trial.begin()
    own, *others = [member.node for member in reachable(world.topology)]
    began = time.monotonic()
    while time.monotonic() < began + 60 * minutes:
        fault = draw(trial.chance, own, others)
        done += 1
        print(f"{time.monotonic() - began:6.0f} s  {done:3}  {fault!s:34}", end="  ", flush=True)
        try:
            print(trial.do(fault), flush=True)
        except (NetdError, OSError) as error:
            print(f"WRONG: {error}", flush=True)
            trial.wrong.append(f"fault {done}, {fault}: {error}")
            break
    return trial, done


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test-overlay")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int)
    words = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))  # the lab is removed on the way out
    seed = words.seed if words.seed is not None else SystemRandom().randrange(10**6)
    print(
        f"seed {seed}, {words.minutes:g} minutes: make test-overlay SEED={seed} MINUTES={words.minutes:g}", flush=True
    )
    with World(load(TOPOLOGY)) as world:
        trial, done = trial_of(world, words.minutes, seed)
        found = trial.result(seed, done)
        if trial.wrong:
            keep_logs(trial)
    if left := trial.traces.left():
        found["wrong"].append(f"left behind: {left}")
    print(json.dumps(found, ensure_ascii=False), flush=True)
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
