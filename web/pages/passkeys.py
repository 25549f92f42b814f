"""My security keys and passkeys: registered and removed on the page of the second factor."""

from __future__ import annotations

from flask import Response

from garage.errors import GarageError
from garage.services import second_factor
from garage.services.passkeys import Answer
from web import forms
from web.pages.base import bp, page, to
from web.pages.factor import shown
from web.pages.proof import proof_first
from web.session import caller, ctx, session_cookie


@bp.post("/account/passkeys")
@proof_first("factor", "passkeys")
def passkey_add() -> Response:
    """The first factor brings recovery codes, which are in this one answer."""
    try:
        answer = forms.key_answer() or Answer("", "")
        codes = second_factor.enrol_key(ctx(), caller(), forms.text("name"), answer, cookie=session_cookie())
    except GarageError as error:
        return shown(error, about="passkeys")
    return page("factor.html", 201, codes=codes) if codes else to("factor", _anchor="passkeys")


@bp.post("/account/passkeys/remove")
def passkey_remove() -> Response:
    try:
        second_factor.remove_key(
            ctx(), caller(), forms.reference(forms.text("key")), forms.text("code"), forms.key_answer()
        )
    except GarageError as error:
        return shown(error, about="passkeys")
    return to("factor", _anchor="passkeys")
