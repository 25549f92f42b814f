"""Every field, path, query and right of every route of `/api/v1`: a refusal is 4xx problem+json with code and hint, and changes nothing.

Routes come from the OpenAPI document. One that has no line in the tables below, and in those of `route_roles`, fails these tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update
from starlette.routing import BaseRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from garage.api import asyncdoc, published
from garage.api.app import make_flask
from garage.core.states import Event
from garage.db.models import Base
from garage.db.node_models import Adoption
from garage.db.snapshot_models import Snapshot
from garage.db.volume_models import Volume, VolumeSnapshot
from garage.errors import KINDS
from garage.gateway.app import ROUTES
from garage.services import (
    accounts,
    adding,
    adoption,
    api_tokens,
    channels,
    image_tasks,
    images,
    invitations,
    keys,
    machines,
    news,
    nodes,
    projects,
    renumbering,
    service_accounts,
    sessions,
    snapshots,
    throughput,
    volume_snapshots,
    volumes,
)
from garage.services.channels import NewChannel
from garage.services.context import Caller, Context
from garage.services.image_tasks import NewImage
from garage.services.machines import NewMachine
from garage.services.volumes import NewVolume
from netd import wire
from tests.conftest import ALICE_KEY
from tests.inproc import route_roles
from tests.inproc.overlay_nodes import member
from tests.inproc.served import Served, play, serving

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBM9x5vXJtZ2oP0LyA5C0l3eKfHqXcB7m8rJp0nYfWQd"
BOBS_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ bob@laptop"
HOSTILE_TEXT = ("", "x" * 5000, "a/../b", "\x00", "ä" * 30, "\u202e", "'; drop table user;--", "7", "True")
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
RECIPE = """name = "built"
title = "Built"
suite = "bookworm"
packages = ["dash"]
sources = ""
"""
POOL = {"image": "debian-12", "size": "tiny"}
HOSTILE_REFS = ("%00", "x" * 300, "..", "%2e%2e", "%C3%A4", "a%20b", "'--", "0" * 20, "%F0%9F%90%8D")
PRINTABLE = ("a/../b", "ä" * 30, "'; drop table user;--", "7", "True")


@dataclass
class World:
    """A garage in which alice has one of everything, and an overlay of three sites."""

    ctx: Context
    flask: FlaskClient
    served: Served
    tokens: dict[str, str]
    refs: dict[str, str]
    """By the path's first part what stands for {ref}, or by the parameter's own name."""

    def path(self, path: str, **other: str) -> str:
        """A documented path with alice's things in it."""
        named = {
            "user": "carol",
            "role": "auditor",
            "peer": "two",
            "account": "robot",
            "token": self.refs["token"],
            "snapshot": self.refs["snapshot"],
        }
        ref = self.refs.get(path) or self.refs.get(path.split("/")[1], "?")
        known = {"ref": ref} | named | POOL | other
        filled = path.format_map(known)
        assert "?" not in filled, f"what is {{ref}} of {path}?"
        return f"/api/v1{filled}"

    def ask(self, who: str, operation: tuple[str, str], path: str, body: Any = None) -> Answer:
        """By whom, what; `path` is the filled one."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        if operation[1] not in ASYNC:
            return Answer.of(self.flask.open(path, method=operation[0], json=body, headers=headers))
        if operation[1].endswith("/ssh"):
            return self._stream(path, headers)
        with self.served.http.stream(operation[0], path, headers=headers) as streamed:
            assert streamed.is_error, f"{path} was taken"
            return Answer(streamed.status_code, streamed.headers["content-type"], streamed.read())

    def _stream(self, path: str, headers: dict[str, str]) -> Answer:
        with pytest.raises(InvalidStatus) as refused:
            connect(self.served.ws_url + path, additional_headers=headers).close()
        told = refused.value.response
        return Answer(told.status_code, told.headers["content-type"], told.body or b"")

    def everything(self) -> dict[str, list[Any]]:
        """All rows of all tables, but failed sign-ins, which are counted and audited."""
        with self.ctx.db.read() as session:
            tables = [table for table in Base.metadata.sorted_tables if table.name != "login_failure"]
            rows = {table.name: sorted(map(repr, session.execute(select(table)))) for table in tables}
        return rows | {"audit": [row for row in rows["audit"] if "'session.refuse'" not in row]}


@dataclass(frozen=True)
class Answer:
    status: int
    kind: str
    data: bytes

    @classmethod
    def of(cls, answer: Any) -> Answer:
        """From Flask's test client."""
        return cls(answer.status_code, answer.content_type, answer.get_data())

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.data)
        return found

    def refused(self, *statuses: int, field: str = "") -> None:
        """It is 4xx problem+json with a code of the table and a hint; a field that is not valid is named."""
        assert 400 <= self.status < 500, self.data
        assert not statuses or self.status in statuses, self.data
        assert self.kind == "application/problem+json"
        assert KINDS[self.json["code"]].status == self.status
        assert self.json["detail"]
        assert self.json.get("hint"), self.data
        if field and self.status == 422:
            assert self.json["errors"][0]["pointer"] == f"/{field}"


class Strangers:
    """Every server lets everybody in."""

    def host_keys(self, address: str) -> list[str]:
        return [HOST_KEY]

    def let_in(self, address: str, host_key: str, password: str, line: str) -> None:
        assert line == "a key"


@pytest.fixture
def world(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> Iterator[World]:
    ctx = replace(ctx, config=replace(ctx.config, public_url="https://garage.example:8443"))
    (ctx.config.home / "keys").mkdir()
    (ctx.config.home / "keys" / "node-ssh.pub").write_text("a key\n")
    accounts.create_user(ctx, admin, "carol")
    tokens = {who.name: api_tokens.create(ctx, who, "test")[1] for who in (admin, alice, bob)}
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    off = machines.create(ctx, alice, NewMachine(name="off", size="tiny"))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED)
    rests = machines.create(ctx, alice, NewMachine(name="rests", size="tiny"))
    for each in (off, rests):
        play(ctx, each.id, Event.STARTED, Event.ANSWERED, Event.STOP, Event.OFF)
    for node in (member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)):
        node.poll()
        node.report()
    refs = things(ctx, admin, alice, made.id, off.id, rests.id)
    given = {"site": "origin", "domain": "garage.internal", "ipv4": "10.99.16.0/20", "ipv6": "fd99:1:2::/48"}
    nodes.report(ctx, ctx.config.node, wire.Report(node=ctx.config.node, applied_version=0, **given))
    seen = Adoption(
        node=ctx.config.node,
        since=0.0,
        seen_at=1.0,
        domains={made.id: ["running", "other"], off.id: ["off", "guest"], rests.id: ["off", "guest"]},
    )
    with ctx.db.write() as session:
        session.add(seen)
    with serving(ctx) as served:
        yield World(ctx, make_flask(ctx, strangers=Strangers()).test_client(), served, tokens, refs)


def things(ctx: Context, admin: Caller, alice: Caller, made: str, off: str, rests: str) -> dict[str, str]:
    """`World.refs`: one of everything that is hers, beside her machines: one that is ready and two that are off."""
    image_tasks.bring(ctx, alice, NewImage("hers", "12" * 32, url="https://example.org/disk"))
    task = image_tasks.claim(ctx, "server/1")
    assert task is not None
    image_tasks.done(ctx, task, {"sha256": "34" * 32})
    hers = images.get(ctx, alice, "hers").id
    hook = NewChannel(kind="slack", name="team", url="https://hooks.example.org/T1", project="arms")
    return {
        "machines": made,
        **dict.fromkeys(("/machines/{ref}/resize", "/machines/{ref}/rebuild"), off),
        **dict.fromkeys(("/machines/{ref}/snapshots", "/machines/{ref}/transfer"), rests),
        "/machines/{ref}/snapshots/{snapshot}/revert": off,
        "snapshot": snapshot(ctx, alice, made, off),
        **volumes_of(ctx, alice, made),
        "keys": keys.add(ctx, alice, "laptop", ALICE_KEY).id,
        "tokens": api_tokens.create(ctx, alice, "hers")[0].id,
        "users": "alice",
        "projects": projects.create(ctx, alice, "arms").id,
        "site-invitations": invitations.invite(ctx, admin, "nagoya")[0].id,
        "sites": "one",
        "nodes": ctx.config.node,
        "sessions": signed_in(ctx, alice),
        "token": service_accounts.create_token(ctx, alice, "arms", robot(ctx, alice), "ci", days=None)[0].id,
        "measurements": throughput.measure(ctx, admin, "one", "two").id,
        "images": hers,
        "news": news.listing(ctx, alice).items[0].id,
        "channels": channels.add(ctx, alice, hook)[0].id,
        "image-tasks": image_tasks.bring(ctx, alice, NewImage("coming", "12" * 32, bytes=10)).id,
        "node-tasks": adding.ask(ctx, admin, "root@192.0.2.8", HOST_KEY, name="node8").name,
    }


def signed_in(ctx: Context, who: Caller) -> str:
    accounts.sign_in(ctx, who.name, f"password of {who.name}", "192.0.2.7")
    return sessions.listing(ctx, who)[0].id


def snapshot(ctx: Context, who: Caller, *refs: str) -> str:
    """One of each machine, by one name."""
    for ref in refs:
        snapshots.create(ctx, who, ref, "before")
    with ctx.db.write() as session:
        session.execute(update(Snapshot).values(state="ready", bytes=1 << 20, held_gib=1))
    return "before"


def volumes_of(ctx: Context, who: Caller, machine: str) -> dict[str, str]:
    """One that no machine has, one that can be attached, one that is; and one to be copied, which has a snapshot, as the first has."""
    made = [volumes.create(ctx, who, NewVolume(name, 1)).id for name in ("free", "other", "held", "copied")]
    with ctx.db.write() as session:
        session.execute(update(Volume).values(state="available", made_gib=1))
        held = session.get_one(Volume, made[2])
        held.state, held.machine_id, held.slot = "attached", machine, 0
    for ref in (made[0], made[3]):
        volume_snapshots.create(ctx, who, ref, "before")
    with ctx.db.write() as session:
        session.execute(update(VolumeSnapshot).values(state="ready", bytes=1 << 20, held_gib=1, made_at=1.0))
    routes = (f"/volumes/{{ref}}/{what}" for what in ("attach", "detach", "snapshots"))
    return dict(zip(("volumes", *routes), made, strict=True))


def robot(ctx: Context, owner: Caller) -> str:
    return service_accounts.create(ctx, owner, "arms", "robot").name


# --- the tables ---------------------------------------------------------------------------------------------------------

Operation = tuple[str, str]
"""(method, path below /api/v1)."""
ASYNC = {path.removeprefix("/api/v1") for path in asyncdoc.PATHS}

BODIES: dict[Operation, Callable[[World], dict[str, Any]]] = {
    ("POST", "/adoption"): lambda world: {"digest": adoption.plan(world.ctx, Caller("", "x", admin=True)).digest},
    ("POST", "/renumbering"): lambda world: {"digest": renumbering.plan(world.ctx, Caller("", "x", admin=True)).digest},
    ("POST", "/machines"): lambda world: {
        "name": "two",
        "size": "tiny",
        "project": world.refs["projects"],
        "lease_days": 2,
    },
    ("POST", "/volumes"): lambda _: {"name": "data", "size_gib": 2},
    ("POST", "/volumes/{ref}/attach"): lambda world: {"machine": world.refs["/machines/{ref}/resize"]},
    ("POST", "/volumes/{ref}/grow"): lambda _: {"size_gib": 3},
    ("POST", "/volumes/{ref}/snapshots"): lambda _: {"name": "later"},
    ("POST", "/machines/{ref}/renew"): lambda _: {"days": 9},
    ("PATCH", "/machines/{ref}"): lambda _: {"name": "uno", "tags": ["course"], "notes": "mine"},
    ("POST", "/machines/{ref}/resize"): lambda _: {"size": "small"},
    ("POST", "/machines/{ref}/rebuild"): lambda _: {"image": "debian-12"},
    ("POST", "/machines/{ref}/transfer"): lambda world: {"project": world.refs["projects"]},
    ("POST", "/machines/{ref}/snapshots"): lambda _: {"name": "later"},
    ("PUT", "/machines/{ref}/limits"): lambda _: {"net_mbit": 100, "disk_mb": None},
    ("POST", "/login"): lambda _: {"name": "alice", "password": "password of alice"},
    ("POST", "/keys"): lambda _: {"name": "desk", "public_key": BOBS_KEY},
    ("POST", "/tokens"): lambda _: {"name": "ci", "days": 3},
    ("POST", "/users"): lambda _: {"name": "dave", "role": "member"},
    ("POST", "/projects"): lambda _: {"name": "legs"},
    ("POST", "/projects/{ref}/service-accounts"): lambda _: {"name": "robot2"},
    ("POST", "/projects/{ref}/service-accounts/{account}/tokens"): lambda _: {"name": "ci", "scope": "read"},
    ("PUT", "/projects/{ref}/members/{user}"): lambda _: {"role": "member"},
    ("PUT", "/projects/{ref}/quota"): lambda _: {"machines": 3},
    ("POST", "/site-invitations"): lambda _: {"name": "kyoto", "ttl_seconds": 3600},
    ("PUT", "/sites/{ref}/place"): lambda _: {"latitude": 36.08, "longitude": 140.11},
    ("PUT", "/sites/{ref}/relay"): lambda _: {"may": True},
    ("PUT", "/overlay"): lambda _: {"bfd_ms": 300},
    ("POST", "/node-host-keys"): lambda _: {"target": "root@192.0.2.7"},
    ("POST", "/node-logins"): lambda _: {"target": "root@192.0.2.7", "host_key": HOST_KEY, "password": "secret"},
    ("POST", "/nodes"): lambda _: {"target": "root@192.0.2.7", "host_key": HOST_KEY, "name": "node7"},
    ("PUT", "/pools/{image}/{size}"): lambda _: {"fixed": 2},
    ("PUT", "/images/{ref}/visibility"): lambda _: {"visibility": "all"},
    ("POST", "/images/{ref}/user-data"): lambda _: {"user_data": "#cloud-config\n{}\n"},
    ("POST", "/image-imports"): lambda _: {"name": "fresh", "sha256": "56" * 32, "bytes": 1000},
    ("POST", "/image-builds"): lambda _: {"recipe": RECIPE},
    ("POST", "/image-saves"): lambda world: {
        "machine": world.refs["/machines/{ref}/resize"],
        "name": "kept",
        "snapshot": "before",
    },
    ("POST", "/sites/{ref}/measurements"): lambda _: {"peer": "two", "seconds": 2},
    ("PATCH", "/nodes/{ref}/labels"): lambda _: {"labels": {"gpu": "rtx3090", "room": ""}},
    ("POST", "/channels"): lambda _: {"kind": "slack", "name": "team", "url": "https://hooks.example.org/T1"},
    ("PATCH", "/channels/{ref}"): lambda _: {"wanted": ["machine.failed"]},
    ("POST", "/channels/{ref}/confirm"): lambda _: {"code": "12345678"},
    ("PUT", "/announcement"): lambda _: {"text_en": "Down at noon", "text_ja": "正午に停止", "until": "2100-01-01"},
    ("POST", "/users/{ref}/grants"): lambda _: {"role": "auditor"},
    ("POST", "/users/{ref}/offboard"): lambda _: {"to": "bob"},
}
"""A body that is taken, for every route that has one; in this order: no machine is made before nodes are adopted, and
renumbering waits for machines that are on their way."""

FINE: dict[Operation, dict[str, tuple[Any, ...]]] = {
    ("POST", "/machines"): {
        **{"name": ("",), "project": (None,), "lease_days": (None, 1.5), "user_data": (None, "")},
        **{"apart": ("",), "node_labels": ({},), "count": (None,), "tags": ([], ["a"]), "notes": ("", *PRINTABLE)},
        "volumes": ([],),
    },
    ("PATCH", "/machines/{ref}"): {"name": (None,), "tags": (None, [], ["a"]), "notes": (None, "", *PRINTABLE)},
    ("POST", "/machines/{ref}/rebuild"): {"image": (None,)},
    ("POST", "/machines/{ref}/snapshots"): {"name": ("",), "crash_consistent": (True, False)},
    ("POST", "/volumes"): {"project": (None,), "machine": (None, "")},
    ("POST", "/volumes/{ref}/snapshots"): {"name": ("",)},
    ("PATCH", "/nodes/{ref}/labels"): {"labels": ({},)},
    ("PUT", "/machines/{ref}/limits"): dict.fromkeys(("disk_iops", "disk_mb", "net_mbit", "connections"), (None, 0)),
    ("POST", "/machines/{ref}/renew"): {"days": (None, 1.5)},
    ("POST", "/login"): {"token_name": PRINTABLE, "code": ("", "7", "True")},
    ("POST", "/users/{ref}/grants"): {"site": (None, "")},
    ("POST", "/users/{ref}/offboard"): {"to": ("",)},
    ("POST", "/channels"): {
        **dict.fromkeys(("room", "token", "address", "locale"), ("",)),
        **{"name": PRINTABLE, "wanted": (None, []), "project": (None,)},
    },
    ("PATCH", "/channels/{ref}"): {"wanted": ([],), "locale": (None, "")},
    ("PUT", "/announcement"): {**dict.fromkeys(("text_en", "text_ja"), PRINTABLE), "since": (None,), "until": (None,)},
    ("POST", "/tokens"): {"name": PRINTABLE, "days": (None, 1.5)},
    ("POST", "/projects/{ref}/service-accounts/{account}/tokens"): {"name": PRINTABLE, "days": (None, 1.5)},
    ("PUT", "/projects/{ref}/quota"): dict.fromkeys(
        ("machines", "vcpus", "memory_mib", "disk_gib", "image_gib"), (None, 0)
    ),
    ("POST", "/site-invitations"): {"own_name": (None,), "node": (False,)},
    ("PUT", "/sites/{ref}/place"): dict.fromkeys(("latitude", "longitude"), (0, -1, 1.5)),
    ("PUT", "/sites/{ref}/relay"): {"may": (True, False)},
    ("PUT", "/pools/{image}/{size}"): {"fixed": (None, 0)},
    ("POST", "/node-host-keys"): {"target": ("True",)},
    ("PUT", "/images/{ref}/visibility"): {"project": (None,)},
    ("POST", "/image-builds"): {"base": (None, *HOSTILE_TEXT), "name": (None,)},
    ("POST", "/image-imports"): {"name": ("7",), "url": (None, ""), "project": (None,)},
    ("POST", "/image-saves"): {"name": ("7",), "snapshot": (None, ""), "project": (None,)},
    ("POST", "/node-logins"): {"target": ("True",), "password": (*PRINTABLE, "\u202e")},
    ("POST", "/nodes"): {"target": ("True",), "name": (None,), "own_name": (None,)},
    ("PUT", "/overlay"): {
        **dict.fromkeys(("bfd_ms", "mesh_sites", "measure_mbit", "measure_seconds"), (None,)),
        "measure_days": (None, 0),
    },
    ("POST", "/sites/{ref}/measurements"): {"seconds": (None,), "mbit": (None,)},
}
"""What of `HOSTILE` a field takes all the same."""

FINE_QUERIES = {
    "search": HOSTILE_TEXT,
    "subject": HOSTILE_TEXT,
    "actor": ("7", "True"),
    **dict.fromkeys(
        ("limit", "cursor", "hours", "kib", "offset", "number", "node", "image", "size", "tag", "owner"), ("7",)
    ),
}
"""Any text may be looked for; only its length is bounded. An empty parameter counts as none."""

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


def body_of(world: World, operation: Operation) -> dict[str, Any] | None:
    return BODIES[operation](world) if operation in BODIES else None


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
