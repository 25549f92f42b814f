"""`netd lab up`: a world, and the overlay in it unless it is to be bare."""

from __future__ import annotations

from netd.errors import NetdError
from netd.lab.bringup import BringUp, overlay_state
from netd.lab.layout import MACHINE, PROJECT, reachable
from netd.lab.model import Topology
from netd.lab.progress import Progress
from netd.lab.removal import remove
from netd.lab.world import World


def up(topology: Topology, name: str | None, *, bare: bool) -> str:
    """Build what is missing; what to say at the end. A lab that was left half built is built anew, one that fails is removed."""
    progress = Progress()
    world = World(topology, name=name, keep=True)
    if _stands(world, bare):
        return _again(world, topology)
    try:
        with progress.step("world") as said:
            world.build()
            said.append(f"{len(world.nodes)} nodes, {len(topology.lines)} lines")
        if not bare:
            BringUp(world, progress).run()
    except BaseException:
        remove(world.name)
        raise
    return _hello(world, bare)


def _stands(world: World, bare: bool) -> bool:
    """Whether it is up already; removes one that was left half built."""
    if not world.state.exists():
        return False
    try:
        state = overlay_state(World.attach(world.name))
    except NetdError:
        state = "half"
    if state == "half":
        remove(world.name)
    if state == "bare" and not bare:
        raise NetdError(
            "config",
            f"lab {world.name} is up without an overlay",
            hint=f"take it down first: netd lab down {world.name}",
        )
    if state == "starting":
        raise NetdError("config", f"lab {world.name} is being started by somebody else", hint="netd lab status")
    return state != "half"


def _again(world: World, topology: Topology) -> str:
    same = World.attach(world.name).topology == topology
    return f"lab {world.name} is up already" + ("" if same else ", from another topology: take it down first")


def _hello(world: World, bare: bool) -> str:
    lines = [f"lab {world.name} is up"]
    if bare:
        return f"{lines[0]}: {len(world.nodes)} nodes, {len(world.topology.lines)} lines; netd lab status"
    own, *others = reachable(world.topology)
    far = others[-1] if others else own
    lines += [
        "  netd lab status",
        f"  netd lab exec {own.node} -- garage site list",
        f"  netd lab exec {own.node} -- netd status",
        f"  netd lab exec {own.node}/{MACHINE} -- ping -c 3 {MACHINE}.{PROJECT}.{far.site}.garage.internal",
        f"  netd lab break {world.topology.sites[-1].lines[0].name}; netd lab heal",
        "  netd lab down",
    ]
    return "\n".join(lines)
