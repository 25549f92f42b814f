"""What happens is told to whom it concerns, once, in the transaction in which it happens; the inbox is one's own."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from garage.core import news as words
from garage.core.states import Event
from garage.db.models import Machine
from garage.db.news_models import Channel, News, Outgoing
from garage.errors import GarageError
from garage.services import (
    channels,
    drains,
    image_tasks,
    machines,
    news,
    offboarding,
    projects,
    service_accounts,
    silencing,
)
from garage.services.channels import NewChannel
from garage.services.context import Caller, Context
from garage.services.image_tasks import NewImage
from garage.services.machines import NewMachine
from tests.conftest import Clock
from tests.inproc.rig import rigged
from tests.inproc.served import play

HOUR = 3600.0


def refused(code: str, pointer: str = ""):
    return pytest.raises(
        GarageError, check=lambda error: (error.code, error.pointer) == (code, pointer or error.pointer)
    )


def inbox(ctx: Context, who: Caller) -> list[str]:
    """The oldest first; of one moment by kind."""
    found = sorted(news.listing(ctx, who).items, key=lambda view: (view.at, view.kind))
    return [f"{view.kind} {view.detail.get('machine', '')}".strip() for view in found]


def outgoing(ctx: Context) -> list[tuple[str, str]]:
    """(name of the way out, kind)."""
    with ctx.db.read() as session:
        query = select(Channel.name, Outgoing.kind).join(Outgoing, Outgoing.channel_id == Channel.id)
        return sorted((name, kind) for name, kind in session.execute(query))


def ready(ctx: Context, who: Caller, name: str, project: str | None = None) -> str:
    made = machines.create(ctx, who, NewMachine(name=name, size="tiny", project=project))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED)
    return made.id


def hook(name: str, **more: object) -> NewChannel:
    return NewChannel(kind="slack", name=name, url="https://hooks.example.org/T1/secret", **more)  # type: ignore[arg-type]


def test_a_machine_is_ready_once_and_its_lease_is_told_step_by_step(ctx: Context, alice: Caller, clock: Clock) -> None:
    with rigged(ctx, clock, alice) as rig:
        ref = rig.ready("one")
        assert inbox(ctx, alice) == ["machine.ready one.alice"]
        machines.reboot(ctx, alice, ref)
        rig.until(ref, "stopping", "stopped", "booting", "ready")
        assert inbox(ctx, alice) == ["machine.ready one.alice"], "a reboot is no news"
        rig.settle()
        rig.pass_time(6 * 24 * HOUR + HOUR)
        rig.settle()
        rig.pass_time(24 * HOUR)
        rig.until(ref, "ready", "stopping", "stopped")
        rig.pass_time(73 * HOUR)
        rig.until(ref, "stopped", "deleting", "gone")
    told = [line.partition(" ")[0] for line in inbox(ctx, alice)]
    assert told == ["machine.ready", "lease.soon", "lease.ended", "lease.deleted"]
    [ended] = [view.detail for view in news.listing(ctx, alice).items if view.kind == "lease.ended"]
    with ctx.db.read() as session:
        assert ended["until"] == session.get_one(Machine, ref).lease_ended_at + ctx.config.lease_grace_hours * HOUR


def test_a_machine_that_fails_says_why_in_both_languages(ctx: Context, alice: Caller, clock: Clock) -> None:
    with rigged(ctx, clock, alice) as rig:
        ref = rig.make("one")
        rig.fake.faults.disk_full = True
        rig.until_true(lambda: rig.row(ref).state == "failed")
        rig.fake.faults.disk_full = False
    [view] = news.listing(ctx, alice).items
    assert view.kind == "machine.failed"
    assert view.detail["error"]["code"] == rig.row(ref).error["code"]
    said = {
        language: words.tell(view.kind, view.detail, language, stamp=str, explain=lambda error: error["code"])
        for language in ("en", "ja")
    }
    assert said["en"].title == "one.alice failed"
    assert said["ja"].title == "one.alice で問題が起きました"
    assert said["en"].path == "/machines/one.alice"


def test_whoever_asked_is_told_else_the_owners_and_the_projects_webhooks_always(
    ctx: Context, admin: Caller, alice: Caller, bob: Caller
) -> None:
    projects.create(ctx, alice, "arms")
    projects.set_member(ctx, alice, "arms", "bob", "member")
    channels.add(ctx, alice, hook("of-arms", project="arms"))
    channels.add(ctx, alice, hook("hers"))
    channels.add(ctx, bob, hook("his", wanted=["machine.moving"]))
    ready(ctx, bob, "his", "arms")
    drains.drain(ctx, admin, ctx.config.node)
    assert inbox(ctx, bob) == ["machine.moving his.arms", "project.added"]
    assert inbox(ctx, alice) == []
    assert outgoing(ctx) == [("his", "machine.moving"), ("of-arms", "machine.moving")]
    drains.activate(ctx, admin, ctx.config.node)
    projects.remove_member(ctx, alice, "arms", "bob")
    drains.drain(ctx, admin, ctx.config.node)
    assert inbox(ctx, bob)[-1] == "project.removed"
    assert inbox(ctx, alice) == ["machine.moving his.arms"]


def test_images_projects_and_nodes(ctx: Context, admin: Caller, alice: Caller, bob: Caller, clock: Clock) -> None:
    for name in ("mine", "other"):
        image_tasks.bring(ctx, alice, NewImage(name, "12" * 32, url="https://example.org/disk.qcow2"))
        task = image_tasks.claim(ctx, "server/1")
        assert task is not None
        if name == "mine":
            image_tasks.done(ctx, task, {"sha256": "34" * 32})
        else:
            image_tasks.failed(ctx, task, GarageError("timeout", "{host} is too slow", host="example.org"))
    assert inbox(ctx, alice) == ["image.done", "image.failed"]
    projects.create(ctx, alice, "arms")
    projects.set_member(ctx, alice, "arms", "bob", "member")
    projects.set_member(ctx, alice, "arms", "bob", "owner")
    projects.remove_member(ctx, bob, "arms", "bob")
    assert inbox(ctx, bob) == ["project.added"], "a role is no news, nor what one does oneself"
    with rigged(ctx, clock, alice) as rig:
        before = inbox(ctx, admin)
        silencing.record_silent(ctx, rig.hold, lost=True)
        silencing.record_silent(ctx, rig.hold, lost=True)
    assert inbox(ctx, admin) == [*before, "node.silent"]
    assert "node.silent" not in inbox(ctx, alice)


def test_what_is_refused_is_told_to_nobody(ctx: Context, admin: Caller, alice: Caller) -> None:
    """News and what happened are one transaction."""
    projects.create(ctx, alice, "arms")
    with refused("in_use"):
        projects.remove_member(ctx, alice, "arms", "alice")
    with refused("quota_exceeded"):
        machines.create_many(ctx, alice, NewMachine(name="m", size="tiny"), 9)
    assert inbox(ctx, alice) == []


def test_an_inbox_is_ones_own(ctx: Context, admin: Caller, alice: Caller, bob: Caller, clock: Clock) -> None:
    projects.create(ctx, alice, "arms")
    for name in ("arms", "alice"):
        projects.set_member(ctx, alice, name, "bob", "member")
    assert (news.unread(ctx, bob), news.unread(ctx, alice)) == (2, 0)
    first = news.listing(ctx, bob, limit=1)
    assert first.cursor is not None
    [second] = news.listing(ctx, bob, cursor=first.cursor).items
    for who in (alice, admin):
        with refused("not_found"):
            news.read(ctx, who, second.id)
    assert news.read(ctx, bob, second.id).read_at is not None
    assert news.read(ctx, bob, second.id).read_at == clock.now
    assert [view.id for view in news.listing(ctx, bob, unread=True).items] == [first.items[0].id]
    news.read_all(ctx, bob)
    assert news.unread(ctx, bob) == 0
    clock.forward(31 * 24 * HOUR)
    news.prune(ctx)
    assert news.listing(ctx, bob).items == []


def test_nobody_who_has_left_or_is_a_program_is_told(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    projects.create(ctx, alice, "arms")
    service_accounts.create(ctx, alice, "arms", "robot")
    projects.set_member(ctx, alice, "arms", "bob", "member")
    channels.add(ctx, bob, hook("his"))
    ready(ctx, bob, "his", "arms")
    offboarding.offboard(ctx, admin, "bob", to="alice")
    drains.drain(ctx, admin, ctx.config.node)
    assert inbox(ctx, alice) == ["machine.moving his.arms"]
    with ctx.db.read() as session:
        assert session.scalars(select(News).where(News.user_id != alice.user_id)).all() == []
        assert session.scalars(select(Channel)).all() == []


def test_a_project_that_closes_takes_its_webhooks_along(ctx: Context, alice: Caller) -> None:
    projects.create(ctx, alice, "arms")
    made, _ = channels.add(ctx, alice, hook("of-arms", project="arms"))
    channels.test(ctx, alice, made.id)
    projects.delete(ctx, alice, "arms")
    assert outgoing(ctx) == []
    with refused("not_found"):
        channels.test(ctx, alice, made.id)


def test_every_kind_is_told_in_both_languages_with_all_its_fields() -> None:
    detail = {"machine": "one.arms", "image": "mine", "project": "arms", "node": "lab2", "by": "bob", "until": 1.0, "way": "live",
              "error": {"code": "timeout"}, "organisation": "Lab", "channel": "me", "code": "12345678"}  # fmt: skip
    for kind in words.EVERY:
        said = [words.tell(kind, detail, language, stamp=str, explain=lambda e: e["code"]) for language in ("en", "ja")]
        for told in said:
            assert told.title
            assert told.text
            assert not {"{", "}"} & set(told.title + told.text), told
            assert told.path.startswith("/")
        assert said[0].title != said[1].title
    assert words.tell("of.later", {"machine": "a\nb"}, "en", stamp=str, explain=str).title == "of.later"
