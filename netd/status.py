"""What `netd status` and `netd plan` say; plain values, ready for JSON. Reads kernel, FRR and files, changes nothing."""

from __future__ import annotations

import time
from typing import Any

from netd import told, volume
from netd.config import Config
from netd.core.documents import differences
from netd.core.link_report import Seen, link_states
from netd.core.overlay import interface
from netd.core.wanted import Tunnel, Wanted
from netd.errors import NetdError
from netd.overlay import Overlay
from netd.parts import make_overlay_of
from netd.shell import daemons, kernel
from netd.shell.controller import Controller
from netd.shell.registry import Registry
from netd.told import Told
from netd.wire import Link, News, SpecError

PLAN_WAIT = 0.0
"""A plan asks for what is there now."""


def look(config: Config) -> Overlay:
    """The node and its overlay as their last good documents say, classes as the daemon last measured them."""
    overlay = make_overlay_of(config)
    overlay.node.adopt()
    overlay.restore()
    if (known := told.read(overlay.home.path)) is not None:
        overlay.classes = dict(known.classes)
    return overlay


def status(config: Config) -> dict[str, Any]:
    """`overlay` is None for a node that has joined none."""
    overlay = look(config)
    node = overlay.node
    bridge = node.spec.bridge.name if node.spec else ""
    return {
        "node": config.node,
        "version": node.version,
        "bridge": bridge,
        "machines": len(node.spec.machines) if node.spec else 0,
        "running": sorted(daemons.running(config.state_dir)),
        "ipv6_uplink": kernel.has_uplink("-6"),
        "floor": list(node.floor(bridge).networks),
        "pending": [text[:200] for text in overlay.plan()],
        "problems": list(node.problems()),
        "overlay": overlay_status(overlay, time.time()),
    }


def overlay_status(overlay: Overlay, now: float) -> dict[str, Any] | None:
    """Membership, links, alarms. What only the daemon knows is null, and `daemon` false, where it has not run for a while."""
    member, spec, table = overlay.member, overlay.spec, overlay.table
    if member is None:
        return None
    known = told.read(overlay.home.path)
    report = known.report if known else None
    own = overlay.node.spec
    floor = overlay.node.floor(own.bridge.name) if own else None
    return {
        "registry": member.url,
        "site": member.site,
        "domain": table.domain if table else "",
        "asn": spec.asn if spec else None,
        "spec_version": overlay.versions[0],
        "table_version": overlay.versions[1],
        "sites": len(table.sites) if table else 0,
        "refusal": {"version": report.refusal.version, "code": report.refusal.code, "text": report.refusal.text}
        if report and report.refusal
        else None,
        "paused": overlay.paused,
        "capped": overlay.home.capped.exists(),
        "lines": volume.shown(overlay.config.state_dir, overlay.config.line),
        "daemon": bool(known and known.fresh(now)),
        "measured_at": known.at if known else None,
        "registry_heard_at": known.heard_at or None if known else None,
        "closed_here": [*overlay.strangers, *(overlay.view(own, floor).refused if own and floor else ())],
        "alarms": list(report.alarms) if report and known and known.fresh(now) else _alarms(overlay),
        "problems": list(report.problems) if report else [],
        "links": links(overlay, known),
    }


def _alarms(overlay: Overlay) -> list[str]:
    return list(overlay.routes.alarms(wanted)) if (wanted := overlay.wanted()) else []


def links(overlay: Overlay, known: Told | None) -> list[dict[str, Any]]:
    """One entry per link: state, counters and endpoint as they are now, measurements as the daemon wrote them down last."""
    wanted = overlay.wanted()
    if wanted is None:
        return []
    tunnels = overlay.tunnels.observe(wanted)
    states = link_states(wanted.spec, _seen(tunnels, known), overlay.routes.established(wanted), wanted.classes)
    since = known.since if known else {}
    before = {link.number: link.state for link in known.report.links} if known else {}
    found = []
    for link, state in zip(wanted.spec.links, states, strict=True):
        tunnel = tunnels.get(link.number)
        age = tunnel.handshake_age if tunnel else None
        found.append(
            _about(wanted, link)
            | {
                "state": state.state,
                "since": since.get(link.number) if before.get(link.number) == state.state else None,
                "handshake_age": None if age is None else round(age),
                "endpoint": tunnel.seen_at if tunnel else None,
                "class": state.preference,
                **{name: getattr(state, name) for name in ("rtt_ms", "jitter_ms", "loss", "mtu", "received", "sent")},
            }
        )
    return found


def _about(wanted: Wanted, link: Link) -> dict[str, Any]:
    return {
        "number": link.number,
        "interface": interface(wanted.instance, link.number),
        "peer_site": link.peer_site,
        "peer_node": link.peer_node,
        "peer_asn": link.peer_asn,
        "inside": link.peer_asn == wanted.spec.asn,
        "draining": link.state == "draining",
        "port": link.port,
        "candidates": list(link.endpoints),
    }


def _seen(tunnels: dict[int, Tunnel] | Any, known: Told | None) -> dict[int, Seen]:
    measured = {link.number: link for link in known.report.links} if known else {}
    return {
        number: Seen(
            handshake_age=tunnel.handshake_age,
            seen_at=tunnel.seen_at,
            received=tunnel.received,
            sent=tunnel.sent,
            mtu=tunnel.mtu,
            **{
                name: getattr(measured[number], name) if number in measured else None
                for name in ("rtt_ms", "jitter_ms", "loss")
            },
        )
        for number, tunnel in tunnels.items()
    }


def plan(config: Config) -> dict[str, Any]:
    """What both authorities' newest documents would change. `notes`: who could not be asked, and which document would be refused. Raises
    NetdError when nobody could be asked."""
    overlay = look(config)
    joined, notes, errors = overlay.member is not None, [], []
    sealed, news = None, None
    before = overlay.spec, overlay.table
    try:
        sealed = Controller(config).fetch(overlay.node.version, PLAN_WAIT)
    except NetdError as error:
        errors.append(error)
    try:
        news = _news(overlay) if joined else None
    except NetdError as error:
        errors.append(error)
    if len(errors) > joined:
        raise errors[0]
    notes += [str(error) for error in errors]
    try:
        overlay.check(news or News())
    except SpecError as error:
        notes.append(f"the registry's newest documents would be refused: {error.code}: {error.text}")
    after = overlay.spec, overlay.table
    return {
        "items": overlay.plan(sealed=sealed),
        "overlay": {
            "spec_version": [before[0].version if before[0] else 0, overlay.versions[0]],
            "table_version": [before[1].version if before[1] else 0, overlay.versions[1]],
            "changes": differences(before, after),
        }
        if joined
        else None,
        "notes": notes,
    }


def _news(overlay: Overlay) -> News | None:
    member = overlay.member
    if member is None:
        return None
    return Registry(member.url, member.pin, overlay.home.credential()).fetch(*overlay.versions, PLAN_WAIT)
