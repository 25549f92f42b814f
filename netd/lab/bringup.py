"""`netd lab up` after the world stands: registry, sites, machines, and the proof that everybody reaches everybody."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from netd.errors import NetdError
from netd.lab import instances, machines
from netd.lab.layout import Member, machine, members, reachable
from netd.lab.overlay import LabOverlay, program
from netd.lab.progress import Progress
from netd.lab.sites import NETD, Network, SiteNode
from netd.lab.state import myself, started
from netd.lab.world import World
from netd.wire import MachineNet

JOINED_WITHIN, REACHED_WITHIN, BRIDGE_WITHIN = 60.0, 90.0, 20.0


class BringUp:
    """`run()` once; a failure leaves what was made to whoever called."""

    def __init__(self, world: World, progress: Progress) -> None:
        self._topology, self._progress = world.topology, progress
        self.members = members(world.topology)
        self.overlay = LabOverlay(world, self.members[0].node)
        self.sites: dict[str, SiteNode] = {}
        for member in self.members:
            self.sites[member.node] = self.overlay.site(member, self._machines(member))

    def run(self) -> None:
        instances.instance("", len(self.members) - 1)
        state = self.overlay.world.state
        state.write(overlay={"state": "starting", "by": myself()})
        self._registry()
        for member in self.members[1:]:
            with self._progress.step(member.node) as said:
                self.overlay.prepare_site(self.sites[member.node])
                said.append(self.join(member))
        self._machines_up()
        self._everybody()
        state.write(overlay={"state": "up"})

    def join(self, member: Member) -> str:
        """Invite a node whose netd runs, and let it join; what `netd join` says."""
        return self._join(member, self._invite(member))

    def _machines(self, member: Member) -> tuple[MachineNet, ...]:
        return (machine(self.overlay.instance(member.number), member.place),) if member.first else ()

    def _registry(self) -> None:
        own = self.members[0]
        with self._progress.step("registry") as said:
            program("garage-server")
            given = self.sites[own.node].network
            network = Network(self.overlay.own, *own.prefixes, own.site, given.machines)
            self.overlay.start_registry(network, node=own.node)
            said.append(f"{self.overlay.url} at {own.node}")
            figures = self._topology.overlay
            words = [("--mesh-sites", figures.mesh_sites), ("--bfd", figures.bfd_ms)]
            given_words = [str(word) for pair in words if pair[1] is not None for word in pair]
            if given_words:
                self.overlay.garage("site", "configure", *given_words)
                said.append(" ".join(given_words))

    def _invite(self, member: Member) -> str:
        own = self._topology.overlay.registry
        return self.overlay.invite(member.site, *(("--own-name", own) if member.first else ("--node",)))

    def _join(self, member: Member, token: str) -> str:
        """A site that speaks no UDP is not waited for: it has no link to come up."""
        folder = self.overlay.home(member.node)
        (folder / "token").write_text(token)
        (folder / "token").chmod(0o600)
        words = [*NETD, "join", self.overlay.url, "--token-file", str(folder / "token")]
        process = self.overlay.start(member.node, [*words, "--config", str(self.sites[member.node].config)], "join")
        patient = member in reachable(self._topology)
        log = folder / "join.log"
        self.overlay.wait(
            lambda: process.poll() is not None or (not patient and "joined as" in _read(log)),
            f"{member.node} joins",
            JOINED_WITHIN,
        )
        (folder / "token").unlink()
        if process.poll():
            raise NetdError("tool", f"{member.node}: {_read(log).strip()}")
        return "; ".join(_read(log).splitlines())

    def _machines_up(self) -> None:
        with self._progress.step("machines") as said:
            for member in self.members:
                site = self.sites[member.node]
                bridge = site.network.spec(member.node).bridge
                for who in site.network.machines:
                    self.overlay.wait(partial(self._has, member.node, bridge.name), bridge.name, BRIDGE_WITHIN)
                    machines.add(self.overlay.world, member.node, bridge, who)
                    said.append(f"{member.node}/{who.name}")

    def _has(self, node: str, device: str) -> bool:
        return bool(self.overlay.run(node, ["ip", "-br", "link", "show", "dev", device], check=False))

    def _everybody(self) -> None:
        """Until each node that a link can reach answers each other one, in both families."""
        asked = {member.node: member.gateways for member in reachable(self._topology)}
        missing: list[tuple[str, str]] = []

        def all_answer() -> bool:
            missing[:] = self.overlay.unreached(asked)
            return not missing

        with self._progress.step("overlay") as said:
            try:
                self.overlay.wait(all_answer, "everybody reaches everybody", REACHED_WITHIN)
            except NetdError as error:
                lost = ", ".join(f"{node} does not reach {address}" for node, address in missing[:5])
                raise NetdError("tool", f"{error}: {lost}") from None
            said.append(f"{len(asked)} nodes reach each other by IPv4 and IPv6")


def overlay_state(world: World) -> str:
    """ "bare" (there is none), "starting", "up", or "half": who was starting it has died."""
    found = world.state.read().get("overlay")
    if not found:
        return "bare"
    if found["state"] == "starting":
        pid, since = found["by"]
        return "starting" if started(pid) == since else "half"
    return str(found["state"])


def attach(world: World) -> LabOverlay:
    """The overlay of a lab that is up."""
    return LabOverlay(world, members(world.topology)[0].node)


def mend(world: World) -> list[str]:
    """Start web process and netds again that died, as their supervisor would; what was started."""
    from netd.lab.observe import roles

    if overlay_state(world) != "up":
        return []
    overlay, done = attach(world), []
    for member in members(world.topology):
        running = {role for _pid, role in roles(world, member.node)}
        if "netd" not in running:
            overlay.start_netd(member.node)
            done.append(f"netd at {member.node}")
        if member.number == 0 and "web" not in running:
            overlay.start_web()
            done.append(f"the registry at {member.node}")
    return done


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
