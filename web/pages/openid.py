"""Coming in by the OpenID Connect provider: going there, coming back, and connecting an account that is here already."""

from __future__ import annotations

from typing import cast

from flask import Response, current_app, make_response, redirect, request, url_for

from garage.errors import N_, GarageError
from garage.services import openid
from garage.services.openid import Answer, Provider
from web import forms
from web.i18n import told
from web.pages.base import bp, page, to
from web.pages.entry import browser, code_page
from web.pages.proof import proof_first
from web.session import caller, ctx, drop_trip, safe_next, set_session, set_trip, trip, visitor

LONGEST = 4096
"""Characters of a code; providers put whole tokens into it."""


@bp.get("/sign-in/openid")
def openid_go() -> Response:
    """A link, not a form: a page's forms lead nowhere else (`form-action 'self'`). With `again`, whoever is signed in proves it anew."""
    following, again = safe_next(forms.query("next", limit=500)), forms.query("again") == "1"
    if visitor() and not again:
        return make_response(redirect(following, 303))
    try:
        url, sealed = openid.begin(ctx(), _provider(), following, again=again)
    except GarageError as error:
        return _refused(error)
    return set_trip(make_response(redirect(url, 303)), sealed, openid.PATIENCE)


@bp.get(openid.PATH)
def openid_back() -> Response:
    """The cookie of the way is good once, whatever comes of it."""
    who = visitor()
    try:
        arrived = openid.finish(ctx(), _provider(), trip(), _answer(), *browser(), here=who.caller if who else None)
    except GarageError as error:
        return drop_trip(_refused(error))
    following = safe_next(arrived.following)
    if arrived.passed:
        return drop_trip(page("code.html", **code_page(following, arrived.passed)))
    response = drop_trip(make_response(redirect(following, 303)))
    return set_session(response, arrived.cookie) if arrived.cookie else response


@bp.post("/account/openid")
@proof_first("account", "openid")
def openid_connect() -> Response:
    """Begun by a form of ours alone; the way there is a link on the page that answers it."""
    where = url_for("web.account", _anchor="openid")
    url, sealed = openid.begin(ctx(), _provider(), where, caller())
    return set_trip(page("openid_go.html", url=url), sealed, openid.PATIENCE)


@bp.post("/account/openid/remove")
@proof_first("account", "openid")
def openid_disconnect() -> Response:
    openid.settings(ctx())
    openid.disconnect(ctx(), caller())
    return to("account", _anchor="openid")


def _answer() -> Answer:
    said = {name: request.args.get(name, "")[:LONGEST] for name in ("state", "code", "error", "iss")}
    return Answer(said["state"], said["code"], said["error"], said["iss"])


def _provider() -> Provider:
    openid.settings(ctx())
    if found := current_app.extensions["garage_openid"]:
        return cast(Provider, found)
    raise GarageError("unavailable", N_("this process has no way to the provider"), hint=N_("tell an admin"))


def _refused(error: GarageError) -> Response:
    return page("openid_refused.html", error.kind.status, error=told(error))
