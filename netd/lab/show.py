"""What `netd lab status` says about a lab."""

from __future__ import annotations

from typing import Any

from netd.errors import NetdError
from netd.lab import processes, show_overlay
from netd.lab.lines import carried_by, in_force
from netd.lab.model import Impairment, Line
from netd.lab.tables import table
from netd.lab.units import show_rate, show_seconds, show_share
from netd.lab.world import World


def describe(name: str) -> dict[str, Any]:
    """One lab as JSON. `state`: "up", or "damaged" with a `problem` when a crash left half of it."""
    try:
        world = World.attach(name)
    except NetdError as error:
        return {"name": name, "state": "damaged", "problem": str(error), "nodes": [], "lines": []}
    return {
        "name": name,
        "state": "up",
        "about": world.topology.about,
        "nodes": [_node(world, name) for name in world.nodes],
        "lines": [_line(world, line) for line in world.topology.lines],
        "namespaces": list(world.plan.namespaces),
        **show_overlay.describe(world),
    }


def _node(world: World, name: str) -> dict[str, Any]:
    node = world.nodes[name]
    lines = [
        {"line": line.line, "ipv4": line.ipv4, "ipv6": line.ipv6, "outside_ipv4": line.outside4} for line in node.lines
    ]
    return {"name": name, "site": node.site.name, "namespace": node.namespace, "lines": lines}


def _line(world: World, line: Line) -> dict[str, Any]:
    broken = world.broken().get(line.name, {})
    wanted = in_force(line, broken)
    how = carried_by(line, netem=world.netem)
    row = {
        "name": line.name,
        "site": next(site.name for site in world.topology.sites if line in site.lines),
        **{
            "delay_ms": wanted.delay * 1e3,
            "jitter_ms": wanted.jitter * 1e3,
            "loss": wanted.loss,
            "rate_bps": wanted.rate,
        },
        **{
            "nat": line.nat.kind if line.nat else None,
            "carrier": line.carrier,
            "block": list(line.block),
            "mtu": line.mtu,
        },
        **{"ipv4": line.ipv4, "ipv6": line.ipv6, "carried_by": how, "broken": broken},
    }
    if how == "forwarder":
        pid = processes.alive(world.state.folder, line.name)
        row |= {"pid": pid, "packets": world.counters(line.name) if pid else None}
    return row


def impairment(world: World, name: str) -> str:
    """A line's present state in words."""
    wanted = in_force(world.line(name), world.broken().get(name, {}))
    return _words(wanted)


def _words(wanted: Impairment) -> str:
    if wanted.loss >= 1:
        return "cut"
    delay = show_seconds(wanted.delay) + (f" ± {show_seconds(wanted.jitter)}" if wanted.jitter else "")
    words = [delay if wanted.delay else "", f"loses {show_share(wanted.loss)}" if wanted.loss else ""]
    words.append(show_rate(wanted.rate) if wanted.rate else "")
    return ", ".join(filter(None, words)) or "plain"


def text(lab: dict[str, Any]) -> str:
    """One lab as tables: nodes, lines, and of an overlay processes and links."""
    if lab["state"] != "up":
        return f"{lab['name']}: {lab['problem']}"
    nodes = [
        (
            node["name"],
            node["site"],
            node["namespace"],
            line["line"],
            line["ipv4"] or "-",
            line["outside_ipv4"] or "-",
            line["ipv6"] or "-",
        )
        for node in lab["nodes"]
        for line in node["lines"] or [{"line": "-", "ipv4": None, "outside_ipv4": None, "ipv6": None}]
    ]
    lines = [
        (line["name"], line["site"], _now(line), line["nat"] or "-", line["carrier"] or "-", _health(line))
        for line in lab["lines"]
    ]
    head = f"{lab['name']}: {lab['about']}".rstrip(": ")
    return "\n".join(
        [
            head,
            *table(("NODE", "SITE", "NAMESPACE", "LINE", "IPV4", "SEEN AS", "IPV6"), nodes),
            "",
            *table(("LINE", "SITE", "NOW", "NAT", "CARRIER", "STATE"), lines),
            *show_overlay.lines(lab),
        ]
    )


def _now(line: dict[str, Any]) -> str:
    words = _words(Impairment(line["delay_ms"] / 1e3, line["jitter_ms"] / 1e3, line["loss"], line["rate_bps"]))
    return words + "".join(f", no {word}" for word in line["block"])


def _health(line: dict[str, Any]) -> str:
    if line["carried_by"] == "forwarder" and not line["pid"]:
        return f"dead: netd lab heal {line['name']}"
    return "broken" if line["broken"] else "ok"
