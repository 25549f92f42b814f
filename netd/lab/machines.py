"""A site's pretend machines: namespaces with a veth on a node's bridge, numbered by hand as DHCP would, with names of their own.

machine ──(eth0, TAP)── node's bridge
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netd.lab.instances import ETC_NETNS
from netd.lab.world import World
from netd.shell.run import run
from netd.wire import Bridge, MachineNet

NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"


def namespace(world: World, node: str, name: str) -> str:
    """Named with a dot, so that no node can have the name; carries the lab's prefix, so it ends with the lab."""
    return world.namespace(f"{node}.{name}")


def exists(place: str) -> bool:
    return (Path("/run/netns") / place).exists()


def add(world: World, node: str, bridge: Bridge, who: MachineNet) -> str:
    """Its namespace. The node's spec names `who`, and its bridge is there."""
    inside, place = world.namespace(node), namespace(world, node, who.name)
    _resolver(place, bridge)
    run(["ip", "netns", "add", place])
    run(["ip", "-n", inside, "-batch", "-"], input=_text(_outside(who, bridge, place)))
    run(["ip", "-n", place, "-batch", "-"], input=_text(_inside(who, bridge)))
    return place


def _outside(who: MachineNet, bridge: Bridge, place: str) -> Sequence[str]:
    return f"link add {who.tap} type veth peer name eth0 netns {place}", f"link set {who.tap} master {bridge.name} up"


def _inside(who: MachineNet, bridge: Bridge) -> Sequence[str]:
    lines = ["link set lo up", f"link set eth0 address {who.mac} up", f"addr add {who.ipv4}/32 dev eth0"]
    lines.append(f"addr add {who.ipv6}/128 dev eth0 nodad")
    for gateway in (bridge.ipv4, bridge.ipv6):
        lines += [f"route replace {gateway} dev eth0", f"route replace default via {gateway}"]
    return lines


def _resolver(place: str, bridge: Bridge) -> None:
    """`ip netns exec` puts these in the place of the server's own: names are asked at the node."""
    folder = ETC_NETNS / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "resolv.conf").write_text(f"nameserver {bridge.ipv4}\nnameserver {bridge.ipv6}\noptions timeout:2\n")
    if Path("/etc/nsswitch.conf").exists():
        (folder / "nsswitch.conf").write_text(NSSWITCH)


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
