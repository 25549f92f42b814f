"""A topology made real: `with World(topology) as world:`; the seam between the laboratory and whatever is started in its nodes.

A World made by `with` or `build()` without `keep` belongs to its process: when that was killed, the next World removes it. The
command line keeps its labs (`keep=True`) and finds them again with `World.attach(name)`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from netd.errors import NetdError
from netd.lab import instances, lines, processes
from netd.lab import plan as planning
from netd.lab.addresses import LinePlace, lay_out
from netd.lab.lines import Stage, prefix
from netd.lab.model import INTERNET, Line, Site, Topology
from netd.lab.plan import Plan
from netd.lab.removal import remove, remove_abandoned, remove_locked
from netd.lab.state import LabState, labs, myself
from netd.shell.run import run

THREADS = 4
"""Commands of different namespaces run side by side; more only wait for the kernel's one lock."""


@dataclass(frozen=True, slots=True)
class LineAddresses:
    """A node's addresses on one line."""

    line: str
    """Also the device's name."""
    ipv4: str | None
    ipv6: str | None
    outside4: str | None
    """IPv4 as others see it; None: no IPv4, or a carrier's shared address."""


@dataclass(frozen=True, slots=True)
class NodePlace:
    """A node of the world. `lines` in order of preference."""

    name: str
    site: Site
    namespace: str
    lines: tuple[LineAddresses, ...]

    @property
    def ipv4(self) -> str | None:
        return next((line.ipv4 for line in self.lines if line.ipv4), None)

    @property
    def ipv6(self) -> str | None:
        return next((line.ipv6 for line in self.lines if line.ipv6), None)

    @property
    def outside4(self) -> str | None:
        return next((line.outside4 for line in self.lines if line.outside4), None)


class World:
    """The namespaces, lines and NATs of one lab."""

    def __init__(self, topology: Topology, *, name: str | None = None, keep: bool = False) -> None:
        self.topology, self.keep = topology, keep
        self.name = name or (topology.name if keep else _own_name(topology.name))
        self.state = LabState(self.name)
        self.netem = False

    @classmethod
    def attach(cls, name: str) -> World:
        """A lab that is up; NetdError when it is not, or only half."""
        state = LabState(name)
        if not state.exists():
            raise NetdError("config", f"no lab {name} is up", hint=f"up are: {', '.join(labs()) or 'none'}")
        world = cls(state.topology(), name=name, keep=True)
        found = state.read()
        if not found.get("ready") or not all((processes.NETNS / place).exists() for place in world.plan.namespaces):
            raise NetdError("config", f"lab {name} is only half there", hint=f"netd lab down {name}")
        world.netem = bool(found["netem"])
        return world

    # what is there

    @property
    def plan(self) -> Plan:
        return planning.plan(self.topology, self.name, netem=self.netem)

    @property
    def nodes(self) -> dict[str, NodePlace]:
        places = lay_out(self.topology)
        return {
            node: NodePlace(node, site, self.namespace(node), _addresses(places, site, index))
            for site in self.topology.sites
            for index, node in enumerate(site.nodes)
        }

    def namespace(self, place: str) -> str:
        """The namespace of a node, of `internet`, of LINE.nat or CARRIER.carrier."""
        return f"{prefix(self.name)}{place}"

    def line(self, name: str) -> Line:
        for line in self.topology.lines:
            if line.name == name:
                return line
        known = ", ".join(line.name for line in self.topology.lines)
        raise NetdError("config", f"lab {self.name} has no line {name!r}", hint=f"its lines: {known}")

    # doing something in it

    def argv(self, place: str, argv: Sequence[str]) -> list[str]:
        """`argv` in a node or another place of the lab, to be run from the server's own namespace."""
        namespace = self.namespace(place)
        if namespace not in self.plan.namespaces:
            known = ", ".join((*self.topology.nodes, INTERNET))
            raise NetdError("config", f"lab {self.name} has no node {place!r}", hint=f"its nodes: {known}")
        return ["ip", "netns", "exec", namespace, *argv]

    def exec(self, place: str, argv: Sequence[str], *, input: str | None = None, check: bool = True) -> str:
        """What a short command prints (see shell/run.py); NetdError("tool") when it fails."""
        return run(self.argv(place, argv), input=input, check=check)

    def popen(self, place: str, argv: Sequence[str], **more: Any) -> subprocess.Popen[str]:
        """A process in a place; ended at the latest with the lab."""
        return subprocess.Popen(self.argv(place, argv), text=True, **more)

    def break_line(self, name: str, **wanted: float) -> None:
        """From now on the line has these instead of its own `delay`, `jitter`, `loss`, `rate`; in force when this returns."""
        line = self.line(name)
        veth = lines.carried_by(line, netem=self.netem) == "veth"
        if veth and set(wanted) - {"loss"}:
            raise NetdError(
                "config", f"{name} is a plain line: it can only lose", hint="give it `delay: 0ms` in the topology"
            )
        with self.state.locked():
            self._set_broken({**self.broken(), name: {**self.broken().get(name, {}), **wanted}}, [name])

    def heal(self, name: str | None = None) -> None:
        """The line, or every line, is as its topology says; a forwarder that died is started again."""
        names = [self.line(name).name] if name else [line.name for line in self.topology.lines]
        with self.state.locked():
            for forwarder in self.plan.forwarders:
                if forwarder.line in names and not processes.alive(self.state.folder, forwarder.line):
                    processes.start(self.state.folder, forwarder)
            self._set_broken({line: how for line, how in self.broken().items() if line not in names}, names)

    def broken(self) -> dict[str, dict[str, float]]:
        """What was broken on purpose, by line."""
        found: dict[str, dict[str, float]] = self.state.read().get("broken", {})
        return found

    def _set_broken(self, broken: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> None:
        self.state.write(broken=broken)
        for name in names:
            line = self.line(name)
            wanted = lines.in_force(line, broken.get(name, {}))
            how = lines.carried_by(line, netem=self.netem)
            if how == "forwarder":
                self.state.impair(name, wanted)
                processes.ask(self.state.folder, name, "reload")
            elif how == "netem":
                ends = lines.ends(self.topology, self.name, line)
                _execute(tuple(lines.netem(end, name, wanted) for end in ends))
        _execute(lines.filters(self.topology, self.name, broken, netem=self.netem))

    def counters(self, name: str) -> dict[str, dict[str, int]] | None:
        """Packets by direction (`out` is from the site); None: no forwarder carries the line, or it is dead."""
        if not processes.alive(self.state.folder, name):
            return None
        return processes.ask(self.state.folder, name, "counters")

    # making and removing

    def build(self) -> bool:
        """Make it; False when it is up already. What an interrupted builder left is removed first."""
        remove_abandoned()
        with self.state.locked():
            if self._is_up():
                return False
            remove_locked(self.state)
            try:
                self._build()
            except BaseException:
                remove_locked(self.state)
                raise
        return True

    def _is_up(self) -> bool:
        try:
            World.attach(self.name)
        except NetdError:
            return False
        return True

    def _build(self) -> None:
        self.netem = has_netem()
        wanted = self.plan
        self.state.begin(self.topology, None if self.keep else myself(), self.netem, instances.draw())
        _execute(*wanted.before)
        for forwarder in wanted.forwarders:
            self.state.impair(forwarder.line, self.line(forwarder.line).impairment)
            processes.start(self.state.folder, forwarder)
        for forwarder in wanted.forwarders:
            processes.ask(self.state.folder, forwarder.line, "counters", seconds=processes.START_SECONDS)
        _execute(*wanted.after)
        self.state.write(ready=True)

    def close(self) -> None:
        """Remove every namespace, process and file of the lab."""
        remove(self.name)

    def __enter__(self) -> World:
        if not self.build():
            raise NetdError("config", f"a lab {self.name} is up already", hint=f"netd lab down {self.name}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def has_netem() -> bool:
    """Whether this kernel delays by itself, tried in a namespace without a name."""
    return "yes" in run(
        ["unshare", "-n", "sh", "-c", "tc qdisc add dev lo root netem delay 1ms && echo yes"], check=False
    )


def _execute(*stages: Stage) -> None:
    """One stage after the other; a stage's commands are for a namespace each and run side by side."""
    with ThreadPoolExecutor(THREADS) as pool:
        for stage in stages:
            list(pool.map(lambda command: run(command.argv, input=command.input), stage))


def _own_name(name: str) -> str:
    """Runs side by side keep apart by pid."""
    return f"{name[:11].strip('-')}-{os.getpid()}"


def _addresses(places: tuple[LinePlace, ...], site: Site, index: int) -> tuple[LineAddresses, ...]:
    found = []
    for place in places:
        if place.site.name == site.name:
            own = {address.version: str(address.ip) for address in place.node(index)}
            found.append(LineAddresses(place.line.name, own.get(4), own.get(6), place.outside4(index)))
    return tuple(found)
