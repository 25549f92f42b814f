"""An auditor and an operator at every route of `/api/v1`: as `route_roles` says it."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import pytest

from garage.services import accounts, api_tokens, roles
from garage.services.context import Caller, Context
from tests.conftest import member
from tests.inproc.route_bodies import BODIES, body_of
from tests.inproc.route_roles import AUDITED, NEITHER, OPERATED, SITES_SEEN, Operation
from tests.inproc.route_world import ASYNC, World, world  # noqa: F401  (a fixture)


@pytest.fixture
def roled(world: World, admin: Caller) -> World:
    """With an auditor, an operator of this garage's own site and of "one", and an operator of "two" alone."""
    for name, role, sites in (
        ("watcher", "auditor", ("",)),
        ("keeper", "operator", ("", "one")),
        ("farther", "operator", ("two",)),
    ):
        who = member(world.ctx, admin, name)
        for site in sites:
            roles.grant(world.ctx, admin, name, role, site)
        world.tokens[name] = api_tokens.create(world.ctx, who, "test")[1]
    return world


def _ask(world: World, who: str, operation: Operation) -> int:
    """Of what is alice's, and of site "one"."""
    at = world.path(operation[1], role="auditor")
    return world.ask(who, operation, at, body_of(world, operation)).status


def test_who_sees_and_who_changes_nothing(roled: World) -> None:
    accounts.set_disabled(roled.ctx, Caller("", "x", admin=True), "carol", True)
    before = roled.everything()
    for operation in AUDITED | SITES_SEEN:
        if operation != ("GET", "/users/{ref}/offboarding"):
            assert _ask(roled, "watcher", operation) == 200, operation
    for operation in SITES_SEEN - {("GET", "/nodes/{ref}"), ("GET", "/nodes/{ref}/drain")}:
        assert _ask(roled, "farther", operation) == 200, operation
    for operation in SITES_SEEN:
        assert _ask(roled, "keeper", operation) == 200, operation
    for operation in OPERATED | NEITHER:
        assert _ask(roled, "watcher", operation) in (403, 404), operation
    for operation in AUDITED | NEITHER:
        assert _ask(roled, "keeper", operation) in (403, 404), operation
    for operation in OPERATED | AUDITED | NEITHER:
        assert _ask(roled, "farther", operation) in (403, 404), operation
    assert roled.everything() == before


def test_an_auditors_lists_are_of_all_and_an_operators_of_their_own(roled: World) -> None:
    hers = [roled.refs[kind] for kind in ("machines", "projects", "images", "image-tasks")]
    for kind, id_ in zip(("/machines", "/projects", "/images", "/image-tasks"), hers, strict=True):
        for who, sees in (("watcher", True), ("keeper", False)):
            said = roled.ask(who, ("GET", kind), f"/api/v1{kind}").data
            assert (id_.encode() in said) is sees, (who, kind)
    for who, sees in (("watcher", True), ("keeper", False)):
        assert (b"user.create" in roled.ask(who, ("GET", "/audit"), "/api/v1/audit?action=user.create").data) is sees
    for kind in ("/keys", "/tokens", "/sessions", "/channels"):
        assert roled.refs[kind[1:]].encode() not in roled.ask("watcher", ("GET", kind), f"/api/v1{kind}").data
    machine = roled.ask("watcher", ("GET", "/machines/{ref}"), roled.path("/machines/{ref}")).json
    assert machine["actions"] == []
    kept = roled.ask("watcher", ("GET", ""), roled.path("/machines/{ref}/snapshots/{snapshot}")).json
    assert (kept["name"], kept["actions"]) == ("before", [])
    assert ("GET", "/machines/{ref}/ssh")[1] in ASYNC, "streams are asked for as streams"


def test_an_operator_does_what_a_site_needs(roled: World) -> None:
    """In an order in which each has something to do; a farther site's operator measures from there."""
    last = ["/nodes/{ref}/drain", "/nodes/{ref}/maintenance", "/nodes/{ref}/activate"]
    for operation in sorted(OPERATED, key=lambda operation: last.index(operation[1]) if operation[1] in last else -1):
        answer = roled.ask("keeper", operation, roled.path(operation[1]), body_of(roled, operation))
        busy = operation[1].endswith("/maintenance") and answer.json["code"] == "in_use"
        assert busy or 200 <= answer.status < 300, (operation, answer.data)
    measure = "POST", "/sites/{ref}/measurements"
    body = BODIES[measure](roled) | {"peer": "one"}
    assert roled.ask("farther", measure, "/api/v1/sites/two/measurements", body).status == 202


def test_a_narrow_token_carries_no_role(roled: World, ctx: Context) -> None:
    watcher = api_tokens.by_token(roled.ctx, roled.tokens["watcher"])
    assert watcher is not None
    for scope, status in (("read", 200), ("machines", 403), ("project", 403)):
        roled.tokens[scope] = api_tokens.create(ctx, watcher, scope, scope=scope)[1]
        assert roled.ask(scope, ("GET", "/users"), "/api/v1/users").status == status
