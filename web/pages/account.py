"""My account: language, theme, API tokens."""

from __future__ import annotations

from flask import Response, request

from garage.errors import GarageError
from garage.services import accounts
from web import forms
from web.pages.base import bp, page, refused, to
from web.pages.entry import typed_twice
from web.session import caller, ctx, set_session

TOKEN_DAYS = (7, 30, 90, 365)


@bp.get("/account")
def account() -> Response:
    return page(
        "account.html",
        tokens=accounts.list_tokens(ctx(), caller()),
        token_days=TOKEN_DAYS,
        changed=forms.query("changed") == "1",
    )


@bp.post("/account/tokens")
def token_create() -> Response:
    """The new token is in this one answer and nowhere else."""
    who = caller()
    try:
        days = forms.number("days")
        made, shown = accounts.create_token(
            ctx(), who, forms.text("name"), days=int(days) if days is not None else None
        )
    except GarageError as error:
        return refused("account.html", error, tokens=accounts.list_tokens(ctx(), who), token_days=TOKEN_DAYS)
    tokens = accounts.list_tokens(ctx(), who)
    return page("account.html", 201, tokens=tokens, token_days=TOKEN_DAYS, made=made, shown=shown)


@bp.post("/account/password")
def password_change() -> Response:
    """All other browsers are signed out; this one goes on."""
    try:
        cookie = accounts.change_password(
            ctx(), caller(), forms.secret("current"), typed_twice(), request.remote_addr or ""
        )
    except GarageError as error:
        return refused(
            "account.html", error, tokens=accounts.list_tokens(ctx(), caller()), token_days=TOKEN_DAYS, at="password"
        )
    return set_session(to("account", changed="1"), cookie)


@bp.post("/account/tokens/<token_id>/delete")
def token_delete(token_id: str) -> Response:
    accounts.delete_token(ctx(), caller(), forms.reference(token_id))
    return to("account")
