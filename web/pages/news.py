"""News of what concerns one: the inbox, and by which ways else they come."""

from __future__ import annotations

from flask import Response, request

from garage.core.channels import read_smtp
from garage.core.news import Told, label, tell
from garage.errors import GarageError
from garage.services import channels, news
from garage.services.channels import NewChannel
from garage.services.news import NewsView
from web import format as fmt
from web import forms, i18n
from web.pages.base import bp, page, refused, to
from web.session import caller, ctx, visitor

ID = "[0-9a-f]{20}"


def unread() -> int:
    """For the header; an error page is shown also while the database is away."""
    who = visitor()
    try:
        return news.unread(ctx(), who.caller) if who else 0
    except GarageError:
        return 0


def told(view: NewsView) -> Told:
    """Its words in the page's language."""
    language = i18n.locale()
    return tell(view.kind, view.detail, language, stamp=fmt.stamp, explain=lambda error: i18n.sentence(error, language))


@bp.get("/news")
def news_list() -> Response:
    who, cursor = caller(), forms.query("cursor", limit=20, pattern=ID)
    only = forms.query("only", pattern="unread")
    found = news.listing(ctx(), who, unread=bool(only), cursor=cursor or None)
    return page("news/list.html", found=found, cursor=cursor, only=only, told=told)


@bp.post("/news/<ref>/read")
def news_read(ref: str) -> Response:
    news.read(ctx(), caller(), forms.reference(ref))
    return to("news_list")


@bp.post("/news/read")
def news_read_all() -> Response:
    news.read_all(ctx(), caller())
    return to("news_list")


# --- ways out ---------------------------------------------------------------------------------------------------------


def shown(project: str | None, status: int = 200, error: GarageError | None = None, **more: object) -> Response:
    """The ways out of the visitor, or of a project; after a refusal with what was typed, but secrets."""
    who, language = caller(), i18n.locale()
    values = {
        "project": project,
        "ways": channels.listing(ctx(), who, project),
        "kinds": [(kind, label(kind, language)) for kind in news.kinds_for(None if project else who)],
        "by_mail": project is None and read_smtp(dict(ctx().config.smtp)) is not None,
        "failure": lambda way: i18n.told(GarageError.from_dict(way.error)) if way.error else None,
        **more,
    }
    return refused("news/ways.html", error, **values) if error else page("news/ways.html", status, **values)


@bp.get("/news/ways")
def news_ways() -> Response:
    return shown(None)


@bp.get("/projects/<ref>/ways")
def project_ways(ref: str) -> Response:
    return shown(forms.reference(ref))


@bp.post("/news/ways")
def way_add() -> Response:
    """The key of a signed webhook is in this one answer and nowhere else."""
    project = _project()
    try:
        wanted = NewChannel(
            kind=forms.text("kind"), name=forms.text("name"), url=forms.text("url", limit=2000), room=forms.text("room", limit=255),
            token=forms.secret("token", limit=1000).strip(), address=forms.text("address", limit=320), project=project,
        )  # fmt: skip
        made, secret = channels.add(ctx(), caller(), wanted)
    except GarageError as error:
        return shown(project, error=error)
    return shown(project, 201, made=made, secret=secret) if secret else _back(project)


@bp.post("/news/ways/<ref>")
def way_change(ref: str) -> Response:
    wanted = [name for name in request.form.getlist("wanted") if len(name) <= 64][:40]
    channels.change(ctx(), caller(), forms.reference(ref), wanted=wanted, locale=forms.text("locale"))
    return _back(_project())


@bp.post("/news/ways/<ref>/confirm")
def way_confirm(ref: str) -> Response:
    try:
        channels.confirm(ctx(), caller(), forms.reference(ref), forms.text("code"))
    except GarageError as error:
        return shown(_project(), error=error)
    return _back(_project())


@bp.post("/news/ways/<ref>/<any(test, delete):what>")
def way_do(ref: str, what: str) -> Response:
    act = channels.test if what == "test" else channels.remove
    act(ctx(), caller(), forms.reference(ref))
    return _back(_project())


def _project() -> str | None:
    return forms.text("project") or None


def _back(project: str | None) -> Response:
    return to("project_ways", ref=project) if project else to("news_ways")
