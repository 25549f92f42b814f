"""What lets somebody in: tokens for less than everything, sessions that are listed and ended, service accounts."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from garage.api.app import make_flask
from garage.core import scopes
from garage.core.states import Event
from garage.db.models import ApiToken, Machine, Membership, User
from garage.errors import GarageError
from garage.services import accounts, api_tokens, keys, live, machines, projects, service_accounts, sessions
from garage.services.context import Caller, Context
from garage.services.live import Credential
from garage.services.machines import NewMachine
from garage.services.vault import digest
from tests.conftest import ALICE_KEY, Clock
from tests.inproc.served import play
from tests.inproc.test_every_route import OPERATIONS

ROBOT_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ robot@ci"


def refused(code: str):
    return pytest.raises(GarageError, check=lambda error: error.code == code)


@pytest.fixture
def api(ctx: Context, admin: Caller) -> FlaskClient:
    return make_flask(ctx).test_client()


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def scoped(ctx: Context, who: Caller, scope: str) -> dict[str, str]:
    return bearer(api_tokens.create(ctx, who, scope, scope=scope)[1])


@pytest.mark.parametrize("scope", ["project", "machines", "read"])
def test_every_route_is_in_or_out_of_a_scope(scope: str) -> None:
    """What changes something is refused unless it is named here, and so is a route that comes later."""
    may = {
        (method, path)
        for method, path in OPERATIONS
        if scopes.permits(scope, method, f"/api/v1{path}") and method != "GET"
    }
    beyond = {path.split("/")[1] for _, path in may}
    machines = {"machines", "volumes"}
    assert beyond <= {"project": machines | {"projects"}, "machines": machines, "read": set()}[scope]
    assert not scopes.permits(scope, "GET", "/api/v1/backup")
    assert scopes.permits(scope, "GET", "/api/v1/machines/x/ssh") is (scope != "read")


def test_a_token_does_what_its_scope_says_and_no_more(
    ctx: Context, api: FlaskClient, admin: Caller, alice: Caller
) -> None:
    body = {"name": "one", "size": "tiny"}
    for scope, made, opened, keyed in (
        ("read", 403, 403, 403),
        ("machines", 201, 403, 403),
        ("project", 201, 201, 403),
    ):
        headers = scoped(ctx, alice, scope)
        assert api.get("/api/v1/machines", headers=headers).status_code == 200
        assert api.get("/api/v1/me", headers=headers).json["scope"] == scope
        assert api.post("/api/v1/machines", json=body | {"name": f"m-{scope}"}, headers=headers).status_code == made
        assert api.post("/api/v1/projects", json={"name": f"p-{scope}"}, headers=headers).status_code == opened
        answer = api.post("/api/v1/keys", json={"name": "k", "public_key": ALICE_KEY}, headers=headers)
        assert answer.status_code == keyed
        assert answer.json["code"] == "forbidden"
        more = api.post("/api/v1/tokens", json={"name": "more"}, headers=headers)
        assert more.status_code == 403, "a token makes no wider one"


def test_an_admins_token_of_less_is_a_members(ctx: Context, api: FlaskClient, admin: Caller, alice: Caller) -> None:
    machines.create(ctx, alice, NewMachine(name="one", size="tiny"))

    def sees(scope: str) -> int:
        return len(api.get("/api/v1/machines", headers=scoped(ctx, admin, scope)).json["items"])

    assert (sees("all"), sees("read"), sees("machines"), sees("project")) == (1, 1, 0, 0)
    for scope in ("machines", "project"):
        secret = api_tokens.create(ctx, admin, scope, scope=scope)[1]
        look = live.look(ctx, 0, [Credential("token", digest(secret))], [])
        [sight] = look.sights.values()
        assert not sight.caller.admin
        assert sight.projects is not None


def test_there_is_no_other_scope(ctx: Context, alice: Caller) -> None:
    with refused("invalid_field"):
        api_tokens.create(ctx, alice, "x", scope="everything")


def test_one_has_a_hundred_tokens_and_those_that_are_over_make_room(
    ctx: Context, alice: Caller, bob: Caller, clock: Clock
) -> None:
    for number in range(api_tokens.MOST):
        api_tokens.create(ctx, alice, str(number), days=None if number else 1)
    api_tokens.create(ctx, bob, "of somebody else")
    with refused("quota_exceeded"):
        api_tokens.create(ctx, alice, "one more")
    with refused("quota_exceeded"):
        api_tokens.log_in(ctx, "alice", "password of alice", "192.0.2.9", "one more")
    clock.forward(86_400)
    api_tokens.create(ctx, alice, "one more")
    assert {view.name for view in api_tokens.listing(ctx, alice)} == {"one more", *map(str, range(1, api_tokens.MOST))}
    with refused("quota_exceeded"):
        api_tokens.create(ctx, alice, "two more")


def test_sessions_are_listed_and_ended(ctx: Context, admin: Caller, alice: Caller, bob: Caller, clock: Clock) -> None:
    cookies = []
    for number in range(3):
        clock.forward(1)
        _, cookie = accounts.sign_in(ctx, "alice", "password of alice", f"192.0.2.{number}", f"Browser/{number}")
        cookies.append(cookie)
    here = digest(cookies[2])
    listed = [view for view in sessions.listing(ctx, alice, current=here) if view.agent]
    assert [(view.address, view.agent, view.current) for view in listed] == [
        ("192.0.2.2", "Browser/2", True),
        ("192.0.2.1", "Browser/1", False),
        ("192.0.2.0", "Browser/0", False),
    ]
    with refused("not_found"):
        sessions.end(ctx, bob, listed[1].id)
    sessions.end(ctx, alice, listed[1].id)
    assert accounts.by_session(ctx, cookies[1]) is None
    assert accounts.by_session(ctx, cookies[0]) is not None
    sessions.end_others(ctx, alice, current=here)
    assert accounts.by_session(ctx, cookies[0]) is None
    assert accounts.by_session(ctx, cookies[2]) is not None
    clock.forward(accounts.SESSION_SECONDS)
    assert sessions.listing(ctx, alice) == []


def test_a_service_account_works_in_its_project_alone(
    ctx: Context, api: FlaskClient, admin: Caller, alice: Caller
) -> None:
    arms = projects.create(ctx, alice, "arms")
    machines.create(ctx, alice, NewMachine(name="hers", size="tiny"))
    service_accounts.create(ctx, alice, "arms", "robot")
    view, secret = service_accounts.create_token(ctx, alice, "arms", "robot", "ci", days=7, scope="machines")
    assert view.expires_at is not None
    me = api.get("/api/v1/me", headers=bearer(secret)).json
    roles = {"role": "member", "auditor": False, "sites": []}
    assert me == {"name": "robot", "project": "arms", "scope": "machines", **roles}
    made = api.post("/api/v1/machines", json={"name": "one", "size": "tiny"}, headers=bearer(secret))
    assert made.status_code == 201
    assert made.json["project"] == "arms"
    assert [item["name"] for item in api.get("/api/v1/machines", headers=bearer(secret)).json["items"]] == ["one"]
    assert [item["name"] for item in api.get("/api/v1/projects", headers=bearer(secret)).json["items"]] == ["arms"]
    [user] = [user for user in accounts.list_users(ctx, admin) if user.name == "robot"]
    assert user.service_of == "arms"
    assert projects.get(ctx, alice, arms.id).members == [{"name": "alice", "role": "owner"}], "it is no person"


def test_only_owners_keep_service_accounts(ctx: Context, alice: Caller, bob: Caller) -> None:
    projects.create(ctx, alice, "arms")
    projects.set_member(ctx, alice, "arms", "bob", "member")
    service_accounts.create(ctx, alice, "arms", "robot")
    token, _ = service_accounts.create_token(ctx, alice, "arms", "robot", "ci", days=None)
    assert [view.name for view in service_accounts.listing(ctx, bob, "arms")] == ["robot"]
    for act in (
        lambda: service_accounts.create(ctx, bob, "arms", "other"),
        lambda: service_accounts.create_token(ctx, bob, "arms", "robot", "ci", days=None),
        lambda: service_accounts.delete_token(ctx, bob, "arms", "robot", token.id),
        lambda: service_accounts.remove(ctx, bob, "arms", "robot"),
    ):
        with refused("forbidden"):
            act()
    with refused("already_exists"):
        service_accounts.create(ctx, alice, "arms", "bob")
    with refused("not_found"):
        service_accounts.create_token(ctx, alice, "arms", "bob", "ci", days=None)


def test_it_is_no_person(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    projects.create(ctx, alice, "arms")
    service_accounts.create(ctx, alice, "arms", "robot")
    with refused("wrong_state"):
        accounts.reset_link(ctx, admin, "robot")
    with refused("wrong_credentials"):
        accounts.sign_in(ctx, "robot", "", "192.0.2.1")
    for act in (
        lambda: projects.set_member(ctx, alice, "arms", "robot", "owner"),
        lambda: projects.set_member(ctx, bob, "bob", "robot", "member"),
        lambda: projects.remove_member(ctx, alice, "arms", "robot"),
    ):
        with refused("in_use"):
            act()
    _, secret = service_accounts.create_token(ctx, alice, "arms", "robot", "ci", days=None, scope="all")
    robot = api_tokens.by_token(ctx, secret)
    assert robot is not None
    with refused("in_use"):
        projects.create(ctx, robot, "legs")


def test_when_it_ends_nothing_of_it_opens_anything(ctx: Context, admin: Caller, alice: Caller) -> None:
    projects.create(ctx, alice, "arms")
    service_accounts.create(ctx, alice, "arms", "robot")
    _, secret = service_accounts.create_token(ctx, alice, "arms", "robot", "ci", days=None, scope="all")
    robot = api_tokens.by_token(ctx, secret)
    assert robot is not None
    keys.add(ctx, robot, "ci", ROBOT_KEY)
    made = machines.create(ctx, robot, NewMachine(name="one", size="tiny"))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED)
    service_accounts.remove(ctx, alice, "arms", "robot")
    assert api_tokens.by_token(ctx, secret) is None
    with ctx.db.read() as session:
        machine = session.get_one(Machine, made.id)
        assert (machine.authorized_keys, machine.keys_applied) == ([], False)
        assert session.scalars(select(Membership).where(Membership.user_id == robot.user_id)).first() is None
        assert session.get_one(User, robot.user_id).name.startswith("~")
    assert "robot" not in {user.name for user in accounts.list_users(ctx, admin)}
    service_accounts.create(ctx, alice, "arms", "robot")


def test_a_project_takes_its_service_accounts_along(ctx: Context, admin: Caller, alice: Caller) -> None:
    projects.create(ctx, alice, "arms")
    service_accounts.create(ctx, alice, "arms", "robot")
    _, secret = service_accounts.create_token(ctx, alice, "arms", "robot", "ci", days=None)
    projects.delete(ctx, alice, "arms")
    assert api_tokens.by_token(ctx, secret) is None
    with ctx.db.read() as session:
        assert session.scalars(select(ApiToken).where(ApiToken.name == "ci")).first() is None
        assert session.scalars(select(User).where(User.name == "robot")).first() is None


def test_a_disabled_one_does_nothing(ctx: Context, admin: Caller, alice: Caller) -> None:
    projects.create(ctx, alice, "arms")
    service_accounts.create(ctx, alice, "arms", "robot")
    _, secret = service_accounts.create_token(ctx, alice, "arms", "robot", "ci", days=None)
    accounts.set_disabled(ctx, admin, "robot", True)
    assert api_tokens.by_token(ctx, secret) is None
