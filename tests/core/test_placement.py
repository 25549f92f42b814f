"""core.placement: never more than there is, never where it may not be, always the same, and a true reason for each node."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage.core.placement import IMAGE, LACKS, POLICIES, POOL, Ask, Room, judge, place, shortfall, with_machine
from garage.core.refusal import refusal, short, too_many
from garage.core.types import Demand, NodeFacts
from garage.errors import GarageError


def room(name: str = "lab1", memory: int = 8192, used: int = 0, promised: int = 0, disk: float = 50.0) -> Room:
    return Room(name, NodeFacts(4, memory, disk, 100.0, "tcg"), Demand(0, used, promised), 1024, 5.0, 4.0, 2.0)


SMALL = Ask(Demand(1, 512, 1))

names = st.text("abc", min_size=1, max_size=2)
labels = st.dictionaries(st.sampled_from(["gpu", "room"]), st.sampled_from(["a", "b"]), max_size=2)
rooms = st.builds(
    Room,
    name=names,
    facts=st.builds(
        NodeFacts,
        vcpus=st.integers(0, 8),
        memory_mib=st.integers(0, 16_384),
        disk_free_gib=st.floats(0, 100),
        disk_total_gib=st.floats(0, 200),
        virtualisation=st.just("kvm"),
        memory_available_mib=st.none() | st.integers(0, 16_384),
    ),
    used=st.builds(Demand, st.integers(0, 16), st.integers(0, 16_384), st.integers(0, 300)),
    ram_reserve_mib=st.just(1024),
    disk_reserve_gib=st.just(5.0),
    vcpu_overcommit=st.sampled_from([1.0, 1.5, 4.0]),
    disk_overcommit=st.sampled_from([1.0, 3.0]),
    known=st.just(True) | st.booleans(),
    state=st.just("active") | st.sampled_from(["draining", "maintenance"]),
    silent=st.just(False) | st.booleans(),
    away=st.just(False) | st.booleans(),
    labels=labels,
    image=st.booleans(),
    warm=st.integers(0, 2),
    kept_apart=st.booleans(),
)
fleets = st.lists(rooms, max_size=8, unique_by=lambda room: room.name)
asks = st.builds(
    Ask,
    demand=st.builds(Demand, st.integers(1, 8), st.integers(1, 8192), st.integers(1, 100)),
    labels=st.just({}) | labels,
    apart=st.sampled_from(["", "db"]),
)
policies = st.sampled_from(POLICIES)


@given(fleets, asks, policies, st.integers(1, 12))
def test_nothing_is_over_committed_and_every_wish_is_kept(fleet: list[Room], ask: Ask, policy: str, count: int) -> None:
    before = {room.name: room for room in fleet}
    held = dict(before)
    for decision in place(fleet, ask, policy, count):
        name = decision.chosen.node
        assert decision.room == held[name]
        assert (before[name].state, before[name].silent, before[name].away) == ("active", False, False)
        assert before[name].labels.items() >= ask.labels.items()
        assert not (ask.apart and held[name].kept_apart)
        held[name] = with_machine(held[name], ask)
    for name, after in held.items():
        if after is not before[name]:
            _not_too_much(before[name], after)


def _not_too_much(before: Room, after: Room) -> None:
    facts = after.facts
    assert after.used.memory_mib + after.ram_reserve_mib <= facts.memory_mib
    if facts.memory_available_mib is not None:
        added = after.used.memory_mib - before.used.memory_mib
        assert added + after.ram_reserve_mib <= facts.memory_available_mib or added <= before.free_memory_mib
    assert after.used.vcpus <= facts.vcpus * after.vcpu_overcommit
    grown = after.used.disk_gib - before.used.disk_gib
    assert grown == 0 or after.used.disk_gib <= after.disk_overcommit * (facts.disk_total_gib - after.disk_reserve_gib)
    assert facts.disk_free_gib >= after.disk_reserve_gib


@given(fleets, asks, policies, st.integers(1, 12), st.randoms())
def test_the_order_of_nodes_changes_nothing(
    fleet: list[Room], ask: Ask, policy: str, count: int, rng: random.Random
) -> None:
    shuffled = fleet[:]
    rng.shuffle(shuffled)
    assert place(fleet, ask, policy, count) == place(shuffled, ask, policy, count)


@given(fleets, asks, policies, st.integers(1, 12))
def test_several_at_once_go_where_they_would_one_by_one(fleet: list[Room], ask: Ask, policy: str, count: int) -> None:
    together = [decision.chosen.node for decision in place(fleet, ask, policy, count)]
    alone: list[str] = []
    for _ in range(count):
        if not (found := place(fleet, ask, policy)):
            break
        alone.append(found[0].chosen.node)
        fleet = [with_machine(room, ask) if room.name == alone[-1] else room for room in fleet]
    assert together == alone


@given(rooms, asks, policies)
def test_what_a_node_lacks_is_true_and_mending_all_of_it_makes_it_fit(room: Room, ask: Ask, policy: str) -> None:
    verdict = judge(room, ask, policy)
    assert [lack.what for lack in verdict.lacks] == sorted({lack.what for lack in verdict.lacks}, key=LACKS.index)
    for lack in verdict.lacks:
        rest = {other.what for other in judge(_mended(room, ask, [lack.what]), ask, policy).lacks}
        assert lack.what not in rest, "mending just this removes just this"
        assert {other.what for other in verdict.lacks} - {lack.what} <= rest | {"disk", "promised", "memory", "vcpus"}
    everything = _mended(room, ask, LACKS)
    assert judge(everything, ask, policy).fits
    assert verdict.fits is (place([room], ask, policy) != [])


def _mended(room: Room, ask: Ask, what: Sequence[str]) -> Room:
    """As if it lacked nothing of `what`."""
    for lack in what:
        facts = room.facts
        room = {
            "state": replace(room, state="active"),
            "silent": replace(room, silent=False),
            "away": replace(room, away=False),
            "unknown": replace(room, known=True),
            "labels": replace(room, labels={**room.labels, **ask.labels}),
            "apart": replace(room, kept_apart=False),
            "disk": replace(room, facts=replace(facts, disk_free_gib=1000.0)),
            "promised": replace(room, facts=replace(facts, disk_total_gib=1000.0)),
            "memory": replace(room, facts=replace(facts, memory_mib=100_000, memory_available_mib=None)),
            "vcpus": replace(room, facts=replace(facts, vcpus=1000)),
        }[lack]
    return room


def test_spread_takes_the_freest_and_pack_the_fullest_that_fits() -> None:
    fleet = [room("a", used=2048), room("b"), room("c", used=6500), room("d", used=7000)]
    assert place(fleet, SMALL, "spread")[0].chosen.node == "b"
    assert place(fleet, SMALL, "pack")[0].chosen.node == "c"
    assert [each.chosen.node for each in place([room("b"), room("a")], SMALL, "spread", 3)] == ["a", "b", "a"]


def test_an_image_that_is_there_outweighs_a_quarter_of_the_memory_and_a_warm_machine_everything() -> None:
    has = replace(room("has", used=1536), image=True)
    assert place([has, room("free")], SMALL, "spread")[0].chosen.parts[0] == ("image", IMAGE)
    assert place([replace(has, used=Demand(0, 2560, 0)), room("free")], SMALL, "spread")[0].chosen.node == "free"
    warm = replace(room("warm", used=6000, promised=190), warm=1)
    first, second = place([has, warm, room("free")], SMALL, "spread", 2)
    assert (first.chosen.node, first.chosen.parts[0]) == ("warm", ("pool", POOL))
    assert first.second is not None
    assert first.second.node == second.chosen.node == "has"
    assert shortfall(with_machine(warm, SMALL), SMALL.demand) == "promised", "the one that waited gave its own disk"


def test_refusals_name_what_is_nearest_and_what_helps() -> None:
    big = Ask(Demand(1, 9000, 1))
    alone = refusal([room()], big, stoppable=["old", "older"])
    assert alone.message == "lab1 has 7168 MiB of RAM and 16 vCPUs free; this size needs 9000 MiB and 1"
    assert alone.params["stoppable"] == "old, older"
    many = refusal([room("a", used=512), room("b"), replace(room("c", memory=99_999), state="draining")], big)
    assert many.message.startswith("of 3 servers b has most room, 7168 MiB")
    assert "explain" in many.hint
    full = short(room(promised=185), Demand(1, 1, 10))
    assert full.message.startswith("machines on lab1 may grow to 185 GiB; 5 GiB more")
    assert short(room(disk=4.0), Demand(1, 1, 1)).code == "disk_full"
    assert too_many(3, 5).message == "there is room for 3 of 5 such machines"


@pytest.mark.parametrize(
    ("fleet", "ask", "code", "says"),
    [
        ([], SMALL, "unavailable", "no server takes machines yet"),
        ([replace(room(), known=False)], SMALL, "unavailable", "no server takes machines yet"),
        ([replace(room(), away=True)], SMALL, "unavailable", "no server takes machines yet"),
        ([replace(room(), state="draining")], SMALL, "unavailable", "each is being emptied"),
        ([room()], replace(SMALL, labels={"gpu": "a"}), "no_capacity", "has the labels gpu=a"),
        ([replace(room(), kept_apart=True)], replace(SMALL, apart="db"), "no_capacity", "kept apart by “db”"),
    ],
)
def test_refusals_of_nodes_and_wishes(fleet: list[Room], ask: Ask, code: str, says: str) -> None:
    error: GarageError = refusal(fleet, ask)
    assert error.code == code
    assert says in error.message
    assert error.hint
