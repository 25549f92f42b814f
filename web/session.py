"""Who looks at the page: the session cookie, and the token that every form carries against forged requests."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import cast
from urllib.parse import urlsplit

from flask import Response, current_app, g, request

from garage import tracing
from garage.errors import N_, GarageError
from garage.services import accounts
from garage.services.context import Caller, Context
from garage.services.rights import require_reader, require_sites
from garage.services.vault import digest
from garage.services.views import UserView

SESSION_COOKIE, VISIT_COOKIE, TRIP_COOKIE = "garage", "garage-visit", "garage-openid"
PREFERENCE_SECONDS = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in person and the cookie they hold."""

    caller: Caller
    user: UserView
    cookie: str


def ctx() -> Context:
    """That of this request."""
    if "ctx" not in g:
        g.ctx = replace(cast(Context, current_app.extensions["garage_web"]), request=tracing.current())
    return cast(Context, g.ctx)


def home() -> str:
    """The address by which people reach the garage, without a slash at its end: what `public_url` says, else what this request came to."""
    return ctx().config.public_url.rstrip("/") or request.host_url.rstrip("/")


def visitor() -> Visitor | None:
    """Who is signed in; read once per request."""
    if "visitor" not in g:
        g.visitor = _read()
    return cast("Visitor | None", g.visitor)


def _read() -> Visitor | None:
    cookie = request.cookies.get(_name(SESSION_COOKIE), "")
    found = accounts.by_session(ctx(), cookie) if cookie else None
    return Visitor(found[0], found[1], cookie) if found else None


def caller() -> Caller:
    """The signed-in person; raises `not_signed_in`."""
    if who := visitor():
        return who.caller
    raise GarageError("not_signed_in", N_("sign in to see this page"))


def session_cookie() -> str:
    """That of whoever is signed in."""
    who = visitor()
    return who.cookie if who else ""


def admin() -> Caller:
    """The signed-in admin; raises `forbidden` for everybody else."""
    who = caller()
    if not who.admin:
        raise GarageError("forbidden", N_("only an admin may do that"))
    return who


def reader() -> Caller:
    """The signed-in admin or auditor; raises `forbidden` for everybody else."""
    who = caller()
    require_reader(who)
    return who


def sites_reader() -> Caller:
    """The same, or an operator of any site."""
    who = caller()
    require_sites(who)
    return who


def _name(cookie: str) -> str:
    """`__Host-` binds a cookie to this host, this scheme and path / (RFC 6265bis); browsers take it over TLS only."""
    return f"__Host-{cookie}" if ctx().config.tls else cookie


def set_session(response: Response, cookie: str) -> Response:
    _set(response, _name(SESSION_COOKIE), cookie, accounts.SESSION_SECONDS)
    return response


def drop_session(response: Response) -> Response:
    response.delete_cookie(_name(SESSION_COOKIE), path="/", secure=ctx().config.tls, httponly=True, samesite="Lax")
    return response


def trip() -> str:
    """What this browser took along to the OpenID Connect provider."""
    return request.cookies.get(_name(TRIP_COOKIE), "")


def set_trip(response: Response, sealed: str, seconds: float) -> Response:
    """SameSite=Lax, as all of ours: the browser sends it when another site's redirect brings somebody back by GET."""
    _set(response, _name(TRIP_COOKIE), sealed, int(seconds))
    return response


def drop_trip(response: Response) -> Response:
    response.delete_cookie(_name(TRIP_COOKIE), path="/", secure=ctx().config.tls, httponly=True, samesite="Lax")
    return response


def set_preference(response: Response, name: str, value: str) -> None:
    """A choice of this browser (language, theme), kept for a year."""
    _set(response, name, value, PREFERENCE_SECONDS)


def _set(response: Response, name: str, value: str, seconds: int | None) -> None:
    response.set_cookie(name, value, max_age=seconds, path="/", secure=ctx().config.tls, httponly=True, samesite="Lax")


def csrf_token() -> str:
    """A token for this page's forms: the session (or, signed out, the visit) sealed with the garage's key."""
    if "csrf" not in g:
        g.csrf = ctx().vault.lock(_binding().encode()).decode()
    return cast(str, g.csrf)


def _binding() -> str:
    who = visitor()
    return "csrf:" + digest(who.cookie if who else _visit())


def _visit() -> str:
    """A random cookie of a browser that is not signed in; `remember_visit` sends it."""
    if "visit" not in g:
        g.visit = request.cookies.get(_name(VISIT_COOKIE)) or secrets.token_urlsafe(16)
        g.new_visit = _name(VISIT_COOKIE) not in request.cookies
    return cast(str, g.visit)


def remember_visit(response: Response) -> Response:
    if g.get("new_visit"):
        _set(response, _name(VISIT_COOKIE), g.visit, None)
    return response


def check_csrf() -> None:
    """Refuse what another site made the browser send: by Sec-Fetch-Site, by Origin, and by the form's own token."""
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    foreign = origin is not None and _host_of(origin) != request.host
    if site not in ("same-origin", "none") or foreign or not _token_fits(request.form.get("csrf", "")):
        raise GarageError(
            "csrf",
            N_("this form was sent from another page, or is too old"),
            hint=N_("load the page again and repeat what you did"),
        )


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _token_fits(token: str) -> bool:
    try:
        sealed = ctx().vault.unlock(token.encode())
    except (GarageError, ValueError):
        return False
    return secrets.compare_digest(sealed, _binding().encode())


def safe_next(target: str) -> str:
    """`target` if it is a path of this garage, else the machines: never a way to another host."""
    plain = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if plain and "\\" not in target and len(target) <= 500 else "/machines"
