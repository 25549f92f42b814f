"""netd's composition root: chooses what tunnels, routes and measuring are made of."""

from __future__ import annotations

from netd.config import Config
from netd.following import Part
from netd.line import Lines
from netd.membership import home
from netd.node import Node
from netd.overlay import Overlay
from netd.path_mtu import PathMtu
from netd.priority import Priorities
from netd.shell.routes import Frr
from netd.shell.tunnels import WireGuard
from netd.volume import Volume
from netd.ways import Ways


def make_overlay_of(config: Config, node: Node | None = None) -> Overlay:
    """The real thing."""
    folder = home(config.state_dir).path
    return Overlay(config, node or Node(config), WireGuard(folder), Frr(folder))


def make_parts_of(config: Config, overlay: Overlay) -> tuple[Part, ...]:
    """What the daemon looks after beside tunnels and routes."""
    ways = Ways(overlay, config.line)
    lines = config.line
    return (Volume(overlay, lines, ways), PathMtu(overlay), Lines(overlay, lines, ways), Priorities(overlay))
