"""The way between two sites over the last hours: both directions, as each end measured it."""

from __future__ import annotations

from typing import Any

from flask import Response

from garage.errors import GarageError
from garage.services import sites, throughput
from garage.services.context import Caller
from web import chart, forms, overlay_view, site_words
from web.format import zone
from web.i18n import told
from web.pages.base import bp, to
from web.pages.site_base import site_view
from web.session import ctx, sites_reader

SPANS = (1, 6, 24)
"""Hours that may be looked at."""
MEASUREMENTS = 5
"""Of throughput, the latest."""


@bp.get("/sites/<ref>/to/<peer>")
def site_pair(ref: str, peer: str) -> Response:
    return _page(sites_reader(), forms.reference(ref), forms.reference(peer))


@bp.post("/sites/<ref>/to/<peer>/measure")
def site_measure(ref: str, peer: str) -> Response:
    """Order a measurement; its figures come to the page by themselves."""
    who, ref, peer = sites_reader(), forms.reference(ref), forms.reference(peer)
    try:
        throughput.measure(ctx(), who, ref, peer)
    except GarageError as error:
        if error.code == "not_found":
            raise
        return _page(who, ref, peer, error.kind.status, error=told(error))
    return to("site_pair", ref=ref, peer=peer)


def _page(who: Caller, ref: str, peer: str, status: int = 200, **more: Any) -> Response:
    hours = int(forms.query("hours", pattern="1|6|24") or 24)
    both = sites.get(ctx(), who, ref), sites.get(ctx(), who, peer)
    between = [link for link in sites.links(ctx(), who, ref) if peer in (link.a_site, link.b_site) and ref != peer]
    ways = [_way(who, one.name, other.name, hours) for one, other in (both, both[::-1])]
    return site_view(
        "sites/pair.html",
        status,
        pair=both,
        hours=hours,
        spans=SPANS,
        tie=next(iter(overlay_view.ties(between)), None),
        links=between,
        ways=ways,
        measurements=throughput.listing(ctx(), who, ref, peer)[:MEASUREMENTS] if ref != peer else [],
        measured_states=site_words.MEASUREMENT_STATES,
        **more,
    )


def _way(who: Caller, name: str, peer: str, hours: int) -> dict[str, Any]:
    """What `name` measured to `peer`, up to this minute."""
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
