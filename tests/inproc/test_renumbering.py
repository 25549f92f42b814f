"""A site takes the prefixes that its registry gave it: as a plan that is looked at first, machines included."""

from __future__ import annotations

from pathlib import Path

import pytest

from garage.errors import GarageError
from garage.services import invitations, machines, nodes, own_site, renumbering, sites
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from netd import wire
from tests.inproc.overlay_nodes import member
from tests.inproc.served import serving
from tests.inproc.test_cli import Shell
from tests.inproc.test_worker import NODE, Rig, rig

__all__ = ["rig"]
GIVEN = ("10.99.16.0/20", "fd99:1:2::/48")


def tell(ctx: Context, given: tuple[str, str] | None = GIVEN, applied: int = 0) -> None:
    """As netd reports once its site is a member."""
    prefixes = {"ipv4": given[0], "ipv6": given[1]} if given else {}
    said = wire.Report(node=NODE, applied_version=applied, site="home1", domain="garage.internal", **prefixes)
    nodes.report(ctx, NODE, said)


@pytest.fixture
def told(rig: Rig) -> Rig:
    rig.ready("one")
    stopped = rig.ready("two")
    machines.stop(rig.ctx, rig.caller, stopped)
    rig.until(stopped, "stopping", "stopped")
    tell(rig.ctx)
    return rig


def test_nothing_changes_by_what_a_registry_gives(told: Rig, admin: Caller) -> None:
    before = told.ctx.config.site_ipv4, told.ctx.config.site_ipv6
    with told.ctx.db.read() as session:
        assert own_site.prefixes(session, told.ctx) == before
        assert nodes.build_spec(session, told.ctx, told.node()).bridge.site_ipv4 == before[0]
    plan = renumbering.plan(told.ctx, admin)
    assert (plan.needed, plan.before, plan.after) == (True, before, GIVEN)
    assert [(move.name, move.state, move.restarts) for move in plan.moves] == [
        ("one", "ready", True),
        ("two", "stopped", False),
    ]
    assert all(move.ipv4.startswith("10.99.16.") and move.ipv6.startswith("fd99:1:2:") for move in plan.moves)


def test_machines_come_back_at_their_new_addresses(told: Rig, admin: Caller) -> None:
    plan = renumbering.plan(told.ctx, admin)
    one, two = (move.id for move in plan.moves)
    renumbering.carry_out(told.ctx, admin, plan.digest)
    assert told.row(one).state == "stopping"
    told.netd()
    told.until(one, "stopping", "stopped", "booting", "ready")
    assert [(told.row(move.id).ipv4, told.row(move.id).ipv6) for move in plan.moves] == [
        (move.ipv4, move.ipv6) for move in plan.moves
    ]
    assert told.row(two).state == "stopped"
    with told.ctx.db.read() as session:
        spec = nodes.build_spec(session, told.ctx, told.node())
    assert (spec.bridge.site_ipv4, spec.bridge.site_ipv6) == GIVEN
    assert spec.bridge.ipv4 == "10.99.16.1"
    assert {machine.ipv4 for machine in spec.machines} == {move.ipv4 for move in plan.moves}
    tell(told.ctx, applied=spec.version)
    assert not renumbering.plan(told.ctx, admin).needed
    assert told.audits("site.renumber") == ["site.renumber"]
    third = machines.create(told.ctx, told.caller, NewMachine(name="three"))
    assert third.ipv4.startswith("10.99.16.")


def test_a_member_of_an_overlay_elsewhere_invites_nobody(told: Rig, admin: Caller) -> None:
    with pytest.raises(GarageError) as error:
        invitations.invite(told.ctx, admin, "kyoto", own_name="home1")
    assert error.value.code == "wrong_state"
    assert invitations.listing(told.ctx, admin) == []
    tell(told.ctx, None)
    assert invitations.invite(told.ctx, admin, "kyoto", own_name="home1")[0].site == "kyoto"


def refused(rig: Rig, admin: Caller, agreed: str) -> str:
    """The error's code; nothing was changed."""
    with rig.ctx.db.read() as session:
        before = own_site.prefixes(session, rig.ctx)
    version = rig.node().spec_version
    with pytest.raises(GarageError) as error:
        renumbering.carry_out(rig.ctx, admin, agreed)
    with rig.ctx.db.read() as session:
        assert own_site.prefixes(session, rig.ctx) == before
    assert rig.node().spec_version == version
    return error.value.code


def test_another_plan_than_the_one_looked_at_is_not_done(told: Rig, admin: Caller) -> None:
    seen = renumbering.plan(told.ctx, admin)
    tell(told.ctx, ("10.99.32.0/20", "fd99:1:3::/48"))
    assert refused(told, admin, seen.digest) == "version_conflict"


def test_machines_on_their_way_are_waited_for(told: Rig, admin: Caller) -> None:
    machines.create(told.ctx, told.caller, NewMachine(name="three"))
    assert refused(told, admin, renumbering.plan(told.ctx, admin).digest) == "wrong_state"


def test_there_is_nothing_to_do_without_an_overlay(told: Rig, admin: Caller) -> None:
    tell(told.ctx, None)
    plan = renumbering.plan(told.ctx, admin)
    assert (plan.needed, plan.moves) == (False, [])
    assert refused(told, admin, plan.digest) == "wrong_state"


def test_only_admins_renumber(told: Rig) -> None:
    for act in (
        lambda: renumbering.plan(told.ctx, told.caller),
        lambda: renumbering.carry_out(told.ctx, told.caller, ""),
    ):
        with pytest.raises(GarageError) as error:
            act()
        assert error.value.code == "forbidden"


def test_the_registry_hears_that_it_was_done(ctx: Context, admin: Caller) -> None:
    first = member(ctx, admin, "first", 7)
    second = member(ctx, admin, "second", 7, endpoints=("203.0.113.9:51820",))
    given = next(site for site in second.table.sites if site.site == "second")
    assert (given.ipv4, given.ipv6) != (first.request.ipv4, first.request.ipv6)
    second.report(ipv4=second.request.ipv4, ipv6=second.request.ipv6)
    assert sites.get(ctx, admin, "second").renumber
    second.report(ipv4=given.ipv4, ipv6=given.ipv6)
    assert not sites.get(ctx, admin, "second").renumber
    assert not sites.get(ctx, admin, "first").renumber


def test_the_command_shows_the_plan_and_does_it(told: Rig, admin: Caller, tmp_path: Path) -> None:
    with serving(told.ctx) as served:
        shell = Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(admin))
        shown = shell("site", "renumber", "--plan")
        assert shown.returncode == 0, shown.stderr
        for text in (*GIVEN, "one.", "restarts"):
            assert text in shown.stdout
        assert renumbering.plan(told.ctx, admin).needed
        done = shell("site", "renumber", "--yes")
        assert "machines that restart: 1" in done.stdout
        assert not renumbering.plan(told.ctx, admin).needed
