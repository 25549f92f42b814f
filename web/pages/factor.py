"""My second factor: an app set up by scanning, keys, recovery codes, removal."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Response, request

from garage.core.passkeys import Place
from garage.errors import GarageError
from garage.services import passkeys, second_factor
from web import forms
from web.pages.base import bp, page, refused, to
from web.pages.proof import is_recent, proof_first
from web.session import caller, ctx, session_cookie


@bp.get("/account/second-factor")
def factor() -> Response:
    return shown()


def shown(error: GarageError | None = None, sealed: str = "", about: str = "app") -> Response:
    """The page; after a refusal with what was wrong, `about` one of its parts. What adds a factor is there after a fresh proof alone; what
    takes one away asks for a code or key itself."""
    who, proved = caller(), is_recent()
    here = passkeys.where(ctx())
    at_home = isinstance(here, Place) and urlsplit(here.origin).netloc == request.host
    values: dict[str, Any] = {
        "left": second_factor.codes_left(ctx(), who),
        "of_all": ctx().config.second_factor == "all",
        "app": second_factor.has_own_app(ctx(), who),
        "keys": passkeys.listing(ctx(), who),
        "asked": passkeys.asked(ctx(), who) if at_home else None,
        "making": passkeys.offer(ctx(), who) if at_home and proved else None,
        "at_home": at_home,
        "proved": proved,
        "place": here,
        "about": about,
    }
    if proved and not values["app"]:
        try:
            offer = second_factor.offered(ctx(), who, sealed) if sealed else second_factor.offer(ctx(), who)
        except GarageError:
            offer = second_factor.offer(ctx(), who)
        values |= {"offer": offer, "qr": _qr(offer.uri)}
    return refused("factor.html", error, **values) if error else page("factor.html", **values)


def _qr(uri: str) -> str:
    """Black on white in both themes: phones read it best."""
    import segno  # when it is needed: nothing else draws

    return str(segno.make(uri, error="m").svg_data_uri(scale=5, border=4, dark="#000", light="#fff"))


@bp.post("/account/second-factor")
@proof_first("factor")
def factor_enrol() -> Response:
    """The recovery codes are in this one answer and nowhere else."""
    sealed = forms.text("sealed", limit=2000)
    try:
        codes = second_factor.enrol(ctx(), caller(), sealed, forms.text("code"), cookie=session_cookie())
    except GarageError as error:
        return shown(error, sealed)
    return page("factor.html", 201, codes=codes) if codes else to("factor")


@bp.post("/account/second-factor/codes")
def factor_codes() -> Response:
    try:
        codes = second_factor.renew_codes(ctx(), caller(), forms.text("code"), forms.key_answer())
    except GarageError as error:
        return shown(error)
    return page("factor.html", 201, codes=codes)


@bp.post("/account/second-factor/remove")
def factor_remove() -> Response:
    try:
        second_factor.remove(ctx(), caller(), forms.text("code"), forms.key_answer())
    except GarageError as error:
        return shown(error)
    return to("account")
