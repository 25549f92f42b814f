"""What does not fit between the database and the nodes is named, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from garage.core.consistency import Kind, NodeSeen, Row, troubles
from garage.core.hypervisor_types import Domain, Power
from garage.core.states import State

ON, PAUSED, OFF = Domain(Power.RUNNING), Domain(Power.PAUSED), Domain(Power.OFF)


def row(number: int, state: State = State.READY, node: str = "a") -> Row:
    return Row(
        id=f"m{number}", name=f"vm{number}", project="p", state=state, node=node, moving_to=None, warm=False,
        ipv4=f"10.0.0.{number}", ipv6=f"fd00::{number}", mac=f"52:54:00:00:00:{number:02x}", tap=f"tap{number}",
        has_key=state is not State.GONE,
    )  # fmt: skip


def node(*, disks: str = "", **domains: Domain) -> NodeSeen:
    return NodeSeen(domains, frozenset(disks.split()) | domains.keys())


def kinds(rows: list[Row], **nodes: NodeSeen) -> list[Kind]:
    return [trouble.kind for trouble in troubles(rows, nodes)]


def test_a_garage_at_rest_fits() -> None:
    rows = [
        row(1),
        row(2, State.STOPPED),
        row(3, State.GONE),
        row(4, State.FAILED),
        row(5, State.LOST),
        row(6, node="b"),
    ]
    a = node(m1=ON, m2=OFF, m4=OFF)
    assert troubles(rows, {"a": a, "b": node(m6=ON)}) == []


@pytest.mark.parametrize("state", [State.REQUESTED, State.PREPARING, State.BOOTING, State.STOPPING, State.DELETING])
def test_what_is_under_way_may_be_half_there_but_never_twice(state: State) -> None:
    assert kinds([row(1, state)], a=node()) == kinds([row(1, state)], a=node(m1=ON)) == []
    assert Kind.DOMAIN_TWICE in kinds([row(1, state)], a=node(m1=ON), b=node(m1=ON))


def test_a_machine_that_moves_may_be_at_two_nodes_but_runs_at_one() -> None:
    moving = replace(row(1), moving_to="b")
    assert kinds([moving], a=node(m1=ON), b=node(m1=OFF)) == []
    assert kinds([moving], a=node(m1=ON), b=node(m1=ON)) == [Kind.DOMAIN_TWICE]
    assert kinds([moving], a=node(m1=ON), c=node(m1=OFF)) == [Kind.DISK_STRAY, Kind.DOMAIN_STRAY]


@pytest.mark.parametrize(
    ("rows", "a", "wrong"),
    [
        ([row(1)], node(), {Kind.DOMAIN_MISSING, Kind.DISK_MISSING}),
        ([row(1)], node(m1=OFF), {Kind.POWER}),
        ([row(1, State.STOPPED)], node(m1=ON), {Kind.POWER}),
        ([row(1, State.STOPPED)], node(), {Kind.DISK_MISSING}),
        ([replace(row(1, State.STOPPED), ran=False)], node(), set()),
        ([row(1, State.GONE)], node(m1=ON), {Kind.DOMAIN_STRAY, Kind.DISK_STRAY}),
        ([], node(disks="m9"), {Kind.DISK_STRAY}),
        ([row(1, node="b")], node(m1=ON), {Kind.DOMAIN_STRAY, Kind.DISK_STRAY}),
        ([replace(row(1, State.GONE), has_key=True)], node(), {Kind.SECRET_LEFT}),
        ([replace(row(1, State.SPARE), project=None, warm=True)], node(), {Kind.DOMAIN_MISSING, Kind.DISK_MISSING}),
    ],
)
def test_each_trouble_is_named(rows: list[Row], a: NodeSeen, wrong: set[Kind]) -> None:
    assert set(kinds(rows, a=a)) == wrong


def test_a_pool_machine_that_waits_is_paused() -> None:
    spare = replace(row(1, State.SPARE), project=None, warm=True)
    assert kinds([spare], a=node(m1=PAUSED)) == []


def test_names_and_addresses_are_given_once() -> None:
    other = replace(row(2), name="vm1", ipv4="10.0.0.1")
    assert set(kinds([row(1), other], a=node(m1=ON, m2=ON))) == {Kind.NAME_TWICE, Kind.ADDRESS_TWICE}
    assert kinds([row(1), replace(other, state=State.GONE, has_key=False)], a=node(m1=ON)) == []
    spares = [replace(row(n, State.SPARE), project=None, name="spare", warm=True) for n in (1, 2)]
    assert kinds(spares, a=node(m1=PAUSED, m2=PAUSED)) == []


def test_nothing_is_said_of_a_node_that_did_not_answer() -> None:
    assert kinds([row(1, State.UNREACHABLE), row(2)]) == []
