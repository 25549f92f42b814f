"""Adds the pages to a Flask app: blueprint, languages, words for templates, errors as pages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, current_app, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from garage import __version__
from garage.errors import N_, GarageError
from garage.services.context import Context
from garage.services.openid import Provider
from web import format as fmt
from web import i18n, words
from web.pages import announcement, entry, news
from web.pages.base import bp, live
from web.security import harden
from web.session import check_csrf, csrf_token, ctx, home, remember_visit, visitor

WITHOUT_FACTOR = {
    f"web.{name}"
    for name in (
        "static",
        "announcement_read",
        "factor",
        "factor_enrol",
        "openid_back",
        "openid_go",
        "passkey_add",
        "proof",
        "proof_given",
        "sign_out",
        "preferences",
        "welcome",
        "welcome_now",
    )
}
"""Open to somebody who needs a second factor and has none yet."""
STATIC = Path(__file__).parent / "static"
STYLES = ("tokens", "base", "layout", "forms", "components", "machines")


def register(app: Flask, context: Context, *, provider: Provider | None = None) -> None:
    """Add all pages. `app` may serve `/api/v1` already: its error answers there stay its own. `provider`: of OpenID Connect."""
    app.extensions["garage_web"], app.extensions["garage_openid"] = context, provider
    i18n.install(app)
    app.jinja_options = {**app.jinja_options, "trim_blocks": True, "lstrip_blocks": True}
    app.register_blueprint(bp)
    _errors(app)


@bp.before_request
def _guard() -> None:
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        check_csrf()
    if request.endpoint not in WITHOUT_FACTOR and (who := visitor()) and who.user.lacks_factor:
        raise GarageError(
            "second_factor",
            N_("your account needs a second factor first"),
            hint=N_("the page “second factor” leads you through that"),
        )


@bp.after_request
def _finish(response: Response) -> Response:
    return harden(remember_visit(response))


@bp.app_context_processor
def _for_templates() -> dict[str, Any]:
    """Names that every template knows."""
    texts = i18n.texts()
    return {
        "fmt": fmt,
        "words": words,
        "word": _word,
        "who": visitor(),
        "csrf": csrf_token,
        "locale": texts.locale,
        "_": texts.gettext,
        "ngettext": texts.ngettext,
        "theme": entry.theme(),
        "back": entry.back,
        "announcement": announcement.shown,
        "asset": _asset,
        "styles": STYLES,
        "version": __version__,
        "organisation": ctx().config.organisation,
        "cli": _cli,
        "home": home,
        "openid": ctx().config.openid,
        "outside": ctx().config.outside,
        "now": fmt.now(),
        "why": lambda machine: i18n.told(GarageError.from_dict(machine.error)),
        "lease_strip": fmt.lease,
        "unread_news": news.unread,
        "with_query": _with_query,
    }


def _word(table: dict[str, str], key: str) -> str:
    """The word for a key in the page's language; a key without a word stands for itself, and a figure behind a key is percent."""
    name, _, figure = key.partition(" ")
    if figure.isdigit():
        return f"{_word(table, name)} {figure} %"
    return i18n.gettext(table[key]) if key in table else key


def _asset(name: str) -> str:
    """A static file's address; it changes with the content, so that browsers may keep it for ever."""
    return url_for("web.static", filename=name, v=_version(name, (STATIC / name).stat().st_mtime_ns))


@cache
def _version(name: str, _changed: int) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]


def _cli() -> str:
    """How the command line comes to one's own computer."""
    return f"pip install {home()}/cli/garage_cli-{__version__}-py3-none-any.whl"


def _with_query(**changes: str) -> str:
    """This page's address with other values in its query."""
    values = {**request.args.to_dict(), **changes}
    query = urlencode({name: value for name, value in values.items() if value})
    return f"{request.path}?{query}" if query else request.path


def _errors(app: Flask) -> None:
    """Pages for people; what `/api/` answered before is still its answer."""
    for kind in (GarageError, HTTPException, Exception):
        before = app.error_handler_spec[None][None].get(kind)
        app.register_error_handler(kind, _choose(before))


def _choose(before: Callable[[Any], Any] | None) -> Callable[[Exception], ResponseReturnValue]:
    def handle(error: Exception) -> ResponseReturnValue:
        if before is not None and _for_programs():
            answer: ResponseReturnValue = before(error)
            return answer
        response = make_response(_told(_as_garage(error)))
        return response if request.blueprint == bp.name else _finish(response)

    return handle


def _for_programs() -> bool:
    return request.blueprint != bp.name and (
        request.path.startswith("/api/") or request.path in ("/metrics", "/healthz", "/readyz")
    )


def _as_garage(error: Exception) -> GarageError:
    """Any exception as one of ours; a defect is logged with its trace and told without it."""
    if isinstance(error, GarageError):
        return error
    if isinstance(error, HTTPException):
        return _http(error)
    current_app.logger.error("unhandled error on %s %s", request.method, request.path, exc_info=error)
    return GarageError("internal", N_("an error of ours"), hint=N_("the log of the web process has the details"))


def _http(error: HTTPException) -> GarageError:
    known = {
        404: GarageError("not_found", N_("there is nothing at this address"), hint=N_("the menu shows what there is")),
        405: GarageError("method_not_allowed", N_("{method} is not possible here"), method=request.method),
        413: GarageError("too_large", N_("what was sent is too large"), hint=N_("send less at a time")),
    }
    fallback = GarageError("malformed_request", N_("the request cannot be read"), hint=N_("go back and try again"))
    return known.get(error.code or 400, fallback)


def _told(error: GarageError) -> ResponseReturnValue:
    """To the sign-in page, a notice for htmx, or a page."""
    if error.code == "not_signed_in" and request.method in ("GET", "HEAD"):
        where = url_for("web.sign_in", next=entry.back() if request.path != "/" else None)
        return _moved(where) if live() else redirect(where, 303)
    if error.code == "second_factor" and visitor():
        return _moved(url_for("web.factor")) if live() else redirect(url_for("web.factor"), 303)
    told = i18n.told(error)
    if live():
        headers = {"HX-Retarget": "#notices", "HX-Reswap": "innerHTML", "HX-Reselect": ".notice"}
        return render_template("_notice.html", error=told), told.status, headers
    return render_template("error.html", error=told), told.status


def _moved(where: str) -> Response:
    response = make_response("", 204)
    response.headers["HX-Redirect"] = where
    return response
