"""Coming in and going out: sign in, one-time link, sign out, language and theme."""

from __future__ import annotations

from typing import Any

from flask import Response, make_response, redirect, request, url_for

from garage.errors import N_, GarageError
from garage.services import accounts, codes
from web import forms
from web.i18n import LOCALE_COOKIE, LOCALES
from web.pages.base import bp, page, refused, to
from web.session import ctx, drop_session, safe_next, set_preference, set_session, visitor

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "garage-theme"


@bp.get("/")
def home() -> Response:
    return to("machines_list")


@bp.get("/sign-in")
def sign_in() -> Response:
    if visitor():
        return make_response(redirect(safe_next(forms.query("next", limit=500)), 303))
    return page("signin.html", next=safe_next(forms.query("next", limit=500)), set=forms.query("set") == "yes")


@bp.post("/sign-in")
def sign_in_now() -> Response:
    """With a second factor this is the first of two steps."""
    following = safe_next(forms.text("next", limit=500))
    try:
        name, password = forms.text("name"), forms.secret("password")
        cookie, passed = codes.begin(ctx(), name, password, *browser())
    except GarageError as error:
        return refused("signin.html", error, next=following)
    if passed:
        return page("code.html", **code_page(following, passed))
    return set_session(make_response(redirect(following, 303)), cookie)


@bp.post("/sign-in/code")
def sign_in_code() -> Response:
    following = safe_next(forms.text("next", limit=500))
    passed = forms.text("passed", limit=2000)
    try:
        _, cookie = codes.finish(ctx(), passed, forms.text("code"), *browser(), key=forms.key_answer())
    except GarageError as error:
        if error.code == "wrong_credentials":
            return refused("code.html", error, **code_page(following, passed))
        return refused("signin.html", error, next=following)
    return set_session(make_response(redirect(following, 303)), cookie)


def code_page(following: str, passed: str) -> dict[str, Any]:
    """What the second step's page shows."""
    return {"next": following, "passed": passed, "wanted": codes.asked(ctx(), passed)}


@bp.post("/sign-out")
def sign_out() -> Response:
    if who := visitor():
        accounts.sign_out(ctx(), who.cookie)
    return drop_session(to("sign_in"))


@bp.get("/welcome/<token>")
def welcome(token: str) -> Response:
    """Looking at a one-time link does not use it up: mail programs fetch links, too."""
    return page("welcome.html", token=token, user=accounts.invited(ctx(), forms.reference(token)))


@bp.post("/welcome/<token>")
def welcome_now(token: str) -> Response:
    user = accounts.invited(ctx(), forms.reference(token))
    try:
        _, cookie = accounts.accept_invitation(ctx(), token, typed_twice(), *browser())
    except GarageError as error:
        return refused("welcome.html", error, token=token, user=user)
    return set_session(to("machines_list"), cookie) if cookie else to("sign_in", set="yes")


def browser() -> tuple[str, str]:
    """Where the request comes from, and what its browser calls itself."""
    agent = request.headers.get("User-Agent", "")
    return request.remote_addr or "", "".join(c for c in agent if c.isprintable())


def typed_twice() -> str:
    """The new password, the same in both fields."""
    if (password := forms.secret("password")) == forms.secret("again"):
        return password
    raise GarageError("invalid_field", N_("the two passwords differ"), hint=N_("type it again"), pointer="/again")


@bp.post("/preferences")
def preferences() -> Response:
    """Language and theme, each of them optional; back to the page they were chosen on."""
    response = make_response(redirect(safe_next(forms.text("next", limit=500)), 303))
    if locale := forms.text("locale"):
        _choose_locale(response, locale)
    if theme := forms.text("theme"):
        set_preference(response, THEME_COOKIE, _one_of("theme", theme, THEMES))
    return response


def _choose_locale(response: Response, locale: str) -> None:
    set_preference(response, LOCALE_COOKIE, _one_of("locale", locale, (*LOCALES, "auto")))
    if who := visitor():
        accounts.set_locale(ctx(), who.caller, "" if locale == "auto" else locale)


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> str:
    if value in allowed:
        return value
    raise GarageError(
        "invalid_field", N_("{field} is one of {allowed}"), pointer=f"/{field}", field=field, allowed=", ".join(allowed)
    )


def theme() -> str:
    """The theme of this request: "auto", "light" or "dark"."""
    chosen = request.cookies.get(THEME_COOKIE, "auto")
    return chosen if chosen in THEMES else "auto"


def back() -> str:
    """The address to which a preference form returns: this page, where it can be loaded again."""
    return request.full_path.rstrip("?") if request.method == "GET" else url_for("web.home")
