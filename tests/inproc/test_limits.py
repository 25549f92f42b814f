"""What a machine may take of what its node shares: settings, an admin's word, the worker on the fake hypervisor, what netd is sent."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from garage import bootstrap
from garage import config as configuration
from garage.db.models import Audit, Machine, Node
from garage.errors import GarageError
from garage.services import limiting, machines, nodes
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from netd import wire
from tests.conftest import NODE_TOKEN, Clock
from tests.inproc.rig import Rig, rigged
from tests.inproc.served import Served
from tests.inproc.test_cli import served  # noqa: F401  (a fixture)

NODE = {"Authorization": f"Bearer {NODE_TOKEN}"}


@pytest.fixture
def rig(ctx: Context, clock: Clock, alice: Caller) -> Iterator[Rig]:
    with rigged(ctx, clock, alice) as made:
        yield made


def nets(ctx: Context, sealed: bytes | None) -> list[tuple[int, int]]:
    assert sealed is not None
    spec = wire.unseal(sealed, ctx.controller_key.public_key(), node="node1")
    return [(machine.net_mbit, machine.connections) for machine in spec.machines]


def version(ctx: Context) -> int:
    with ctx.db.read() as session:
        return session.get_one(Node, "node1").spec_version


# --- what is said -----------------------------------------------------------------------------------------------------


def test_settings_of_all_then_of_a_size_then_an_admins_word(ctx: Context, admin: Caller, alice: Caller) -> None:
    said = {"net_mbit": 500, "disk_mb": 100, "sizes": {"tiny": {"net_mbit": 50}}}
    ctx = replace(ctx, config=replace(ctx.config, limits=said))
    machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    machines.create(ctx, alice, NewMachine(name="two", size="small"))
    found = {view.name: view.limits for view in machines.listing(ctx, alice).items}
    assert (found["one"].net_mbit, found["two"].net_mbit, found["one"].disk_mb) == (50, 500, 100)
    before = version(ctx)
    view = limiting.limit(ctx, admin, "one.alice", {"net_mbit": 7, "connections": 0})
    assert (view.limits.net_mbit, view.limits.connections, view.limits_own) == (7, 0, ["connections", "net_mbit"])
    assert nets(ctx, nodes.sealed_spec(ctx, "node1", before, limits=True)) == [(7, 0), (500, 8192)]
    again = limiting.limit(ctx, admin, "one.alice", {"net_mbit": None, "connections": None})
    assert (again.limits, again.limits_own) == (found["one"], [])
    with ctx.db.read() as session:
        entries = session.scalars(select(Audit.detail).where(Audit.action == "machine.limit").order_by(Audit.id))
        assert list(entries) == [{"net_mbit": 7, "connections": 0}, {}]


def test_only_an_admin_sets_them_and_only_to_what_they_can_be(ctx: Context, admin: Caller, alice: Caller) -> None:
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    before = version(ctx)
    for who, changes, code in (
        (alice, {"net_mbit": 7}, "forbidden"),
        (admin, {"net_mbit": -1}, "invalid_field"),
        (admin, {"net_mbit": 400_001}, "invalid_field"),
        (admin, {"colour": 1}, "invalid_field"),
    ):
        with pytest.raises(GarageError, check=lambda error, code=code: error.code == code):
            limiting.limit(ctx, who, made.id, changes)
    limiting.limit(ctx, admin, made.id, {})
    assert version(ctx) == before, "nothing was changed, and no node is told of it"


@pytest.mark.parametrize(
    "text", ["limits = 3", "[limits]\nnet = 3", "[limits]\nnet_mbit = -1", "[limits.sizes]\ntiny = 3"]
)
def test_a_table_that_says_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "garage.toml").write_text(text)
    with pytest.raises(GarageError, match="limit", check=lambda error: error.code == "config"):
        configuration.load({"GARAGE_HOME": str(tmp_path)})


def test_the_file_is_written_anew_with_its_tables_of_sizes(tmp_path: Path) -> None:
    path = tmp_path / "garage.toml"
    path.write_text(
        'instance = "tst"\n[limits]\nnet_mbit = 500\n[limits.sizes.tiny]\nnet_mbit = 50\n[image_copy_mbit]\n"*" = 9\n'
    )
    bootstrap._settings(tmp_path, "127.0.0.1:8081")
    found = configuration.load({"GARAGE_HOME": str(tmp_path)})
    assert (found.listen, found.limits["sizes"]["tiny"]) == ("127.0.0.1:8081", {"net_mbit": 50})
    assert found.image_copy_mbit == {"*": 9}


def test_other_settings_are_news_for_every_node(ctx: Context, alice: Caller) -> None:
    limiting.follow_settings(ctx)
    before = version(ctx)
    limiting.follow_settings(ctx)
    assert version(ctx) == before
    limiting.follow_settings(replace(ctx, config=replace(ctx.config, limits={"net_mbit": 5})))
    assert version(ctx) > before


# --- what becomes of it -----------------------------------------------------------------------------------------------


def test_the_worker_tells_a_running_domain(rig: Rig, ctx: Context, admin: Caller, alice: Caller) -> None:
    machine_id = rig.ready("one")
    rig.settle()
    assert rig.fake.disk_limit(machine_id) == (5000, 250), "it was defined with them"
    assert ("limit_disk", machine_id) not in rig.fake.calls, "and needs not be told"
    limiting.limit(ctx, admin, "one.alice", {"disk_iops": 100, "net_mbit": 5})
    rig.settle()
    rig.until_true(lambda: rig.row(machine_id).disk_limits == "100 250")
    assert rig.fake.disk_limit(machine_id) == (100, 250)
    assert rig.fake.calls.count(("limit_disk", machine_id)) == 1
    with ctx.db.write() as session:
        session.get_one(Machine, machine_id).disk_limits = ""  # as a garage of an earlier version left it
    rig.until_true(lambda: rig.row(machine_id).disk_limits == "100 250")
    assert rig.fake.calls.count(("limit_disk", machine_id)) == 2
    limiting.limit(ctx, admin, "one.alice", {"disk_iops": 0, "disk_mb": 0})
    rig.until_true(lambda: rig.fake.disk_limit(machine_id) == (0, 0))
    rig.settle()
    assert rig.fake.calls.count(("limit_disk", machine_id)) == 3


def test_an_older_netd_gets_a_spec_that_it_understands(ctx: Context, served: Served, alice: Caller) -> None:
    machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    older = served.http.get("/node/v1/spec", params={"after": 0}, headers=NODE)
    envelope = msgspec.json.decode(older.content, type=wire.Envelope)
    (machine,) = json.loads(envelope.payload)["machines"]
    assert not {"net_mbit", "connections"} & machine.keys(), "it refuses a spec with a field that it does not know"
    newer = served.http.get("/node/v1/spec", params={"after": 0, "knows": "limits"}, headers=NODE)
    assert nets(ctx, newer.content) == [(1000, 8192)]
