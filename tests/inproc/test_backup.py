"""A backup and back: of one moment, on both databases and across, whole or not at all; then nodes are looked at and adopted."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from garage.core.hypervisor_types import Domain, Power
from garage.core.states import Event, State
from garage.db import archive, loads
from garage.db.migrate import migrate, upgrade
from garage.db.models import ApiToken, Audit, Base, Machine, Node, Session, Setting
from garage.db.node_models import Adoption, Worker
from garage.db.session import Database
from garage.errors import GarageError
from garage.services import accounts, adoption, api_tokens, backups, crew, invitations, keys, machines, nodes
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.services.transitions import fire
from garage.services.vault import Vault, digest
from netd import wire
from tests.conftest import ALICE_KEY, NODE_TOKEN, Clock
from tests.inproc.overlay_nodes import member
from tests.inproc.rig import NODE, Rig, rigged


def refused(code: str) -> pytest.RaisesExc[GarageError]:
    return pytest.raises(GarageError, check=lambda error: error.code == code)


def taken(ctx: Context, admin: Caller, folder: Path, name: str = "one.backup") -> Path:
    path = folder / name
    with path.open("wb") as file:
        assert backups.backup(ctx, admin, file) > 10
    return path


def content(ctx: Context, *without: str) -> dict[str, list[str]]:
    with ctx.db.read() as session:
        tables = [t for t in Base.metadata.sorted_tables if t.name not in {*archive.LEFT_OUT, *without}]
        return {t.name: sorted(map(repr, session.execute(t.select()))) for t in tables}


@pytest.fixture
def full(ctx: Context, admin: Caller, alice: Caller) -> Context:
    """A garage with something in most tables."""
    keys.add(ctx, alice, "laptop", ALICE_KEY)
    machines.create(ctx, alice, NewMachine(name="one", size="tiny", user_data="#cloud-config\n{}"))
    for node in (member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)):
        node.poll()
        node.report()
    invitations.invite(ctx, admin, "nagoya")
    return ctx


CHANGED = ("node", "machine", "counter", "site_node", "setting", "audit")


def test_what_comes_back_is_what_was(full: Context, admin: Caller, alice: Caller, tmp_path: Path, clock: Clock) -> None:
    before, path = content(full, *CHANGED), taken(full, admin, tmp_path)
    clock.forward(60)
    machines.create(full, alice, NewMachine(name="two", size="tiny"))
    accounts.create_user(full, admin, "late")
    crew.join(full, "a worker of now", "server", "")
    with full.db.read() as session:
        epoch, version, revision = session.execute(select(Node.epoch, Node.spec_version, Node.revision)).one()
        audits = session.scalar(select(func.count()).select_from(Audit))
    done = backups.restore(full, admin, path)
    assert content(full, *CHANGED) == before
    assert done.nodes == 1
    with full.db.read() as session:
        node = session.scalars(select(Node)).one()
        assert (node.epoch, node.spec_version, node.owner) == (epoch + 1, version + 1, "")
        assert node.revision > revision
        assert list(session.scalars(select(Worker.id))) == ["a worker of now"]
        assert list(session.scalars(select(Machine.name))) == ["one"]
        assert session.scalar(select(func.count()).select_from(Audit)) == audits + 1, "no audit entry is lost"
        assert session.scalar(select(Machine.spec_version)) == node.spec_version
        assert loads.drift(session.connection()) == []
    assert int(setting(full, "next_number")) == 3, "a number is never used twice"
    with refused("wrong_state"):
        machines.create(full, alice, NewMachine(name="three", size="tiny"))


def setting(ctx: Context, key: str) -> str:
    with ctx.db.read() as session:
        return session.get_one(Setting, key).value


def test_a_backup_is_of_one_moment(full: Context, admin: Caller, alice: Caller, tmp_path: Path) -> None:
    class Meanwhile(io.BytesIO):
        made = False

        def write(self, data: Any) -> int:
            if not self.made and self.tell() > 10:
                self.made = True
                machines.create(full, alice, NewMachine(name="meanwhile", size="tiny"))
            return super().write(data)

    out = Meanwhile()
    with full.db.read() as session:
        session.execute(select(Machine.id)).all()
        archive.write(session, out, {"revision": "x"})
    assert out.made
    assert b"meanwhile" not in gzip.decompress(out.getvalue())


def other(ctx: Context, folder: Path, request: pytest.FixtureRequest, kind: str) -> Context:
    """The same garage with an empty database of the other kind."""
    if kind == "sqlite":
        url = f"sqlite:///{folder}/other.db"
    else:
        cluster = request.getfixturevalue("postgres")
        url = cluster.create("other")
        request.addfinalizer(lambda: cluster.drop("other"))
    database = Database(url)
    request.addfinalizer(database.close)
    migrate(database)
    return replace(ctx, db=database)


def test_from_one_database_to_the_other(
    full: Context, admin: Caller, alice: Caller, tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    path = taken(full, admin, tmp_path)
    moved = other(full, tmp_path, request, "sqlite" if engine == "postgres" else "postgres")
    backups.restore(moved, admin, path)
    assert content(moved, *CHANGED) == content(full, *CHANGED)
    with moved.db.read() as session:
        assert moved.vault.unlock(session.scalars(select(Machine.host_key_private)).one()).startswith(b"-----BEGIN")
    again = taken(moved, admin, tmp_path, "two.backup")
    backups.restore(full, admin, again)
    assert content(moved, *CHANGED) == content(full, *CHANGED)
    accounts.create_user(moved, admin, "later")  # sequences go on where they were


def test_the_token_that_asks_works_on_and_sign_ins_end(
    full: Context, admin: Caller, alice: Caller, tmp_path: Path, clock: Clock
) -> None:
    path = taken(full, admin, tmp_path)
    clock.forward(1)
    mine, hers = api_tokens.create(full, admin, "now")[1], api_tokens.create(full, alice, "now")[1]
    cookie = accounts.sign_in(full, "alice", "password of alice", "192.0.2.1")[1]
    assert backups.restore(full, admin, path, token_hash=digest(mine)).signed_in
    assert api_tokens.by_token(full, mine)
    assert api_tokens.by_token(full, hers) is None
    assert accounts.by_session(full, cookie) is None
    with full.db.read() as session:
        assert session.scalar(select(func.count()).select_from(Session)) == 0
        assert session.scalar(select(func.count()).select_from(ApiToken)) == 1


def test_only_an_admin(full: Context, alice: Caller, admin: Caller, tmp_path: Path) -> None:
    path = taken(full, admin, tmp_path)
    for forbidden in (
        lambda: backups.backup(full, alice, io.BytesIO()),
        lambda: backups.restore(full, alice, path),
        lambda: adoption.plan(full, alice),
        lambda: adoption.adopt(full, alice, "x"),
    ):
        with refused("forbidden"):
            forbidden()


def lines_of(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines(keepends=True)


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def without_end(path: Path) -> bytes:
    return gzip.compress(b"".join(lines_of(path)[:-1]))


def one_row_less(path: Path) -> bytes:
    return gzip.compress(b"".join(line for line in lines_of(path) if b"laptop" not in line))


def changed_row(path: Path) -> bytes:
    return gzip.compress(b"".join(lines_of(path)).replace(b"laptop", b"palmto"))


def followed(path: Path) -> bytes:
    return gzip.compress(b"".join([*lines_of(path), b"[]\n"]))


def orphaned(path: Path) -> bytes:
    """A right checksum over rows that refer to nothing."""
    import hashlib

    kept = [line for line in lines_of(path)[:-1] if not (line.startswith(b"[") and b'"alice","$argon2' in line)]
    rows = sum(line.startswith(b"[") for line in kept)
    end = {"end": True, "rows": rows, "sha256": hashlib.sha256(b"".join(kept)).hexdigest()}
    return gzip.compress(b"".join([*kept, json.dumps(end).encode() + b"\n"]))


BAD = {
    "empty": lambda path: b"",
    "no gzip": lambda path: b"".join(lines_of(path)),
    "other gzip": lambda path: gzip.compress(b"hello\n"),
    "other JSON": lambda path: gzip.compress(b'{"garage":"else"}\n'),
    "deep": lambda path: gzip.compress(b"[" * 200_000 + b"\n"),
    "cut off": lambda path: path.read_bytes()[: path.stat().st_size * 2 // 3],
    "damaged": lambda path: flipped(path.read_bytes()),
    "no end": without_end,
    "a row less": one_row_less,
    "a changed row": changed_row,
    "something follows": followed,
    "refers to nothing": orphaned,
}


def test_a_damaged_or_foreign_file_changes_nothing(full: Context, admin: Caller, tmp_path: Path) -> None:
    path = taken(full, admin, tmp_path)
    before, bad = content(full), tmp_path / "bad.backup"
    for how, make in BAD.items():
        bad.write_bytes(make(path))
        assert bad.read_bytes() != path.read_bytes(), how
        with refused("malformed_request") as caught:
            backups.restore(full, admin, bad)
        assert caught.value.hint, how
        assert content(full) == before, how
    assert not adoption.plan(full, admin).needed


def test_other_keys_and_newer_versions_are_refused(full: Context, admin: Caller, tmp_path: Path) -> None:
    from cryptography.fernet import Fernet

    path, before = taken(full, admin, tmp_path), content(full)
    with refused("config") as caught:
        backups.restore(replace(full, vault=Vault(Fernet.generate_key())), admin, path)
    assert "other keys" in caught.value.message
    head, *rest = lines_of(path)
    path.write_bytes(
        gzip.compress(b"".join([json.dumps({**json.loads(head), "revision": "9999"}).encode() + b"\n", *rest]))
    )
    with refused("config") as caught:
        backups.restore(full, admin, path)
    assert "9999" in caught.value.message
    assert content(full) == before


def test_a_backup_of_an_earlier_schema_is_brought_along(ctx: Context, admin: Caller, tmp_path: Path) -> None:
    """Made by hand as an earlier version would: an admin and a machine of before there were pools."""
    old = Database(f"sqlite:///{tmp_path}/old.db")
    upgrade(old, "0006")
    import hashlib

    import sqlalchemy as sa

    tables = sa.MetaData()
    tables.reflect(old.engine)
    user = {"id": "u1", "name": "root-admin", "role": "admin", "disabled": False, "created_at": 1.0}
    said = [{"garage": "backup", "format": 1, **backups._header(ctx), "revision": "0006"}]
    table = tables.tables["user"]
    said += [
        {"table": "user", "columns": list(table.columns.keys())},
        [user.get(column.name, "") for column in table.columns],
    ]  # type: ignore[list-item]
    said += [
        {"table": "counter", "columns": ["name", "value"]},
        *([name, 5] for name in ("serial", "table", "link", "dirty")),
    ]  # type: ignore[list-item]
    lines = [json.dumps(line).encode() + b"\n" for line in said]
    end = {"end": True, "rows": 5, "sha256": hashlib.sha256(b"".join(lines)).hexdigest()}
    path = tmp_path / "old.backup"
    path.write_bytes(gzip.compress(b"".join([*lines, json.dumps(end).encode() + b"\n"])))
    assert backups.restore(ctx, admin, path).rows == 5
    assert [found.name for found in accounts.list_users(ctx, Caller("u1", "root-admin", admin=True))] == ["root-admin"]
    old.close()


# --- nodes afterwards -----------------------------------------------------------------------------------------------


@pytest.fixture
def rig(ctx: Context, admin: Caller, alice: Caller, clock: Clock) -> Iterator[Rig]:
    with rigged(ctx, clock, alice) as made:
        yield made


def restored(rig: Rig, admin: Caller, path: Path) -> None:
    backups.restore(rig.ctx, admin, path)
    rig.pass_time(20)
    rig.settle()


def steps(rig: Rig, admin: Caller) -> dict[str, str]:
    return {step.id: step.do.value for step in adoption.plan(rig.ctx, admin).steps}


def agree(rig: Rig, admin: Caller) -> None:
    adoption.adopt(rig.ctx, admin, adoption.plan(rig.ctx, admin).digest)


def test_without_a_difference_nothing_happens_to_machines(rig: Rig, admin: Caller, tmp_path: Path) -> None:
    ref = rig.ready()
    path, calls = taken(rig.ctx, admin, tmp_path), list(rig.fake.calls)
    restored(rig, admin, path)
    plan = adoption.plan(rig.ctx, admin)
    assert (plan.needed, plan.nodes, plan.waiting, plan.steps) == (True, [NODE], [], [])
    agree(rig, admin)
    assert not adoption.plan(rig.ctx, admin).needed
    rig.netd()
    rig.settle()
    assert rig.row(ref).state == "ready"
    assert rig.fake.calls == calls
    with refused("wrong_state"):
        adoption.adopt(rig.ctx, admin, plan.digest)


def test_nothing_is_done_before_somebody_agreed(rig: Rig, admin: Caller, tmp_path: Path) -> None:
    """The database says: stop one, delete one, let one's lease end; the third is not even known."""
    stopped, gone, ended = rig.ready("stopped"), rig.ready("gone"), rig.ready("ended")
    since = rig.clock()
    with rig.ctx.db.write() as session:
        session.get_one(Machine, stopped).wants_running = False
        fire(session, rig.ctx, session.get_one(Machine, gone), Event.DELETE)
        session.get_one(Machine, ended).lease_until = since + 1
    path = taken(rig.ctx, admin, tmp_path)
    with rig.ctx.db.write() as session:  # the worker of today never hears of it
        session.get_one(Machine, stopped).wants_running = True
        session.get_one(Machine, gone).state = State.READY.value
        session.get_one(Machine, ended).lease_until = since + 10_000
    unknown = rig.make("unknown")
    rig.until(unknown, "preparing", "booting", "ready")
    calls, domains = list(rig.fake.calls), rig.fake.observe()
    restored(rig, admin, path)
    rig.pass_time(3600)
    rig.settle()
    assert rig.fake.calls == calls
    assert rig.fake.observe() == domains
    assert steps(rig, admin) == {unknown: "keep"}
    sealed = nodes.sealed_spec(rig.ctx, NODE, 0)
    assert sealed is None, "what runs keeps its network"


def test_a_domain_without_a_row_is_shut_down_and_kept(rig: Rig, admin: Caller, tmp_path: Path) -> None:
    path = taken(rig.ctx, admin, tmp_path)
    unknown = rig.ready("unknown")
    restored(rig, admin, path)
    assert steps(rig, admin) == {unknown: "keep"}
    agree(rig, admin)
    rig.settle()
    rig.settle()
    domain = rig.fake.look(unknown)
    assert domain is not None
    assert domain.power is Power.OFF
    assert rig.disks.present(unknown) == (True, True)
    rig.fake.start(unknown)  # by hand, to save what is in it
    rig.pass_time(60)
    rig.settle()
    assert rig.fake.look(unknown) == Domain(Power.RUNNING)


def test_what_runs_is_not_stopped(rig: Rig, admin: Caller, tmp_path: Path) -> None:
    ref = rig.ready()
    machines.stop(rig.ctx, rig.caller, ref)
    rig.until(ref, "ready", "stopping", "stopped")
    path = taken(rig.ctx, admin, tmp_path)
    machines.start(rig.ctx, rig.caller, ref)
    rig.until(ref, "stopped", "booting", "ready")
    restored(rig, admin, path)
    assert rig.row(ref).state == "stopped"
    assert steps(rig, admin) == {ref: "runs"}
    calls = list(rig.fake.calls)
    agree(rig, admin)
    rig.netd()
    rig.until(ref, "booting", "ready")
    assert [call for call in rig.fake.calls[len(calls) :] if call[0] in ("shutdown", "destroy", "start")] == []


def test_what_should_run_is_started_or_marked_lost(rig: Rig, admin: Caller, tmp_path: Path) -> None:
    off, gone = rig.ready("off"), rig.ready("gone")
    path = taken(rig.ctx, admin, tmp_path)
    machines.delete(rig.ctx, rig.caller, gone)
    rig.until(gone, "ready", "deleting", "gone")
    rig.fake.destroy(off)  # last, as today's worker would start it again
    restored(rig, admin, path)
    assert steps(rig, admin) == {off: "recover", gone: "recover"}
    agree(rig, admin)
    rig.netd()
    rig.until(gone, "ready", "unreachable", "lost")
    rig.until(off, "ready", "unreachable", "stopped", "booting", "ready")


def test_a_plan_that_is_another_by_now_is_refused(rig: Rig, admin: Caller, tmp_path: Path) -> None:
    ref = rig.ready()
    restored(rig, admin, taken(rig.ctx, admin, tmp_path))
    seen = adoption.plan(rig.ctx, admin).digest
    rig.fake.destroy(ref)
    rig.pass_time(20)
    rig.settle()
    with refused("version_conflict"):
        adoption.adopt(rig.ctx, admin, seen)
    assert steps(rig, admin) == {ref: "recover"}


def test_a_node_that_was_not_looked_at_waits_on(rig: Rig, admin: Caller, tmp_path: Path) -> None:
    rig.ready()
    backups.restore(rig.ctx, admin, taken(rig.ctx, admin, tmp_path))
    plan = adoption.plan(rig.ctx, admin)
    assert (plan.nodes, plan.waiting) == ([], [NODE])
    with refused("wrong_state"):
        adoption.adopt(rig.ctx, admin, plan.digest)
    with rig.ctx.db.read() as session:
        assert session.get_one(Adoption, NODE).seen_at is None


def test_a_pool_machine_that_was_taken_since_is_given_to_nobody_else(rig: Rig, admin: Caller, tmp_path: Path) -> None:
    ref = rig.ready()
    with rig.ctx.db.write() as session:
        row = session.get_one(Machine, ref)
        row.state, row.warm, row.project_id, row.created_by = State.SPARE.value, True, None, None
    restored(rig, admin, taken(rig.ctx, admin, tmp_path))
    assert steps(rig, admin) == {ref: "keep"}
    agree(rig, admin)
    rig.settle()
    with rig.ctx.db.read() as session:
        assert session.get(Machine, ref) is None
    assert rig.fake.look(ref) is not None
    assert rig.disks.present(ref)[0]


def test_a_nodes_newer_spec_is_overtaken(ctx: Context, admin: Caller, alice: Caller) -> None:
    """The database was put back without us (a copied file): the node holds a newer spec than it knows of."""
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    nodes.report(ctx, ctx.config.node, wire.Report(node=ctx.config.node, applied_version=40))
    with ctx.db.read() as session:
        assert session.get_one(Node, ctx.config.node).spec_version == 41
        assert session.get_one(Machine, made.id).spec_version == 41, "what the node applied is not of this machine"
    assert nodes.sealed_spec(ctx, ctx.config.node, 40) is not None
    nodes.report(ctx, ctx.config.node, wire.Report(node=ctx.config.node, applied_version=2**31))
    with ctx.db.read() as session:
        assert session.get_one(Node, ctx.config.node).spec_version == 41
    assert nodes.authenticate(ctx, NODE_TOKEN) == ctx.config.node
