"""The way between two sites over the last hours: both directions, as each end measured it."""

from __future__ import annotations

from typing import Any

from flask import Response

from garage.services import sites
from web import chart, forms, overlay_view
from web.format import zone
from web.pages.base import bp
from web.pages.site_base import site_view
from web.session import admin, ctx

SPANS = (1, 6, 24)
"""Hours that may be looked at."""


@bp.get("/sites/<ref>/to/<peer>")
def site_pair(ref: str, peer: str) -> Response:
    who, ref, peer = admin(), forms.reference(ref), forms.reference(peer)
    hours = int(forms.query("hours", pattern="1|6|24") or 24)
    both = sites.get(ctx(), who, ref), sites.get(ctx(), who, peer)
    between = [link for link in sites.links(ctx(), who, ref) if peer in (link.a_site, link.b_site) and ref != peer]
    ways = [_way(one.name, other.name, hours) for one, other in (both, both[::-1])]
    return site_view(
        "sites/pair.html",
        pair=both,
        hours=hours,
        spans=SPANS,
        tie=next(iter(overlay_view.ties(between)), None),
        links=between,
        ways=ways,
    )


def _way(name: str, peer: str, hours: int) -> dict[str, Any]:
    """What `name` measured to `peer`, up to this minute."""
    who = admin()
    kept = sites.history(ctx(), who, name, peer, min(24, hours + 1))
    minute = int(ctx().clock() // 60) - int(kept.start // 60)
    samples = kept.samples[max(0, minute + 1 - 60 * hours) : minute + 1]
    start = kept.start + 60 * max(0, minute + 1 - 60 * hours)
    return {
        "name": name,
        "peer": peer,
        "start": start,
        "figures": overlay_view.stretch(samples),
        "chart": chart.draw(samples, start, zone()),
    }
