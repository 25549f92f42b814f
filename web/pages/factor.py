"""My second factor: set up by scanning, recovery codes, removal."""

from __future__ import annotations

from typing import Any

from flask import Response

from garage.errors import GarageError
from garage.services import second_factor
from web import forms
from web.pages.base import bp, page, refused, to
from web.session import caller, ctx


@bp.get("/account/second-factor")
def factor() -> Response:
    return _shown()


def _shown(error: GarageError | None = None, sealed: str = "") -> Response:
    who = caller()
    left = second_factor.codes_left(ctx(), who)
    values: dict[str, Any] = {"left": left, "of_all": ctx().config.second_factor == "all"}
    if left is None:
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
def factor_enrol() -> Response:
    """The recovery codes are in this one answer and nowhere else."""
    sealed = forms.text("sealed", limit=2000)
    try:
        codes = second_factor.enrol(ctx(), caller(), sealed, forms.text("code"))
    except GarageError as error:
        return _shown(error, sealed)
    return page("factor.html", 201, codes=codes, left=len(codes))


@bp.post("/account/second-factor/codes")
def factor_codes() -> Response:
    try:
        codes = second_factor.renew_codes(ctx(), caller(), forms.text("code"))
    except GarageError as error:
        return _shown(error)
    return page("factor.html", 201, codes=codes, left=len(codes))


@bp.post("/account/second-factor/remove")
def factor_remove() -> Response:
    try:
        second_factor.remove(ctx(), caller(), forms.text("code"))
    except GarageError as error:
        return _shown(error)
    return to("account")
