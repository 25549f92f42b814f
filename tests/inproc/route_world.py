"""A garage in which alice has one of everything, as tests of all routes ask it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from garage.api import asyncdoc
from garage.api.app import make_flask
from garage.core.states import Event
from garage.db.models import Base
from garage.db.node_models import Adoption
from garage.db.snapshot_models import Snapshot
from garage.db.volume_models import Volume, VolumeSnapshot
from garage.errors import KINDS
from garage.services import (
    accounts,
    adding,
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
from tests.inproc.overlay_nodes import member
from tests.inproc.served import Served, play, serving

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBM9x5vXJtZ2oP0LyA5C0l3eKfHqXcB7m8rJp0nYfWQd"
POOL = {"image": "debian-12", "size": "tiny"}


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


ASYNC = {path.removeprefix("/api/v1") for path in asyncdoc.PATHS}
