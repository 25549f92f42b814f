"""What `netd lab status` says about a lab's overlay."""

from __future__ import annotations

from typing import Any

from netd.lab import observe
from netd.lab.bringup import attach, overlay_state
from netd.lab.tables import table
from netd.lab.world import World


def describe(world: World) -> dict[str, Any]:
    """`overlay`: see bringup.overlay_state; with one that is up, `url`, `processes` by node and `links`."""
    state = overlay_state(world)
    if state != "up":
        return {"overlay": state, "processes": {}, "links": []}
    overlay = attach(world)
    return {
        **{"overlay": state, "url": overlay.url, "registry": overlay.registry},
        **{"processes": observe.running(world), "links": observe.links(observe.link_ends(overlay))},
    }


def lines(lab: dict[str, Any]) -> list[str]:
    """The overlay's part of the text; [] when there is none."""
    if lab["overlay"] == "bare":
        return []
    if lab["overlay"] != "up":
        how = (
            "is being started" if lab["overlay"] == "starting" else f"was left half built: netd lab down {lab['name']}"
        )
        return ["", f"the overlay {how}"]
    nodes = [(node, _running(found), _missing(found)) for node, found in lab["processes"].items()]
    links = [_link(row) for row in lab["links"]]
    return [
        *["", f"registry: {lab['url']} at {lab['registry']}"],
        *["", *table(("NODE", "PROCESSES", "STATE"), nodes)],
        *["", *table(("LINK", "FROM", "TO", "STATE", "SPOKEN TO AT", "AND BACK AT"), links)],
    ]


def _running(found: dict[str, Any]) -> str:
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in sorted(found["running"].items()))


def _missing(found: dict[str, Any]) -> str:
    return f"no {', '.join(found['missing'])}: netd lab heal" if found["missing"] else "ok"


def _link(row: dict[str, Any]) -> tuple[str, ...]:
    return str(row["number"]), row["a"], row["b"], row["state"], row["a_speaks_to"] or "-", row["b_speaks_to"] or "-"
