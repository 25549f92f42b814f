"""Two servers that report as one node are told from one server that starts again."""

from __future__ import annotations

from garage.core.twins import ALIVE, WITHIN, Heard, unpacked


def said(*reports: tuple[float, str, str], heard: Heard | None = None) -> Heard:
    found = heard or Heard()
    for at, start, place in reports:
        found = found.hear(start, place, at)
    return found


def test_starting_again_is_no_twin() -> None:
    heard = said((0, "a", "p"), (10, "a", "p"), (12, "b", "p"), (22, "b", "p"), (24, "c", "p"))
    assert not heard.twins(24)
    assert not heard.suspected(24)
    assert heard.believed("c", 24)


def test_two_that_take_turns_are_found_and_the_first_installation_is_believed() -> None:
    heard = said((0, "a", "p"), (10, "b", "q"))
    assert not heard.believed("b", 10), "not while the first one was heard a moment ago"
    heard = said((11, "a", "p"), heard=heard)
    assert (heard.suspected(11), heard.twins(11)) == (True, False)
    heard = said((20, "b", "q"), heard=heard)
    assert heard.twins(20)
    assert not heard.believed("b", 20)
    heard = said((21, "a", "p"), heard=heard)
    assert heard.believed("a", 21)
    assert unpacked(heard.packed()) == heard


def test_the_first_one_is_believed_also_after_it_has_started_again() -> None:
    """Its start before counts as running for a while: until then nobody is believed."""
    heard = said((0, "a", "p"), (10, "b", "q"), (11, "a", "p"), (20, "b", "q"), (25, "c", "p"))
    assert not heard.believed("c", 25)
    late = 12 + ALIVE
    heard = said((30, "b", "q"), (35, "c", "p"), (40, "b", "q"), (late, "c", "p"), heard=heard)
    assert (heard.twins(late), heard.believed("c", late)) == (True, True)
    assert not heard.hear("b", "q", late + 5).believed("b", late + 5)


def test_a_clone_of_the_whole_server_comes_after_the_start_that_was_first() -> None:
    heard = said((0, "a", "p"), (10, "b", "p"), (11, "a", "p"), (20, "b", "p"))
    assert heard.twins(20)
    assert (heard.believed("b", 20), said((21, "a", "p"), heard=heard).believed("a", 21)) == (False, True)


def test_a_node_that_moved_to_another_server_is_believed_when_the_old_one_is_silent() -> None:
    heard = said((0, "a", "p"), (10, "b", "q"))
    assert heard.hear("b", "q", 10 + ALIVE).believed("b", 10 + ALIVE)


def test_it_is_over_when_one_of_them_has_gone() -> None:
    heard = said((0, "a", "p"), (10, "b", "q"), (11, "a", "p"), (20, "b", "q"), (21, "a", "p"))
    assert heard.twins(21 + WITHIN / 2)
    assert not heard.hear("a", "p", 21 + WITHIN).twins(21 + WITHIN)


def test_what_is_remembered_does_not_grow() -> None:
    heard = said(*((n, f"{n:x}", "p") for n in range(100)))
    heard = said(*((100 + n, f"{n % 2}", "p") for n in range(100)), heard=heard)
    assert len(heard.starts) <= 4
    assert len(heard.back) <= 2
