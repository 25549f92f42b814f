"""Roles of the organisation: given, taken, gone with whoever had them; what an auditor sees of a machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from garage.db.models import Machine
from garage.services import (
    accounts,
    api_tokens,
    audits,
    events,
    grants,
    live,
    machines,
    news,
    offboarding,
    own_site,
    roles,
    second_factor,
    sites,
)
from garage.services.audits import Search
from garage.services.context import Caller, Context
from garage.services.live import Credential
from garage.services.machines import NewMachine
from garage.services.vault import digest
from tests.conftest import Clock
from tests.inproc.overlay_nodes import member as site_member
from tests.inproc.test_access import refused


def now(ctx: Context, who: Caller) -> Caller:
    """With what they may by now."""
    found = api_tokens.by_token(ctx, api_tokens.create(ctx, who, "now")[1])
    assert found is not None
    return found


def project_of(ctx: Context, machine_id: str) -> str | None:
    with ctx.db.read() as session:
        return session.get_one(Machine, machine_id).project_id


def test_a_role_is_given_and_taken(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    assert [grant.role for grant in roles.grant(ctx, admin, "alice", "auditor").grants] == ["auditor"]
    roles.grant(ctx, admin, "alice", "auditor")
    roles.grant(ctx, admin, "bob", "operator")
    assert now(ctx, alice) == replace(alice, auditor=True)
    assert now(ctx, bob) == replace(bob, sites=frozenset({"home"}))
    listed = {
        user.name: [(grant.role, grant.site) for grant in user.grants] for user in accounts.list_users(ctx, admin)
    }
    assert listed == {"root-admin": [], "alice": [("auditor", "")], "bob": [("operator", "home")]}
    said = [
        (item.action, item.subject, item.detail)
        for item in audits.listing(ctx, admin, Search(action="user.grant")).items
    ]
    assert said == [
        ("user.grant", "bob", {"role": "operator", "site": "home"}),
        ("user.grant", "alice", {"role": "auditor"}),
    ]
    roles.revoke(ctx, admin, "alice", "auditor")
    assert now(ctx, alice) == alice
    with refused("not_found"):
        roles.revoke(ctx, admin, "alice", "auditor")
    with refused("not_found"):
        roles.revoke(ctx, admin, "bob", "operator", "kyoto")


def test_a_token_made_before_has_nothing_of_a_role(ctx: Context, admin: Caller, alice: Caller, clock: Clock) -> None:
    """A password alone made it, perhaps somebody else's hands; a role asks for more."""
    tokens = [api_tokens.create(ctx, alice, "before")[1]]
    clock.forward(1)
    roles.grant(ctx, admin, "alice", "auditor")
    tokens.append(api_tokens.create(ctx, alice, "between")[1])
    clock.forward(1)
    roles.grant(ctx, admin, "alice", "operator")
    tokens.append(api_tokens.create(ctx, alice, "after")[1])
    held = [
        alice,
        replace(alice, auditor=True),
        replace(alice, auditor=True, sites=frozenset({"home"})),
    ]
    assert [api_tokens.by_token(ctx, token) for token in tokens] == held
    streams = [Credential("token", digest(token)) for token in tokens]
    sights = live.look(ctx, 0, streams, []).sights
    assert [sights[stream].caller for stream in streams] == held


def test_who_and_what_gets_no_role(ctx: Context, admin: Caller, alice: Caller) -> None:
    for who, name, role, site, code in (
        (alice, "alice", "auditor", "", "forbidden"),
        (admin, "root-admin", "auditor", "", "wrong_state"),
        (admin, "nobody", "auditor", "", "not_found"),
        (admin, "alice", "auditor", "home", "invalid_field"),
        (admin, "alice", "operator", "kyoto", "invalid_field"),
        (admin, "alice", "king", "", "invalid_field"),
    ):
        with refused(code):
            roles.grant(ctx, who, name, role, site)


def test_a_role_ends_with_its_holder_and_with_its_site(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    site_member(ctx, admin, "kyoto", 1)
    roles.grant(ctx, admin, "alice", "auditor")
    roles.grant(ctx, admin, "bob", "operator", "kyoto")
    roles.grant(ctx, admin, "bob", "operator")
    with ctx.db.write() as session:
        own_site.rename(session, ctx, "lab1", "tsukuba", "garage.internal")
    assert now(ctx, bob).sites == {"kyoto", "tsukuba"}
    sites.remove(ctx, admin, "kyoto")
    assert now(ctx, bob).sites == {"tsukuba"}
    offboarding.offboard(ctx, admin, "alice")
    with ctx.db.read() as session:
        assert session.query(grants.RoleGrant).filter_by(user_id=alice.user_id).count() == 0


def test_whoever_is_trusted_needs_a_second_factor_where_admins_do(ctx: Context, admin: Caller, alice: Caller) -> None:
    strict = replace(ctx, config=replace(ctx.config, second_factor="admins"))
    cookie = accounts.sign_in(ctx, "alice", "password of alice", "192.0.2.7")[1]
    for role in roles.ROLES:
        roles.grant(ctx, admin, "alice", role)
        found = accounts.by_session(strict, cookie)
        assert found is not None
        assert found[0] == alice, "until then a member"
        assert found[1].lacks_factor
        with refused("second_factor"):
            api_tokens.log_in(strict, "alice", "password of alice", "192.0.2.7", "laptop")
        roles.revoke(ctx, admin, "alice", role)
    found = accounts.by_session(strict, cookie)
    assert found is not None
    assert not found[1].lacks_factor
    assert second_factor.excused(strict, False, "openid") is False, "there is no provider"


def test_an_auditor_sees_a_machine_and_not_into_it(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    own = machines.create(ctx, bob, NewMachine(name="mine", size="tiny"))
    roles.grant(ctx, admin, "bob", "auditor")
    bob = now(ctx, bob)
    seen = machines.seen(ctx, bob, made.id)
    assert (seen.watched, seen.actions, seen.console_tail, seen.ipv4) == (True, [], "", made.ipv4)
    listed = {view.name: view.watched for view in machines.listing(ctx, bob).items}
    assert listed == {"one": True, "mine": False}
    assert machines.seen(ctx, bob, own.id).actions == own.actions, "in their own project they are a member"
    for act in (machines.get, machines.stop, machines.delete, machines.renew):
        with pytest.raises(Exception, match="an auditor looks at one"):
            act(ctx, bob, made.id)
    with refused("not_found"):
        machines.get(ctx, bob, "other")
    credential = Credential("token", digest(api_tokens.create(ctx, bob, "live")[1]))
    sight, theirs = live.look(ctx, 0, [credential], []).sights[credential], project_of(ctx, made.id)
    assert (sight.shows(theirs), sight.sees(theirs)) == (True, False), "told of it, and carried nowhere"
    assert made.id in {event.subject for event in events.after(ctx, bob, 0)}
    machines.create(ctx, bob, NewMachine(name="one", size="tiny"))
    assert machines.delete(ctx, bob, "one").project == "bob", "one's own of a name that others have, too"


def test_an_operator_is_told_of_their_nodes(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    site_member(ctx, admin, "kyoto", 1)
    roles.grant(ctx, admin, "alice", "operator", "kyoto")
    roles.grant(ctx, admin, "bob", "operator")
    with ctx.db.write() as session:
        news.of_site(session, ctx, "node.silent", own_site.current(session, ctx).name, node="node1")
    told = {who.name: [item.kind for item in news.listing(ctx, who).items] for who in (admin, alice, bob)}
    assert told == {"root-admin": ["node.silent"], "alice": [], "bob": ["node.silent"]}
    assert "node.silent" in news.kinds_for(now(ctx, bob))
    assert "node.silent" not in news.kinds_for(bob)
