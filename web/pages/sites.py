"""The overlay as its registry's admins see it: the map, the list, the grid of pairs; inviting a site, withdrawing an invitation."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from flask import Response, request

from garage.errors import N_, GarageError
from garage.services import invitations, own_site, paths, renumbering, sites
from garage.services.context import Caller, Context
from garage.services.idempotency import Answer, once
from garage.services.invitations import LONE, InvitationView
from garage.services.site_views import SiteView
from web import forms, overlay_view, sitemap
from web.i18n import told
from web.pages.base import bp, to
from web.pages.site_base import site_view
from web.session import admin, ctx, reader, sites_reader

ROWS = 50
GRID = 40
"""Sites of a grid; of more, the pairs are listed, the worst first."""
DRAWN = 12
"""Up to this many sites, the cells of the grid have a sparkline."""
HOURS = (1, 24, 7 * 24, 30 * 24)
"""How long an invitation may hold, as offered."""
PLAIN = 400
"""Of more links, those without trouble are drawn as plain lines, which tell their figures in the grid alone."""


@bp.get("/sites")
def sites_list() -> Response:
    who = sites_reader()
    view = forms.query("view", pattern="grid")
    return site_view("sites/grid.html" if view else "sites/list.html", **(_grid(who) if view else overview(who)))


def overview(who: Caller) -> dict[str, Any]:
    """Map, list and invitations. A site of one has neither of the first two."""
    found, asked = sites.listing(ctx(), who), invitations.listing(ctx(), who) if who.sees_all else []
    search, after = forms.query("search", limit=43), forms.query("after", limit=40, pattern=r"[01]\.[a-z0-9-]+")
    shown, cursor = overlay_view.rows(found, search, after, ROWS)
    return {
        **picture(who, found, [item.site for item in asked if item.state == "open" and not item.own]),
        "shown": shown,
        "cursor": cursor,
        "asked": {"search": search, "after": after},
        "invitations": [item for item in asked if not item.own],
        "hours": HOURS,
        "asks_own_name": not any(site.own for site in found) and own_site.own(ctx()).name == LONE,
        "volume_of": overlay_view.volume,
        "renumbering": renumbering.plan(ctx(), who) if who.sees_all else None,
        "own_name": next((site.name for site in found if site.own), ""),
        "once": secrets.token_urlsafe(12),
    }


def picture(who: Caller, found: list[SiteView], invited: list[str]) -> dict[str, Any]:
    """What the map is drawn from."""
    claims = overlay_view.claims(found)
    spots = sitemap.spots(overlay_view.places(found, invited, {claim.accused for claim in claims}))
    ties = overlay_view.ties(sites.links(ctx(), who))
    return {
        "sites": found,
        "member": None if found else own_site.membership(ctx()),
        "claims": claims,
        "accused": {claim.accused for claim in claims},
        "spots": spots,
        "ties": ties,
        "strokes": sitemap.strokes(ties, spots),
        "plain_links": len(ties) > PLAIN,
        "calm": sum(tie.look == "up" for tie in ties),
    }


def _grid(who: Caller) -> dict[str, Any]:
    """Site × site. Both directions are measured on their own, so the cell of a row and a column is what the row's site sees."""
    found = sites.listing(ctx(), who)
    ties = overlay_view.ties(sites.links(ctx(), who))
    names = [site.name for site in found]
    drawn = len(names) <= DRAWN
    kept = paths.recent(ctx(), who, names, hours=24 if drawn else 1) if len(names) <= GRID else {}
    worst = sorted(ties, key=lambda tie: (-sitemap.ORDER.index(tie.look), -(tie.loss or 0), -(tie.rtt_ms or 0)))
    return {
        "names": names,
        "own": {site.name for site in found if site.own},
        "cells": {(one, other): tie for tie in ties for one, other in ((tie.a, tie.b), (tie.b, tie.a))},
        "recent": {pair: overlay_view.stretch(samples[-60:]) for pair, samples in kept.items()},
        "lines": {pair: _line(samples) for pair, samples in kept.items()} if drawn else {},
        "worst": worst[:200] if len(names) > GRID else [],
        "all_ties": ties,
    }


def _line(samples: list[Any]) -> str:
    return sitemap.sparkline(overlay_view.thinned([sample.rtt_ms for sample in samples], 72), width=72, height=18)


@bp.post("/sites")
def site_invite() -> Response:
    """The line is in this one answer; whoever types it on a server makes that server's garage a member."""
    who = admin()
    try:
        made = _invite_once(who)
    except GarageError as error:
        return site_view("sites/list.html", error.kind.status, error=told(error), typed=request.form, **overview(who))
    return site_view("sites/list.html", 201, made=made, **overview(who))


def _invite_once(who: Caller) -> dict[str, Any]:
    """A form that is sent twice (a double click, a reload) invites once and shows the same line."""
    name, own = forms.text("name"), forms.text("own_name") or None
    hours = forms.number("hours")
    if hours is None:
        hours = 24.0
    if not name:
        raise GarageError("invalid_field", N_("the site needs a name"), hint=NAME_HINT, pointer="/name")
    asked = request.host_url.rstrip("/")
    print_ = hashlib.sha256(repr((name, own, hours)).encode()).hexdigest()

    def act(context: Context) -> Answer:
        view, token = invitations.invite(context, who, name, ttl=hours * 3600, own_name=own)
        url, reachable = invitations.registry_url(context, asked)
        body = {
            "id": view.id,
            "site": view.site,
            "until": view.expires_at,
            "line": invitations.line(token, url),
            "reachable": reachable,
            "token": token,
        }
        return Answer(201, body)

    key = forms.text("once") or secrets.token_urlsafe(12)
    answer: dict[str, Any] = once(ctx(), who, f"page-{key}", print_, act).body
    return answer


NAME_HINT = N_("name it after its place, e.g. tsukuba")


@bp.get("/site-invitations/<ref>")
def invitation_state(ref: str) -> Response:
    """How far the invited site is, for the notice that shows its line."""
    who, ref = reader(), forms.reference(ref)
    item = _invitation(who, ref)
    joined = next((site for site in sites.listing(ctx(), who) if site.name == item.site), None)
    return site_view("sites/_joined.html", item=item, joined=joined)


def _invitation(who: Caller, ref: str) -> InvitationView:
    if found := next((item for item in invitations.listing(ctx(), who) if item.id == ref), None):
        return found
    raise GarageError("not_found", N_("there is no invitation {ref}"), ref=ref[:64])


@bp.post("/site-invitations/<ref>/withdraw")
def invitation_withdraw(ref: str) -> Response:
    invitations.withdraw(ctx(), admin(), forms.reference(ref))
    return to("sites_list")
