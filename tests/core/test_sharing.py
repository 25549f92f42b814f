"""Who works on which node: fair, the same for all, and moving little when a worker comes or goes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from garage.core.sharing import share

NODES = {f"node{number}": "" for number in range(1250)}


@given(st.integers(0, 60), st.integers(1, 7))
def test_nobody_has_more_than_a_fair_part(nodes: int, workers: int) -> None:
    names, crew = {f"n{n}": "" for n in range(nodes)}, {f"w{n}": "" for n in range(workers)}
    found = share(names, crew)
    assert found.keys() == names.keys()
    assert max(Counter(found.values()).values(), default=0) <= -(-nodes // workers)
    assert share(dict(reversed(names.items())), dict(reversed(crew.items()))) == found, "whoever asks"


def test_a_worker_that_goes_moves_little_more_than_its_own() -> None:
    before = share(NODES, {"a": "", "b": "", "c": ""})
    after = share(NODES, {"a": "", "b": ""})
    moved = sum(before[name] != after[name] for name in NODES if before[name] != "c")
    assert moved < 0.15 * len(NODES)


def test_a_node_without_an_address_is_for_its_own_server() -> None:
    nodes = {"garage": "garage", "shed": "shed", **{f"n{n}": "" for n in range(4)}}
    found = share(nodes, {"a": "garage", "b": "garage", "c": "attic"})
    assert found["garage"] in ("a", "b")
    assert "shed" not in found, "its own worker is away"
    assert set(found.values()) == {"a", "b", "c"}
    assert share(nodes, {}) == {}
