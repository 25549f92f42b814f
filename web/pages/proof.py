"""The page that asks for a fresh proof, and what leads there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, make_response, redirect, url_for

from garage.errors import GarageError
from garage.services import proving
from web import forms
from web.pages.base import bp, page, refused, to
from web.pages.entry import browser
from web.session import caller, ctx, safe_next, session_cookie

View = Callable[..., Response]


def proof_first(endpoint: str, anchor: str | None = None) -> Callable[[View], View]:
    """Of a view for which a session alone is not enough: whoever has not proved it lately does that, and then comes to the page `endpoint`,
    to do again what they wanted."""

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(**path: Any) -> Response:
            caller()
            try:
                proving.require(ctx(), session_cookie())
            except GarageError:
                there = {"ref": path["ref"]} if "ref" in path else {}
                return to("proof", next=url_for(f"web.{endpoint}", **there, _anchor=anchor))
            return view(**path)

        return guarded

    return guard


def is_recent() -> bool:
    """Of the session that asks: pages show the way to a proof instead of forms that would be refused."""
    return proving.is_recent(ctx(), session_cookie())


@bp.get("/account/proof")
def proof() -> Response:
    following = safe_next(forms.query("next", limit=500))
    return page("proof.html", next=following, ways=proving.ways(ctx(), caller()))


@bp.post("/account/proof")
def proof_given() -> Response:
    following, who = safe_next(forms.text("next", limit=500)), caller()
    password, code, key = forms.secret("password"), forms.text("code"), forms.key_answer()
    try:
        proving.prove(ctx(), who, session_cookie(), password, code, browser()[0], key)
    except GarageError as error:
        return refused("proof.html", error, next=following, ways=proving.ways(ctx(), who))
    return make_response(redirect(following, 303))
