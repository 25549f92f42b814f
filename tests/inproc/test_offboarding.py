"""Somebody leaves: nothing lets them in any more, what was theirs has an owner or goes, keys leave running guests."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from garage.core.states import Event
from garage.db.models import ApiToken, Machine, Membership, Project, Session, SshKey, User
from garage.errors import GarageError
from garage.services import accounts, api_tokens, keys, machines, offboarding, projects, service_accounts
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.conftest import ALICE_KEY, Clock
from tests.inproc.rig import rigged
from tests.inproc.route_bodies import BOBS_KEY
from tests.inproc.served import play


def refused(code: str):
    return pytest.raises(GarageError, check=lambda error: error.code == code)


def ready(ctx: Context, who: Caller, name: str, project: str | None = None) -> str:
    made = machines.create(ctx, who, NewMachine(name=name, size="tiny", project=project))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED)
    return made.id


def machine(ctx: Context, ref: str) -> Machine:
    with ctx.db.read() as session:
        return session.get_one(Machine, ref)


def test_nothing_lets_them_in_any_more(ctx: Context, admin: Caller, alice: Caller) -> None:
    _, cookie = accounts.sign_in(ctx, "alice", "password of alice", "192.0.2.1")
    _, secret = api_tokens.create(ctx, alice, "ci")
    keys.add(ctx, alice, "laptop", ALICE_KEY)
    link = accounts.reset_link(ctx, admin, "alice")
    offboarding.offboard(ctx, admin, "alice")
    assert accounts.by_session(ctx, cookie) is None
    assert api_tokens.by_token(ctx, secret) is None
    with refused("link_expired"):
        accounts.invited(ctx, link)
    with refused("wrong_credentials"):
        accounts.sign_in(ctx, "alice", "password of alice", "192.0.2.1")
    with ctx.db.read() as session:
        for table in (ApiToken, Session, SshKey):
            assert session.scalars(select(table).where(table.user_id == alice.user_id)).first() is None
        assert session.get_one(User, alice.user_id).disabled


def test_what_was_theirs_goes_to_another(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    keys.add(ctx, alice, "laptop", ALICE_KEY)
    keys.add(ctx, bob, "laptop", BOBS_KEY)
    projects.create(ctx, alice, "arms")
    projects.create(ctx, bob, "legs")
    projects.set_member(ctx, bob, "legs", "alice", "member")
    service_accounts.create(ctx, alice, "arms", "robot")
    own, shared, others = (
        ready(ctx, alice, "own"),
        ready(ctx, alice, "shared", "arms"),
        ready(ctx, bob, "others", "legs"),
    )
    before = machine(ctx, own)
    done = offboarding.offboard(ctx, admin, "alice", to="bob")
    assert (sorted(done.projects), done.deleted) == (["alice", "arms"], 0)
    assert {(key.machine, key.project) for key in done.keys} == {
        ("own", "alice"),
        ("shared", "arms"),
        ("others", "legs"),
    }
    after = machine(ctx, own)
    assert (after.project_id, after.ipv4, after.state) == (before.project_id, before.ipv4, "ready")
    for ref in (own, shared, others):
        known = machine(ctx, ref)
        assert known.keys_applied is False
        assert all("bob@" in key for key in known.authorized_keys)
    for name in ("alice", "arms"):
        assert [member["name"] for member in projects.get(ctx, bob, name).members if member["role"] == "owner"] == [
            "bob"
        ]
    assert not projects.get(ctx, bob, "alice").personal
    with ctx.db.read() as session:
        assert session.scalars(select(Membership).where(Membership.user_id == alice.user_id)).first() is None


def test_or_is_deleted(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    own = ready(ctx, alice, "own")
    projects.create(ctx, alice, "arms")
    projects.set_member(ctx, alice, "arms", "bob", "owner")
    shared = ready(ctx, alice, "shared", "arms")
    done = offboarding.offboard(ctx, admin, "alice")
    assert (done.projects, done.deleted) == ([], 1)
    assert machine(ctx, own).state == "deleting"
    assert machine(ctx, shared).state == "ready", "it has another owner"


def test_nobody_is_left_without_an_owner(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    own = ready(ctx, alice, "own")
    projects.create(ctx, alice, "arms")
    projects.set_member(ctx, alice, "arms", "bob", "member")
    with refused("in_use"):
        offboarding.offboard(ctx, admin, "alice")
    assert machine(ctx, own).state == "ready", "nothing was done"
    assert accounts.sign_in(ctx, "alice", "password of alice", "192.0.2.1")


def test_who_and_to_whom(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    with refused("forbidden"):
        offboarding.offboard(ctx, alice, "bob")
    with refused("in_use"):
        offboarding.offboard(ctx, admin, admin.name)
    with refused("not_found"):
        offboarding.offboard(ctx, admin, "nobody")
    with refused("not_found"):
        offboarding.offboard(ctx, admin, "alice", to="nobody")
    with refused("invalid_field"):
        offboarding.offboard(ctx, admin, "alice", to="alice")
    accounts.set_disabled(ctx, admin, "bob", True)
    with refused("invalid_field"):
        offboarding.offboard(ctx, admin, "alice", to="bob")
    with refused("not_found"):
        offboarding.progress(ctx, admin, "alice")
    projects.create(ctx, alice, "arms")
    service_accounts.create(ctx, alice, "arms", "robot")
    with refused("wrong_state"):
        offboarding.offboard(ctx, admin, "robot")


def test_running_guests_forget_the_keys_and_who_could_not_is_said(
    ctx: Context, admin: Caller, alice: Caller, bob: Caller, clock: Clock
) -> None:
    with rigged(ctx, clock, alice) as rig:
        keys.add(ctx, alice, "laptop", ALICE_KEY)
        answers, off = rig.ready("one"), rig.ready("two")
        machines.stop(ctx, alice, off)
        rig.until(off, "stopping", "stopped")
        done = offboarding.offboard(ctx, admin, "alice", to="bob")
        assert {key.machine: key.state for key in done.keys} == {"one": "waiting", "two": "stopped"}
        rig.until_true(lambda: rig.row(answers).keys_applied)
        assert {key.machine: key.state for key in offboarding.progress(ctx, admin, "alice").keys} == {
            "one": "gone",
            "two": "stopped",
        }


def test_an_empty_personal_project_stays_nobodys(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    assert offboarding.offboard(ctx, admin, "alice", to="bob").projects == []
    with ctx.db.read() as session:
        assert session.scalars(select(Project.personal_of).where(Project.name == "alice")).one() == alice.user_id
