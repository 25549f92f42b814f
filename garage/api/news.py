"""Routes of news: one's inbox, and the ways out of the garage that they take."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Response
from pydantic import BaseModel, Field

from garage.api.base import answer, blueprint, caller, context, failure, items, locale, mutate, with_failure
from garage.api.schemas import Digits, FailureOut, In, MutationHeader, NameIn, NoQuery, Out, Ref, Text, Time, rfc3339
from garage.core.news import tell
from garage.services import channels, news
from garage.services.channels import NewChannel
from garage.services.context import Context
from garage.services.news import NewsView

api = blueprint("news", "news")
Kinds = Annotated[list[NameIn], Field(max_length=40, description="Kinds of news, as machine.failed: docs/news.md.")]
Locale = Literal["", "en", "ja"]
Way = Literal["mail", "json", "slack", "matrix"]


class NewsQuery(NoQuery):
    limit: Digits = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=20, pattern=r"^[0-9a-f]{20}$", description="What the page before gave.")
    only: Literal["all", "unread"] = "all"


class NewsOut(Out):
    id: str
    at: Time
    kind: str
    title: str = Field(description="In the caller's language …")
    text: str = Field(description="… as this.")
    path: str = Field(description="The page that helps, below the garage's address.")
    read_at: Time | None


class NewsList(BaseModel):
    items: list[NewsOut]
    cursor: str | None
    unread: int = Field(description="All that you have not read, counted up to 100.")


class ChannelQuery(NoQuery):
    project: str | None = Field(None, max_length=64, description="A project's instead of your own (owner).")


class ChannelIn(In):
    kind: Way
    name: Text = Field(min_length=1, max_length=64)
    url: Text = Field("", max_length=2000, description="Of a webhook, or of a Matrix homeserver.")
    room: Text = Field("", max_length=255, description="matrix: the room's id, as !abc:example.org.")
    token: Text = Field("", max_length=1000, description="matrix: the access token of the account that speaks.")
    address: Text = Field("", max_length=320, description="mail: it gets a code, and news when that is confirmed.")
    wanted: Kinds | None = Field(None, description="Default: what suits the kind.")
    project: NameIn | None = Field(None, description="Default: your own.")
    locale: Locale = Field("", description="Default: the language in which you read pages.")


class ChannelPatch(In):
    wanted: Kinds
    locale: Locale | None = Field(None, description="Default: as it is.")


class CodeIn(In):
    code: str = Field(pattern=r"^[0-9]{8}$")


class ChannelOut(Out):
    id: str
    kind: Way
    name: str
    where: str = Field(description="The address, or a webhook's server: the rest of it is told never again.")
    project: str | None
    locale: Locale
    wanted: list[str]
    confirmed: bool
    waiting: int = Field(description="News on their way to it.")
    failures: int = Field(description="Attempts in a row that failed.")
    error: FailureOut | None = Field(description="Of the last attempt, if that failed.")
    tried_at: Time | None
    sent_at: Time | None


class ChannelMade(ChannelOut):
    secret: str = Field(description="json: by which the receiver verifies webhook-signature. Shown this once.")


class ChannelList(BaseModel):
    items: list[ChannelOut]


@api.get("/news", responses={200: NewsList})
def list_news(query: NewsQuery) -> dict[str, Any]:
    """What concerns you, newest first."""
    ctx, who = context(), caller()
    page = news.listing(ctx, who, unread=query.only == "unread", cursor=query.cursor, limit=query.limit)
    found = [_told(view) for view in page.items]
    return items(NewsOut, found) | {"cursor": page.cursor, "unread": news.unread(ctx, who)}


@api.post("/news/read", responses={204: None})
def read_all_news(header: MutationHeader) -> Response:  # noqa: ARG001
    """All of them are read."""
    who = caller()
    return mutate(204, lambda ctx: news.read_all(ctx, who))


@api.post("/news/<ref>/read", responses={200: NewsOut})
def read_news(header: MutationHeader, path: Ref) -> Response:  # noqa: ARG001
    """One of them is read."""
    who = caller()
    return mutate(200, lambda ctx: answer(NewsOut, _told(news.read(ctx, who, path.ref))))


@api.get("/channels", responses={200: ChannelList})
def list_channels(query: ChannelQuery) -> dict[str, Any]:
    """By which ways news leave for you, or for a project."""
    return {"items": [with_failure(ChannelOut, view) for view in channels.listing(context(), caller(), query.project)]}


@api.post("/channels", responses={201: ChannelMade})
def add_channel(header: MutationHeader, body: ChannelIn) -> Response:  # noqa: ARG001
    """Add an e-mail address or a webhook."""
    who, wanted = caller(), NewChannel(**body.model_dump())

    def act(ctx: Context) -> dict[str, Any]:
        view, secret = channels.add(ctx, who, wanted)
        return with_failure(ChannelOut, view) | {"secret": secret}

    return mutate(201, act)


@api.patch("/channels/<ref>", responses={200: ChannelOut})
def change_channel(header: MutationHeader, path: Ref, body: ChannelPatch) -> Response:  # noqa: ARG001
    """Say which kinds of news go there."""
    who, given = caller(), body.model_dump()
    return mutate(200, lambda ctx: with_failure(ChannelOut, channels.change(ctx, who, path.ref, **given)))


@api.delete("/channels/<ref>", responses={204: None})
def remove_channel(header: MutationHeader, path: Ref) -> Response:  # noqa: ARG001
    """Remove it, with what is on its way to it."""
    who = caller()
    return mutate(204, lambda ctx: channels.remove(ctx, who, path.ref))


@api.post("/channels/<ref>/test", responses={200: ChannelOut})
def test_channel(header: MutationHeader, path: Ref) -> Response:  # noqa: ARG001
    """Send a test there; the list tells within seconds what became of it."""
    who = caller()
    return mutate(200, lambda ctx: with_failure(ChannelOut, channels.test(ctx, who, path.ref)))


@api.post("/channels/<ref>/confirm", responses={200: ChannelOut})
def confirm_channel(header: MutationHeader, path: Ref, body: CodeIn) -> Response:  # noqa: ARG001
    """Give the code that was sent to an e-mail address."""
    who = caller()
    found = channels.confirm(context(), who, path.ref, body.code)  # by itself: a wrong code is counted
    return mutate(200, lambda _ctx: with_failure(ChannelOut, found))


def _told(view: NewsView) -> dict[str, Any]:
    told = tell(view.kind, view.detail, locale(), stamp=rfc3339, explain=_in_words)
    said = {"title": told.title, "text": told.text, "path": told.path}
    return {"id": view.id, "at": view.at, "kind": view.kind, "read_at": view.read_at, **said}


def _in_words(error: dict[str, Any]) -> str:
    told = failure(error) or {}
    return f"{told['detail']} ({told['hint']})" if told["hint"] else told["detail"]
