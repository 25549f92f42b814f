"""What becomes of each machine of a node that is emptied, before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from garage.core.drain import LIVE, Passage, Resident, Way, plan_drain, rests
from garage.core.placement import Ask, Room, shortfall
from garage.core.states import State
from garage.core.types import Demand, NodeFacts
from garage.errors import GarageError

SMALL = Demand(1, 1024, 5)


def room(name: str, memory_mib: int = 16384) -> Room:
    return Room(name, NodeFacts(8, memory_mib, 100.0, 200.0, ""), Demand(0, 0, 0), 1024, 1.0, 4.0, 2.0)


def resident(
    number: int, state: State = State.READY, demand: Demand = SMALL, apart: str = "", **more: object
) -> Resident:
    ask = Ask(demand, {}, apart)
    return Resident(f"{number:020x}", state, rests(state, state in LIVE), ask, apart, **more)  # type: ignore[arg-type]


def passages(residents: Sequence[Resident], rooms: Sequence[Room], **more: object) -> list[Passage]:
    return plan_drain(residents, rooms, "spread", **more)  # type: ignore[arg-type]


def ways(residents: Sequence[Resident], rooms: Sequence[Room], **more: object) -> list[tuple[str, str]]:
    return [(one.way.value, one.target) for one in passages(residents, rooms, **more)]


def test_each_state_has_its_way() -> None:
    states = [State.READY, State.SUSPENDED, State.STOPPED, State.FAILED, State.SPARE, State.DELETING, State.BOOTING,
              State.UNREACHABLE]  # fmt: skip
    found = ways([resident(number, state) for number, state in enumerate(states)], [room("b")])
    assert [way for way, _ in found] == ["live", "live", "cold", "cold", "ends", "ends", "waits", "stays"]
    assert {target for way, target in found if way in ("live", "cold", "waits")} == {"b"}


def test_what_has_no_room_is_named_with_the_reason() -> None:
    found = passages([resident(n) for n in range(4)], [room("b", 3 * 1024)])
    assert [passage.way for passage in found] == [Way.LIVE, Way.LIVE, Way.STAYS, Way.STAYS]
    reason = found[2].reason
    assert reason is not None
    assert reason.code == "no_capacity"


def test_nobody_takes_machines_and_others_run_them_in_another_way() -> None:
    for others, word in ((False, "no other node takes"), (True, "in the same way")):
        (found,) = passages([resident(1)], [], others=others)
        assert found.way is Way.STAYS
        assert found.reason is not None
        assert word in found.reason.message


def test_nothing_leaves_a_node_that_does_not_answer() -> None:
    away = GarageError("hypervisor_away", "node1 does not answer")
    assert ways([resident(1), resident(2, State.SPARE)], [room("b")], away=away) == [("stays", ""), ("ends", "")]


def test_one_that_moves_and_one_that_was_refused() -> None:
    refusal = GarageError("hypervisor_error", "libvirt refused")
    found = passages([resident(1, moving_to="b"), resident(2, refusal=refusal)], [room("b"), room("c")])
    assert found[0] == Passage(found[0].machine, Way.LIVE, "b")
    assert (found[1].way, found[1].reason) == (Way.LIVE, refusal)


def test_labels_images_and_words_that_keep_apart_are_obeyed() -> None:
    pair = [resident(1, apart="db"), resident(2, apart="db", apart_from=frozenset({"d"}))]
    assert {target for _, target in ways(pair, [room("b"), room("c"), room("d")])} == {"b", "c"}
    assert ways([resident(1, image_on=frozenset({"c"}))], [room("b"), room("c")]) == [("live", "c")]
    labelled = replace(resident(1), ask=Ask(SMALL, {"gpu": "rtx"}))
    assert ways([labelled], [room("b"), replace(room("c"), labels={"gpu": "rtx"})]) == [("live", "c")]
    assert ways([labelled], [room("b")]) == [("stays", "")]


@given(
    st.lists(st.tuples(st.sampled_from(sorted(LIVE)), st.sampled_from([512, 1024, 2048, 4096])), max_size=12),
    st.lists(st.integers(1, 12), max_size=4),
)
def test_no_node_is_given_more_than_it_has(machines: list[tuple[State, int]], sizes: list[int]) -> None:
    rooms = [room(f"n{number}", size * 1024) for number, size in enumerate(sizes)]
    residents = [resident(n, state, Demand(1, memory, 5)) for n, (state, memory) in enumerate(machines)]
    found = passages(residents, rooms)
    assert [passage.machine for passage in found] == [one.id for one in residents]
    for target in rooms:
        given = [r.ask.demand for r, p in zip(residents, found, strict=True) if p.target == target.name]
        total = Demand(*(sum(getattr(d, key) for d in given) for key in ("vcpus", "memory_mib", "disk_gib")))
        assert shortfall(target, total) is None
    assert all((passage.reason is None) == (passage.way is Way.LIVE) for passage in found)


def test_what_is_held_on_its_node_stays_and_says_why() -> None:
    why = GarageError("in_use", "its snapshots lie there")
    (found,) = passages([resident(1, held=why)], [room("b")])
    assert (found.way, found.reason) == (Way.STAYS, why)
