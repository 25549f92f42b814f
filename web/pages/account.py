"""My account: language, theme, API tokens, password, browsers that are signed in."""

from __future__ import annotations

from typing import Any

from flask import Response

from garage.core.scopes import ALL
from garage.errors import GarageError
from garage.services import accounts, api_tokens, openid, second_factor, sessions
from garage.services.vault import digest
from web import forms
from web.pages.base import bp, page, refused, to
from web.pages.entry import browser, typed_twice
from web.pages.proof import is_recent, proof_first
from web.session import caller, ctx, set_session, visitor

TOKEN_DAYS = (7, 30, 90, 365)


def shown(status: int = 200, error: GarageError | None = None, **more: Any) -> Response:
    """The page, or after a refusal the page with what was typed."""
    who, here = caller(), visitor()
    values = {
        "tokens": api_tokens.listing(ctx(), who),
        "token_days": TOKEN_DAYS,
        "codes_left": second_factor.codes_left(ctx(), who),
        "connected": openid.connected(ctx(), who),
        "proved": is_recent(),
        "sessions": sessions.listing(ctx(), who, current=digest(here.cookie) if here else ""),
        **more,
    }
    return refused("account.html", error, **values) if error else page("account.html", status, **values)


@bp.get("/account")
def account() -> Response:
    return shown(changed=forms.query("changed") == "1")


@bp.post("/account/tokens")
@proof_first("account", "tokens")
def token_create() -> Response:
    """The new token is in this one answer and nowhere else."""
    who = caller()
    try:
        days, scope = forms.number("days"), forms.text("scope", default=ALL)
        made, secret = api_tokens.create(
            ctx(), who, forms.text("name"), days=int(days) if days is not None else None, scope=scope
        )
    except GarageError as error:
        return shown(error=error)
    return shown(201, made=made, shown=secret)


@bp.post("/account/password")
@proof_first("account", "password")
def password_change() -> Response:
    """All other browsers are signed out; this one goes on."""
    try:
        cookie = accounts.change_password(ctx(), caller(), forms.secret("current"), typed_twice(), *browser())
    except GarageError as error:
        return shown(error=error, at="password")
    return set_session(to("account", changed="1"), cookie)


@bp.post("/account/tokens/<token_id>/delete")
def token_delete(token_id: str) -> Response:
    api_tokens.delete(ctx(), caller(), forms.reference(token_id))
    return to("account")


@bp.post("/account/sessions/<session_id>/end")
def session_end(session_id: str) -> Response:
    sessions.end(ctx(), caller(), forms.reference(session_id))
    return to("account")


@bp.post("/account/sessions/end")
def sessions_end() -> Response:
    """All but this one."""
    who, here = caller(), visitor()
    sessions.end_others(ctx(), who, current=digest(here.cookie) if here else "")
    return to("account")
