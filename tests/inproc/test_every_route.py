"""Every field, path, query and right of every route of `/api/v1`: a refusal is 4xx problem+json with code and hint, and changes nothing.

Routes come from the OpenAPI document. One that has no line in the tables of `route_bodies` and `route_roles`, or below, fails
these tests.
"""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from starlette.routing import BaseRoute

from garage.api import asyncdoc, published
from garage.api.app import make_flask
from garage.gateway.app import ROUTES
from tests.inproc import route_roles
from tests.inproc.route_bodies import BODIES, FINE, FINE_QUERIES, HOSTILE_TEXT, body_of
from tests.inproc.route_roles import Operation
from tests.inproc.route_world import ASYNC, Answer, World, world  # noqa: F401  (a fixture)

HOSTILE: tuple[Any, ...] = (
    None,
    *HOSTILE_TEXT,
    -1,
    0,
    1.5,
    10**18,
    10**400,
    1e308,
    True,
    False,
    [],
    {},
    ["a"],
    {"a": 1},
)
HOSTILE_REFS = ("%00", "x" * 300, "..", "%2e%2e", "%C3%A4", "a%20b", "'--", "0" * 20, "%F0%9F%90%8D")

ONES_OWN = {
    *(("GET", path) for path in ("/me", "/keys", "/tokens", "/projects", "/machines", "/audit")),
    *(("GET", path) for path in ("/sizes", "/images", "/recipes", "/image-tasks", "/nodes", "/status", "/placement")),
    *(("POST", path) for path in ("/machines", "/keys", "/tokens", "/projects", "/image-imports")),
    *(("GET", "/announcement"), ("GET", "/news"), ("POST", "/news/read"), ("GET", "/channels"), ("POST", "/channels")),
    *(("GET", "/volumes"), ("POST", "/volumes")),
    *(("GET", "/events"), ("GET", "/sessions"), ("DELETE", "/sessions")),
}
"""Routes without a reference that any member may use: about the caller, or about the whole. All others are for admins."""

DOCUMENT = asyncdoc.complete(make_flask(None).api_doc)  # type: ignore[arg-type]  (it is asked for its document alone)
OPERATIONS: dict[Operation, dict[str, Any]] = {
    (method.upper(), path.removeprefix("/api/v1")): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def fields(operation: Operation) -> list[str]:
    reference = OPERATIONS[operation]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    return list(DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]["properties"])


# --- the tests ----------------------------------------------------------------------------------------------------------


def test_the_document_and_the_tables_have_every_route() -> None:
    rules = {rule.rule for rule in make_flask(None).url_map.iter_rules()}  # type: ignore[arg-type]
    served = {path(route) for route in ROUTES} | {rule.replace("<", "{").replace(">", "}") for rule in rules}
    documented = set(DOCUMENT["paths"]) | {"/api/v1/openapi.json"}
    assert {found for found in served if found.startswith("/api/")} == documented
    with_json = {
        operation
        for operation, told in OPERATIONS.items()
        if "application/json" in told.get("requestBody", {}).get("content", ())
    }
    assert with_json == set(BODIES)
    assert set(FINE) | ONES_OWN <= set(OPERATIONS)
    roles = *route_roles.GROUPS, ONES_OWN, {("POST", "/login")}
    assert set().union(*roles) == set(OPERATIONS), "who may do what: a line in route_roles"
    assert sum(map(len, roles)) == len(OPERATIONS), "a line alone"


def test_the_document_that_is_checked_in_is_of_these_routes() -> None:
    """After a change of a route or a schema: `python -m garage.api.published`, which refuses to break clients."""
    assert published.FILE.read_text() == published.text(published.present()), "run: python -m garage.api.published"


def path(route: BaseRoute) -> str:
    return str(route.path)  # type: ignore[attr-defined]


def test_no_hostile_value_of_any_field_is_taken(world: World) -> None:
    tried = 0
    for operation in BODIES:
        at, body = world.path(operation[1]), body_of(world, operation) or {}
        before = world.everything()
        for field in fields(operation):
            fine = FINE.get(operation, {}).get(field, ())
            for value in HOSTILE:
                if not any(value is ok or (value == ok and type(value) is type(ok)) for ok in fine):
                    world.ask("root-admin", operation, at, body | {field: value}).refused(field=field)
                    tried += 1
            assert world.everything() == before, (operation, field)
        world.ask("root-admin", operation, at, body | {"colour": "red"}).refused(422, field="colour")
        taken = world.ask("root-admin", operation, at, body)
        assert 200 <= taken.status < 300, (operation, taken.data)
    assert tried > 600


def test_no_hostile_reference_of_any_path_is_found(world: World) -> None:
    before = world.everything()
    for operation in OPERATIONS:
        for name in re.findall(r"{(\w+)}", operation[1]):
            for value in HOSTILE_REFS:
                at = world.path(operation[1], **{name: value})
                world.ask("root-admin", operation, at, body_of(world, operation)).refused(404, 405, 422)
    assert world.everything() == before


def test_no_hostile_query_is_taken_and_no_unknown_one(world: World) -> None:
    before = world.everything()
    for operation, told in OPERATIONS.items():
        at, body = world.path(operation[1]), body_of(world, operation)
        world.ask("root-admin", operation, f"{at}?colour=red", body).refused(422, field="colour")
        for name in (known["name"] for known in told.get("parameters", []) if known["in"] == "query"):
            for value in HOSTILE_TEXT:
                if value and (len(value) > 300 or value not in FINE_QUERIES.get(name, ())):
                    asked = world.ask("root-admin", operation, f"{at}?{urlencode({name: value})}", body)
                    asked.refused(404, 422, field=name)
    Answer.of(world.flask.get("/api/v1/openapi.json?colour=red")).refused(422, field="colour")
    assert world.everything() == before


def test_nobody_gets_anything(world: World) -> None:
    before = world.everything()
    for operation in OPERATIONS:
        if operation != ("POST", "/login"):
            world.ask("", operation, world.path(operation[1]), body_of(world, operation)).refused(401, 403)
    assert world.everything() == before


def test_another_member_neither_sees_nor_changes_what_is_alices(world: World) -> None:
    """With everything of hers by its id: the answer is the same as for what does not exist, or that it is for admins."""
    before, hers = (
        world.everything(),
        {world.refs[kind] for kind in ("machines", "keys", "tokens", "projects", "images", "image-tasks", "volumes")},
    )
    for operation, told in OPERATIONS.items():
        at, body = world.path(operation[1]), body_of(world, operation)
        if operation not in {*ONES_OWN, ("POST", "/login")}:
            world.ask("bob", operation, at, body).refused(403, 404)
        elif operation[0] == "GET" and operation[1] not in ASYNC:
            answer = world.ask("bob", operation, at)
            assert answer.status == 200
            assert not [id_ for id_ in hers if id_.encode() in answer.data], operation
        for name in (known["name"] for known in told.get("parameters", []) if known["in"] == "query"):
            if name in ("project", "machine"):
                world.ask("bob", operation, f"{at}?{name}={world.refs[name + 's']}", body).refused(404)
    world.ask("bob", ("POST", "/machines"), "/api/v1/machines", BODIES["POST", "/machines"](world)).refused(404)
    assert world.everything() == before
