"""People: passwords, sessions, one-time links, roles, projects."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from garage import bootstrap
from garage.db.models import Audit, Invitation, Machine, Membership, User
from garage.errors import GarageError
from garage.services import accounts, api_tokens, keys, machines, projects
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.conftest import ALICE_KEY, Clock, member, on_disk


def refused(code: str):
    return pytest.raises(GarageError, check=lambda error: error.code == code)


def test_passwords_are_argon2id_and_links_and_cookies_are_only_hashes(ctx: Context, admin: Caller) -> None:
    _, link = accounts.create_user(ctx, admin, "carol")
    _, cookie = accounts.accept_invitation(ctx, link, "carols password", "192.0.2.1")
    with ctx.db.read() as session:
        stored = session.scalars(select(User).where(User.name == "carol")).one().password_hash
        assert stored.startswith("$argon2id$")
        assert link not in {row.hash for row in session.scalars(select(Invitation))}
    assert accounts.by_session(ctx, cookie) is not None
    dump = on_disk(ctx)
    assert b"carol" in dump
    for secret in (link, cookie, "carols password"):
        assert secret.encode() not in dump


def test_a_session_ends_by_time_by_sign_out_and_by_a_new_password(ctx: Context, admin: Caller, clock: Clock) -> None:
    alice = member(ctx, admin, "alice")
    cookies = [accounts.sign_in(ctx, "alice", "password of alice", "192.0.2.1")[1] for _ in range(3)]
    accounts.sign_out(ctx, cookies[0])
    assert accounts.by_session(ctx, cookies[0]) is None
    clock.forward(accounts.SESSION_SECONDS + 1)
    assert accounts.by_session(ctx, cookies[1]) is None
    clock.forward(-accounts.SESSION_SECONDS - 1)
    accounts.accept_invitation(ctx, accounts.reset_link(ctx, admin, "alice"), "a newer password", "192.0.2.1")
    assert accounts.by_session(ctx, cookies[2]) is None
    with refused("wrong_credentials"):
        accounts.sign_in(ctx, "alice", "password of alice", "192.0.2.1")
    assert accounts.sign_in(ctx, "alice", "a newer password", "192.0.2.1")[0] == alice


def test_a_password_set_anew_by_a_link_ends_tokens_and_one_that_is_changed_does_not(
    ctx: Context, admin: Caller, alice: Caller, bob: Caller
) -> None:
    hers, his = (api_tokens.create(ctx, who, "ci")[1] for who in (alice, bob))
    accounts.change_password(ctx, alice, "password of alice", "a second password", "192.0.2.1")
    assert api_tokens.by_token(ctx, hers) == alice
    link = accounts.reset_link(ctx, admin, "alice")
    assert api_tokens.by_token(ctx, hers) == alice
    assert accounts.invited(ctx, link).has_password
    accounts.accept_invitation(ctx, link, "a third password", "192.0.2.1")
    assert api_tokens.by_token(ctx, hers) is None
    assert api_tokens.listing(ctx, alice) == []
    assert api_tokens.by_token(ctx, his) == bob


def test_the_servers_own_token_outlives_a_new_password(ctx: Context, admin: Caller, tmp_path: Path) -> None:
    path = tmp_path / "admin.token"
    bootstrap._admin_token(ctx, path, admin)
    first, other = path.read_text(), api_tokens.create(ctx, admin, "make up")[1]
    for password in ("the first password", "a second password"):
        assert api_tokens.by_token(ctx, other) == admin  # a first password ends nothing: nobody had one before
        link = accounts.reset_link(ctx, admin, "root-admin")
        accounts.accept_invitation(ctx, link, password, "192.0.2.1")
    assert api_tokens.by_token(ctx, other) is None
    bootstrap._admin_token(ctx, path, admin)
    assert path.read_text() == first
    assert [view.name for view in api_tokens.listing(ctx, admin)] == ["make up"]
    api_tokens.delete(ctx, admin, api_tokens.listing(ctx, admin)[0].id)
    bootstrap._admin_token(ctx, path, admin)
    assert path.read_text() != first
    assert api_tokens.by_token(ctx, path.read_text().strip()) == admin


def test_a_link_works_once_and_for_three_days(ctx: Context, admin: Caller, clock: Clock) -> None:
    _, link = accounts.create_user(ctx, admin, "carol")
    assert accounts.invited(ctx, link).name == "carol"
    with refused("invalid_field"):
        accounts.accept_invitation(ctx, link, "short", "192.0.2.1")
    clock.forward(accounts.INVITATION_SECONDS + 1)
    with refused("link_expired"):
        accounts.accept_invitation(ctx, link, "long enough now", "192.0.2.1")
    newer = accounts.reset_link(ctx, admin, "carol")
    accounts.accept_invitation(ctx, newer, "long enough now", "192.0.2.1")
    with refused("link_expired"):
        accounts.invited(ctx, newer)


def test_who_is_disabled_gets_no_link_that_leads_nowhere(ctx: Context, admin: Caller, alice: Caller) -> None:
    accounts.set_disabled(ctx, admin, "alice", True)
    with refused("wrong_state"):
        accounts.reset_link(ctx, admin, "alice")
    accounts.set_disabled(ctx, admin, "alice", False)
    assert accounts.invited(ctx, accounts.reset_link(ctx, admin, "alice")).name == "alice"


def test_an_attack_from_one_address_on_many_names_is_limited(ctx: Context, admin: Caller) -> None:
    for number in range(accounts.ATTEMPTS_PER_ADDRESS):
        with refused("wrong_credentials"):
            accounts.sign_in(ctx, f"name{number}", "Spring2026!", "192.0.2.66")
    with refused("too_many_attempts"):
        accounts.sign_in(ctx, "fresh", "Spring2026!", "192.0.2.66")
    with refused("wrong_credentials"):
        accounts.sign_in(ctx, "fresh", "Spring2026!", "192.0.2.67")


def test_the_clock_set_back_does_not_unlock_attempts(ctx: Context, admin: Caller, clock: Clock) -> None:
    for _ in range(accounts.ATTEMPTS_PER_NAME):
        with refused("wrong_credentials"):
            accounts.sign_in(ctx, "alice", "wrong", "192.0.2.1")
    clock.forward(-3600)
    with refused("too_many_attempts"):
        accounts.sign_in(ctx, "alice", "wrong", "192.0.2.1")


def test_only_an_admin_manages_users(ctx: Context, alice: Caller) -> None:
    for act in (lambda: accounts.create_user(ctx, alice, "eve"), lambda: accounts.list_users(ctx, alice)):
        with refused("forbidden"):
            act()
    with refused("forbidden"):
        accounts.reset_link(ctx, alice, "root-admin")


def test_names_of_users_and_projects_share_one_space(ctx: Context, admin: Caller, alice: Caller) -> None:
    with refused("already_exists"):
        accounts.create_user(ctx, admin, "alice")
    projects.create(ctx, alice, "arms")
    with refused("already_exists"):
        accounts.create_user(ctx, admin, "arms")


def test_a_project_never_loses_its_last_owner(ctx: Context, alice: Caller, bob: Caller) -> None:
    projects.create(ctx, alice, "arms")
    with refused("in_use"):
        projects.remove_member(ctx, alice, "arms", "alice")
    projects.set_member(ctx, alice, "arms", "bob", "owner")
    projects.remove_member(ctx, alice, "arms", "alice")
    with ctx.db.read() as session:
        owners = session.scalars(select(Membership.user_id).where(Membership.role == "owner")).all()
        assert bob.user_id in owners


def test_a_member_is_no_owner(ctx: Context, alice: Caller, bob: Caller) -> None:
    projects.create(ctx, alice, "arms")
    projects.set_member(ctx, alice, "arms", "bob", "member")
    for act in (
        lambda: projects.set_member(ctx, bob, "arms", "bob", "owner"),
        lambda: projects.delete(ctx, bob, "arms"),
        lambda: projects.set_quota(ctx, bob, "arms", {"machines": 100}),
    ):
        with refused("forbidden"):
            act()


def test_a_project_with_machines_cannot_be_deleted(ctx: Context, alice: Caller) -> None:
    projects.create(ctx, alice, "arms")
    machines.create(ctx, alice, NewMachine(name="one", project="arms"))
    with refused("in_use"):
        projects.delete(ctx, alice, "arms")
    with refused("in_use"):
        projects.delete(ctx, alice, "alice")


def test_a_personal_project_cannot_be_taken_from_its_user(ctx: Context, alice: Caller, bob: Caller) -> None:
    projects.set_member(ctx, alice, "alice", "bob", "owner")
    for act in (
        lambda: projects.remove_member(ctx, bob, "alice", "alice"),
        lambda: projects.set_member(ctx, bob, "alice", "alice", "member"),
        lambda: projects.remove_member(ctx, alice, "alice", "alice"),
    ):
        with refused("in_use"):
            act()
    projects.set_member(ctx, bob, "alice", "alice", "owner")
    assert projects.get(ctx, alice, "alice").role == "owner"


def test_projects_given_away_count_for_their_new_owner(ctx: Context, alice: Caller, bob: Caller) -> None:
    for number in range(projects.MAX_OWNED):
        projects.create(ctx, alice, f"a{number}")
        projects.set_member(ctx, alice, f"a{number}", "bob", "owner")
        projects.remove_member(ctx, alice, f"a{number}", "alice")
    projects.create(ctx, alice, "more")
    with refused("quota_exceeded"):
        projects.set_member(ctx, alice, "more", "bob", "owner")
    with refused("quota_exceeded"):
        projects.create(ctx, bob, "mine")
    projects.set_member(ctx, bob, "a0", "bob", "owner")


def test_a_deleted_project_is_gone_for_admins_too(ctx: Context, admin: Caller, alice: Caller) -> None:
    projects.create(ctx, alice, "arms")
    made = machines.create(ctx, alice, NewMachine(name="one", project="arms"))
    with ctx.db.write() as session:
        row = session.get_one(Machine, made.id)
        row.state, project_id = "gone", row.project_id
    projects.delete(ctx, alice, "arms")
    assert [view.name for view in projects.listing(ctx, admin)] == ["root-admin", "alice"]
    for ref in (project_id, f"~{project_id}"):
        with refused("not_found"):
            machines.create(ctx, admin, NewMachine(name="two", project=ref))


def test_machines_forget_the_keys_of_who_is_disabled(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    projects.set_member(ctx, alice, "alice", "bob", "member")
    keys.add(ctx, bob, "laptop", ALICE_KEY)
    made = machines.create(ctx, alice, NewMachine(name="one"))
    for disabled, expected in ((True, []), (False, [ALICE_KEY]), (True, [])):
        accounts.set_disabled(ctx, admin, "bob", disabled)
        with ctx.db.read() as session:
            assert session.get_one(Machine, made.id).authorized_keys == expected
    assert [entry["name"] for entry in projects.remove_member(ctx, alice, "alice", "bob").members] == ["alice"]


def test_a_sign_in_does_not_outlive_what_happened_meanwhile(
    ctx: Context, admin: Caller, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = accounts.reset_link(ctx, admin, "alice")
    verify = accounts._verify

    def slow(stored: str, password: str) -> bool:
        accounts.accept_invitation(ctx, link, "another password", "192.0.2.1")
        return verify(stored, password)

    monkeypatch.setattr(accounts, "_verify", slow)
    with refused("wrong_credentials"):
        accounts.sign_in(ctx, "alice", "password of alice", "192.0.2.9")


def test_a_wrong_password_is_audited_without_what_was_typed(ctx: Context, alice: Caller) -> None:
    for name in ("alice", "her password by mistake"):
        with refused("wrong_credentials"):
            accounts.sign_in(ctx, name, "not hers at all", "192.0.2.9")
    with ctx.db.read() as session:
        rows = session.scalars(select(Audit).where(Audit.action == "session.refuse").order_by(Audit.id)).all()
    assert [(row.subject, row.detail) for row in rows] == [
        (subject, {"address": "192.0.2.9", "method": "password"}) for subject in ("alice", "")
    ]
