"""Where a command of `netd lab exec` runs, and what it finds there."""

from __future__ import annotations

import os
from collections.abc import Sequence

from netd.errors import NetdError
from netd.lab import machines
from netd.lab.bringup import attach
from netd.lab.layout import MACHINE
from netd.lab.model import INTERNET
from netd.lab.world import World


def inside(world: World, place: str, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(command, environment). `place`: a node, a site (its first node), NODE/MACHINE, or `internet`."""
    site, _, name = place.partition("/")
    node = _node(world, site)
    overlay = attach(world)
    if not name:
        environment = overlay.environment(node) if overlay.home(node).is_dir() else dict(os.environ)
        return world.argv(node, argv), environment
    where = machines.namespace(world, node, name)
    if node not in world.nodes or not machines.exists(where):
        hint = f"{world.topology.sites[0].nodes[0]}/{MACHINE}, unless the lab is bare"
        raise NetdError("config", f"lab {world.name} has no machine {place!r}", hint=hint)
    return ["ip", "netns", "exec", where, *argv], {**os.environ}


def _node(world: World, word: str) -> str:
    """A site stands for its first node."""
    if word in world.nodes or word == INTERNET:
        return word
    return next((site.nodes[0] for site in world.topology.sites if site.name == word), word)
