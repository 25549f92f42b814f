"""One site of the overlay: its nodes, links and alarms; new keys; removing it."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from garage.core.samples import Sample
from garage.errors import GarageError
from garage.services import paths, sites
from garage.services.context import Caller
from garage.services.site_views import LinkView
from web import forms, overlay_view, sitemap
from web.i18n import told
from web.pages.base import bp, to
from web.pages.site_base import site_view
from web.session import admin, caller, ctx, sites_reader


@bp.get("/sites/<ref>")
def site_page(ref: str) -> Response:
    return _page(sites_reader(), forms.reference(ref))


def _page(who: Caller, ref: str, status: int = 200, **more: Any) -> Response:
    site = sites.get(ctx(), who, ref)
    links = sorted(sites.links(ctx(), who, ref), key=lambda link: (_peer(link, ref), link.number))
    peers = sorted({_peer(link, ref) for link in links} - {ref})
    kept = paths.recent(ctx(), who, [ref, *peers])
    claims = overlay_view.claims(sites.listing(ctx(), who))
    return site_view(
        "sites/page.html",
        status,
        site=site,
        state=overlay_view.state_of(site),
        links=links,
        ties={tie.a if tie.b == ref else tie.b: tie for tie in overlay_view.ties(links)},
        lines={peer: _line(kept.get((ref, peer), [])) for peer in peers},
        accused=[claim for claim in claims if claim.accused == ref],
        accuses=[claim for claim in claims if claim.by == ref],
        other_alarms=overlay_view.others(site),
        said={node.name: overlay_view.volumes(node.problems) for node in site.nodes},
        **more,
    )


def _peer(link: LinkView, name: str) -> str:
    return link.b_site if link.a_site == name else link.a_site


def _line(samples: list[Sample]) -> str:
    return sitemap.sparkline(overlay_view.thinned([sample.rtt_ms for sample in samples], 96))


@bp.post("/sites/<ref>/place")
def site_place(ref: str) -> Response:
    """Where it stands on the map; two empty fields: nobody knows."""
    who, ref = sites_reader(), forms.reference(ref)
    try:
        sites.place(ctx(), who, ref, _place())
    except GarageError as error:
        if error.code != "invalid_field":
            raise
        return _page(who, ref, error.kind.status, error=told(error), typed=request.form)
    return to("site_page", ref=ref)


def _place() -> tuple[float, float] | None:
    latitude, longitude = forms.number("latitude"), forms.number("longitude")
    if latitude is None and longitude is None:
        return None
    missing = float("nan")  # in no range: what lacks one of the two is refused
    return (missing if latitude is None else latitude, missing if longitude is None else longitude)


@bp.post("/sites/<ref>/rotate")
def site_rotate(ref: str) -> Response:
    """Nodes make new key pairs; links change to them one by one."""
    site = sites.rotate(ctx(), caller(), forms.reference(ref))
    return to("site_page", ref=site.name, rotating=1)


@bp.get("/sites/<ref>/remove")
def site_remove_ask(ref: str) -> Response:
    who, ref = admin(), forms.reference(ref)
    site = sites.get(ctx(), who, ref)
    peers = {_peer(link, ref) for link in sites.links(ctx(), who, ref)} - {ref}
    return site_view("sites/remove.html", site=site, state=overlay_view.state_of(site), peers=sorted(peers))


@bp.post("/sites/<ref>/remove")
def site_remove(ref: str) -> Response:
    sites.remove(ctx(), admin(), forms.reference(ref))
    return to("sites_list")
