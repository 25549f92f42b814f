"""Ways out for news: e-mail and webhooks of a person, webhooks of a project (its owners'). What is secret of one is kept encrypted and told
never again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from garage.core.channels import KINDS, Target, check_target, make_secret, read_smtp, where
from garage.core.news import KINDS as NEWS
from garage.db.models import Audit, Project
from garage.db.news_models import Channel, News, Outgoing
from garage.errors import N_, GarageError
from garage.services import news
from garage.services.context import Caller, Context, audit
from garage.services.rights import project_for, require_owner

MOST = 10
"""Of one person, or of one project."""
MAIL_AN_HOUR = 5
"""Addresses that one person may have a code sent to: whoever owns an address has not asked for it yet."""
CODE_SECONDS, WRONG_CODES = 86_400.0, 5


@dataclass(frozen=True, slots=True)
class NewChannel:
    """`project` None: the caller's own. `wanted` None: what suits the kind."""

    kind: str
    name: str
    url: str = ""
    room: str = ""
    token: str = ""
    address: str = ""
    wanted: Sequence[str] | None = None
    project: str | None = None
    locale: str = ""


@dataclass(frozen=True, slots=True)
class ChannelView:
    id: str
    kind: str
    name: str
    where: str
    """The address, or the server of a webhook."""
    project: str | None
    locale: str
    wanted: list[str]
    confirmed: bool
    waiting: int
    """News on their way to it."""
    failures: int
    error: dict[str, Any] | None
    """Of the last attempt, if that failed."""
    tried_at: float | None
    sent_at: float | None


def listing(ctx: Context, caller: Caller, project: str | None = None) -> list[ChannelView]:
    """The caller's own, or a project's (owner)."""
    with ctx.db.read() as session:
        query = select(Channel).order_by(Channel.id)
        if project is None:
            query = query.where(Channel.user_id == caller.user_id)
        else:
            query = query.where(Channel.project_id == _project(session, caller, project).id)
        return [_view(session, ctx, row) for row in session.scalars(query)]


def add(ctx: Context, caller: Caller, wanted: NewChannel) -> tuple[ChannelView, str]:
    """(The new way out, the key by which a `json` webhook's receiver verifies it: shown this once). E-mail waits for its code."""
    name = _name(wanted.name)
    target = _target(ctx, wanted)
    with ctx.db.write() as session:
        project = _project(session, caller, wanted.project) if wanted.project is not None else None
        _check_count(session, caller, project)
        if wanted.kind == "mail":
            _check_mails(session, ctx, caller)
        kinds = _defaults(caller, wanted.kind, project) if wanted.wanted is None else list(wanted.wanted)
        _check_kinds(caller, project, kinds)
        row = Channel(
            id=ctx.new_id(), kind=wanted.kind, name=name, locale=_locale(wanted.locale), wanted=kinds,
            user_id=None if project else caller.user_id, project_id=project.id if project else None,
            target=_locked(ctx, target), confirmed=wanted.kind != "mail", wrong_codes=0, created_at=ctx.clock(), failures=0, retry_at=0.0,
        )  # fmt: skip
        session.add(row)
        session.flush()
        if wanted.kind == "mail":
            news.send(session, ctx, row, "confirm", {})
        _audit(session, ctx, caller, "channel.add", row)
        return _view(session, ctx, row), target.get("secret", "")


def change(ctx: Context, caller: Caller, ref: str, *, wanted: Sequence[str], locale: str | None = None) -> ChannelView:
    """Which kinds of news go there, and in which language."""
    with ctx.db.write() as session:
        row = _found(session, caller, ref)
        _check_kinds(caller, session.get(Project, row.project_id) if row.project_id else None, wanted)
        row.wanted = list(wanted)
        row.locale = row.locale if locale is None else _locale(locale)
        _audit(session, ctx, caller, "channel.change", row)
        return _view(session, ctx, row)


def remove(ctx: Context, caller: Caller, ref: str) -> None:
    """With what is on its way to it."""
    with ctx.db.write() as session:
        row = _found(session, caller, ref)
        _audit(session, ctx, caller, "channel.remove", row)
        forget(session, [row.id])


def test(ctx: Context, caller: Caller, ref: str) -> ChannelView:
    """Send a test there now, however long it has been failing; what became of it is in the view a little later."""
    with ctx.db.write() as session:
        row = _found(session, caller, ref)
        if not row.confirmed:
            raise GarageError(
                "wrong_state", N_("this address is not confirmed"), hint=N_("type the code that was sent there")
            )
        waiting = Outgoing.channel_id == row.id, Outgoing.kind == "test"
        if session.scalar(select(Outgoing.id).where(*waiting).limit(1)) is None:
            news.send(session, ctx, row, "test", {"channel": row.name})
        row.retry_at = 0.0
        _audit(session, ctx, caller, "channel.test", row)
        session.flush()
        return _view(session, ctx, row)


def confirm(ctx: Context, caller: Caller, ref: str, code: str) -> ChannelView:
    """The code proves that who asked can read what is sent to the address."""
    with ctx.db.write() as session:
        row = _found(session, caller, ref)
        target = unlocked(ctx, row.target)
        if row.confirmed:
            return _view(session, ctx, row)
        if row.wrong_codes >= WRONG_CODES or ctx.clock() > row.created_at + CODE_SECONDS:
            hint = N_("remove the address and add it again")
            raise GarageError("link_expired", N_("this code is no longer valid"), hint=hint)
        right = secrets.compare_digest(code.strip().encode(), target["code"].encode())
        if right:
            row.confirmed = True
            row.target = _locked(ctx, {"address": target["address"]})
            _audit(session, ctx, caller, "channel.confirm", row)
        else:
            row.wrong_codes += 1
        found = _view(session, ctx, row)
    if not right:  # the count of wrong ones is kept
        hint = N_("it is in the e-mail that was sent there")
        raise GarageError("wrong_credentials", N_("the code is wrong"), hint=hint, pointer="/code")
    return found


def forget(session: Session, ids: Sequence[str]) -> None:
    session.execute(delete(Outgoing).where(Outgoing.channel_id.in_(ids)))
    session.execute(delete(Channel).where(Channel.id.in_(ids)))


def forget_person(session: Session, user_id: str) -> None:
    """Somebody leaves: their inbox and their ways out, which hold secrets of theirs."""
    session.execute(delete(News).where(News.user_id == user_id))
    forget(session, list(session.scalars(select(Channel.id).where(Channel.user_id == user_id))))


def forget_project(session: Session, project_id: str) -> None:
    forget(session, list(session.scalars(select(Channel.id).where(Channel.project_id == project_id))))


def unlocked(ctx: Context, target: bytes) -> Target:
    found: Target = json.loads(ctx.vault.unlock(target))
    return found


def _locked(ctx: Context, target: Target) -> bytes:
    return ctx.vault.lock(json.dumps(target).encode())


def _name(name: str) -> str:
    if 0 < len(name) <= 64 and name.isprintable() and name.strip() == name:
        return name
    hint = N_("1 to 64 characters by which you know it")
    raise GarageError("invalid_field", N_("this name cannot be used"), hint=hint, pointer="/name")


def _target(ctx: Context, wanted: NewChannel) -> Target:
    if wanted.kind not in KINDS:
        hint = N_("docs/news.md says what each is for")
        allowed = ", ".join(KINDS)
        raise GarageError("invalid_field", N_("kind is one of {allowed}"), hint=hint, pointer="/kind", allowed=allowed)
    if wanted.kind == "mail" and wanted.project is not None:
        hint = N_("members add their own; a list has a webhook")
        raise GarageError("invalid_field", N_("a project has webhooks alone"), hint=hint, pointer="/kind")
    given = {name: getattr(wanted, name) for name in ("url", "room", "token", "address")}
    target = check_target(wanted.kind, secret=make_secret(ctx.rng.randbytes(32)), **given)
    if wanted.kind == "mail":
        if read_smtp(dict(ctx.config.smtp)) is None:
            hint = N_("an admin sets it up: [smtp] in garage.toml")
            raise GarageError("wrong_state", N_("this garage sends no e-mail"), hint=hint)
        target["code"] = f"{ctx.rng.randrange(10**8):08d}"
    return target


def _locale(locale: str) -> str:
    if locale in ("", "en", "ja"):
        return locale
    raise GarageError(
        "invalid_field", N_("a language is en or ja"), hint=N_("leave it out for your own"), pointer="/locale"
    )


def _defaults(caller: Caller, kind: str, project: Project | None) -> list[str]:
    possible = news.kinds_for(None if project else caller)
    return [name for name in possible if NEWS[name].by_mail] if kind == "mail" else possible


def _check_kinds(caller: Caller, project: Project | None, wanted: Sequence[str]) -> None:
    possible = news.kinds_for(None if project else caller)
    if len(set(wanted)) == len(wanted) and set(wanted) <= set(possible):
        return
    raise GarageError(
        "invalid_field",
        N_("news are of the kinds {allowed}"),
        hint=N_("name each at most once"),
        pointer="/wanted",
        allowed=", ".join(possible),
    )


def _check_count(session: Session, caller: Caller, project: Project | None) -> None:
    theirs = Channel.project_id == project.id if project else Channel.user_id == caller.user_id
    if (session.scalar(select(func.count()).select_from(Channel).where(theirs)) or 0) >= MOST:
        raise GarageError("quota_exceeded", N_("there are {limit} already"), hint=N_("remove one"), limit=MOST)


def _check_mails(session: Session, ctx: Context, caller: Caller) -> None:
    """A code is a letter to somebody who may not want one."""
    lately = Audit.actor == caller.name, Audit.action == "channel.mail", Audit.at > ctx.clock() - 3600
    if (session.scalar(select(func.count()).select_from(Audit).where(*lately)) or 0) >= MAIL_AN_HOUR:
        hint = N_("try again in an hour")
        raise GarageError("too_many_attempts", N_("you have asked for {limit} codes"), hint=hint, limit=MAIL_AN_HOUR)
    audit(session, ctx, caller.name, "channel.mail", caller.name)


def _project(session: Session, caller: Caller, ref: str) -> Project:
    project = project_for(session, caller, ref)
    require_owner(session, caller, project)
    return project


def _found(session: Session, caller: Caller, ref: str) -> Channel:
    """The caller's own, or one of a project that they own."""
    row = session.get(Channel, ref)
    if row is not None and row.user_id == caller.user_id:
        return row
    if row is not None and row.project_id is not None:
        try:
            _project(session, caller, row.project_id)
        except GarageError as error:
            if error.code != "not_found":
                raise
        else:
            return row
    raise GarageError("not_found", N_("there is no such way out"), hint=N_("“garage channel list” shows yours"))


def _audit(session: Session, ctx: Context, caller: Caller, action: str, row: Channel) -> None:
    audit(session, ctx, caller.name, action, row.name, project_id=row.project_id, id=row.id, kind=row.kind)


def _view(session: Session, ctx: Context, row: Channel) -> ChannelView:
    project = session.get_one(Project, row.project_id).name if row.project_id else None
    waiting = session.scalar(select(func.count()).select_from(Outgoing).where(Outgoing.channel_id == row.id)) or 0
    shown = where(row.kind, unlocked(ctx, row.target))
    return ChannelView(
        row.id, row.kind, row.name, shown, project, row.locale, list(row.wanted), row.confirmed, waiting,
        row.failures, row.error, row.tried_at, row.sent_at,
    )  # fmt: skip
