"""The long test's faults: drawn from a seed alone, of every kind, and none that would end the trial."""

from __future__ import annotations

from random import Random

from tests.long.faults import HELD, WEIGHTS, Fault, draw

SITES = ("nagoya", "sendai", "naha")


def drawn(seed: int, count: int = 300) -> list[Fault]:
    chance = Random(seed)
    return [draw(chance, "tsukuba", SITES) for _ in range(count)]


def test_a_seed_says_all() -> None:
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_every_kind_comes_and_ends() -> None:
    found = drawn(1)
    assert {fault.kind for fault in found} == set(WEIGHTS)
    for fault in found:
        low, high = HELD.get(fault.kind, (0.0, 0.0))
        assert low <= fault.seconds <= high
        assert (fault.node == "tsukuba") or fault.kind != "registry"
        assert fault.node != "tsukuba" or fault.kind not in ("leave", "rotate"), "the registry's own site stays"
        assert fault.node in str(fault)
