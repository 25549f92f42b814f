"""A machine goes to another project: quota, name, keys, rights, audit and what pages are told."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from sqlalchemy import select

from garage.core.states import Event
from garage.db.models import Audit, EventRow, Machine, Node
from garage.errors import GarageError
from garage.services import keys, machines, nodes, projects
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.services.transferring import transfer
from netd import wire
from tests.conftest import ALICE_KEY
from tests.inproc.served import play


def ready(ctx: Context, who: Caller, name: str = "one") -> str:
    made = machines.create(ctx, who, NewMachine(name=name, size="tiny"))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED)
    return made.id


def code(ctx: Context, who: Caller, ref: str, to: str) -> str:
    with pytest.raises(GarageError) as refused:
        transfer(ctx, who, ref, to)
    return refused.value.code


def test_it_takes_its_addresses_along_and_the_names_quota_and_keys_of_the_other(
    ctx: Context, alice: Caller, bob: Caller
) -> None:
    keys.add(ctx, alice, "laptop", ALICE_KEY)
    ref = ready(ctx, alice)
    before = machines.get(ctx, alice, ref)
    arms = projects.create(ctx, bob, "arms")
    projects.set_member(ctx, bob, "arms", "alice", "member")
    with ctx.db.read() as session:
        version = session.get_one(Node, "node1").spec_version
        seen = session.scalar(select(EventRow.id).order_by(EventRow.id.desc()).limit(1)) or 0
    view = transfer(ctx, alice, "one", "arms")
    assert (view.id, view.project, view.fqdn) == (ref, "arms", "one.arms.home.garage.internal")
    assert (view.ipv4, view.ipv6, view.state) == (before.ipv4, before.ipv6, "ready")
    assert projects.get(ctx, alice, "alice").usage.used["machines"] == 0
    assert projects.get(ctx, bob, "arms").usage.used["machines"] == 1
    sealed = nodes.sealed_spec(ctx, "node1", version)
    assert sealed is not None, "its node has news"
    spec = wire.unseal(sealed, ctx.controller_key.public_key(), node="node1")
    assert [machine.project for machine in spec.machines] == ["arms"]
    with ctx.db.read() as session:
        told = session.scalars(select(EventRow).where(EventRow.id > seen, EventRow.subject == ref)).all()
        assert [(row.project_id == arms.id, row.data["state"]) for row in told] == [(False, "gone"), (True, "ready")]
        entries = session.scalars(select(Audit).where(Audit.action == "machine.transfer")).all()
        assert {(entry.subject, entry.project_id == arms.id) for entry in entries} == {
            ("one.alice", True),
            ("one.alice", False),
        }
    projects.remove_member(ctx, bob, "arms", "alice")
    with pytest.raises(GarageError, match="there is no machine"):
        machines.get(ctx, alice, ref)


def test_only_the_other_projects_members_log_in_from_then_on(ctx: Context, alice: Caller, bob: Caller) -> None:
    keys.add(ctx, bob, "desk", ALICE_KEY)
    ref = ready(ctx, alice)
    projects.create(ctx, bob, "arms")
    projects.set_member(ctx, bob, "arms", "alice", "member")
    transfer(ctx, alice, "one", "arms")
    with ctx.db.read() as session:
        machine = session.get_one(Machine, ref)
        assert (len(machine.authorized_keys), machine.keys_applied) == (1, False)


def test_who_is_not_in_both_cannot(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    ready(ctx, alice)
    projects.create(ctx, bob, "arms")
    assert code(ctx, alice, "one", "arms") == "not_found"
    assert code(ctx, bob, "one", "arms") == "not_found"
    assert transfer(ctx, admin, "one.alice", "arms").project == "arms"


def test_a_name_a_quota_or_a_state_that_does_not_fit_changes_nothing(
    ctx: Context, admin: Caller, alice: Caller
) -> None:
    ref = ready(ctx, alice)
    projects.create(ctx, alice, "arms")
    machines.create(ctx, alice, NewMachine(name="two", size="tiny"))
    assert code(ctx, alice, "two", "arms") == "wrong_state"
    ready(ctx, alice, "three")
    transfer(ctx, alice, "three", "arms")
    quota = projects.get(ctx, admin, "arms").usage.quota
    projects.set_quota(ctx, admin, "arms", quota | {"machines": 1})
    assert code(ctx, alice, "one", "arms") == "quota_exceeded"
    projects.set_quota(ctx, admin, "arms", dict(quota))
    ready(ctx, alice, "four")
    transfer(ctx, alice, "four", "arms")
    with ctx.db.write() as session:
        session.get_one(Machine, ref).name = "four"
    assert code(ctx, alice, "four.alice", "arms") == "already_exists"
    assert machines.get(ctx, alice, ref).project == "alice"


def test_to_where_it_is_already_changes_nothing(ctx: Context, alice: Caller) -> None:
    ready(ctx, alice)
    before = asdict(machines.get(ctx, alice, "one"))
    assert asdict(transfer(ctx, alice, "one", "alice")) == before
    with ctx.db.read() as session:
        assert session.scalars(select(Audit).where(Audit.action == "machine.transfer")).all() == []
