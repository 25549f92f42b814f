"""Words and shapes of the overlay's pages."""

from __future__ import annotations

from garage.errors import N_

SITE_SHAPES: dict[str, str] = {
    "up": "ready",
    "joining": "working",
    "invited": "waiting",
    "paused": "stopped",
    "silent": "unreachable",
    "refusing": "failed",
    "copied": "failed",
}
SITE_STATES: dict[str, str] = {
    "up": N_("connected"),
    "joining": N_("joining"),
    "invited": N_("invited"),
    "paused": N_("paused"),
    "silent": N_("does not report"),
    "refusing": N_("refuses what it is told"),
    "copied": N_("its files are on two servers"),
}
"""Of sites and nodes, as `garage.services.sites` names them."""

LINK_SHAPES: dict[str, str] = {
    "up": "ready",
    "lossy": "waiting",
    "bad": "failed",
    "down": "unreachable",
    "waiting": "waiting",
    "draining": "working",
}
LINK_STATES: dict[str, str] = {
    "up": N_("up"),
    "lossy": N_("loses packets"),
    "bad": N_("loses many packets"),
    "down": N_("down"),
    "waiting": N_("no answer yet"),
    "draining": N_("being replaced"),
}
"""Of a link, and of the links of two sites together (`web.sitemap`)."""

INVITATION_SHAPES: dict[str, str] = {
    "open": "waiting",
    "used": "ready",
    "expired": "stopped",
    "withdrawn": "stopped",
}
INVITATION_STATES: dict[str, str] = {
    "open": N_("waits to be used"),
    "used": N_("used: the site joined"),
    "expired": N_("expired"),
    "withdrawn": N_("withdrawn"),
}

MEASUREMENT_STATES: dict[str, str] = {
    "waiting": N_("waits for its turn"),
    "running": N_("being measured"),
    "done": N_("measured"),
    "failed": N_("failed"),
}
"""Of a measurement of throughput (`garage.services.throughput`)."""

WAYS: dict[str, str] = {
    "open": N_("reachable from outside"),
    "cone": N_("behind NAT"),
    "symmetric": N_("behind a strict NAT"),
    "closed": N_("not in use"),
}
"""How a node is reached in one address family (`garage.core.topology.Way`)."""

REASONS: dict[str, str] = {
    "mesh": N_("all to all"),
    "hub": N_("to a hub"),
    "hub-hub": N_("between hubs"),
    "near": N_("a near site"),
    "site": N_("within the site"),
}
"""Why a link exists (`garage.core.topology.Reason`)."""

VOLUME_LEVELS: dict[str, str] = {
    "warn": N_("monthly volume nearly used"),
    "spare": N_("spared: others go other ways to save its volume"),
    "stop": N_("stopped: its monthly volume is used up"),
}
"""Of a line whose provider counts what passes (`netd/core/volume.py`)."""
