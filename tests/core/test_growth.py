"""core.growth: what may be added to a machine that runs."""

from __future__ import annotations

import subprocess

import pytest

from garage.core.growth import LARGE_MIB, SLOTS, ceilings, dimms, free_regions, use


@pytest.mark.parametrize(
    ("has", "to", "made"),
    [
        (512, 512, []),
        (2048, 512, []),
        (512, 2048, [512, 1024]),
        (512, 16384, [512, 1024, 2048, 4096, 8192]),
        (640, 1024, [384]),
        (32, 288, [128, 128]),
        (500, 756, [256]),
    ],
)
def test_no_dimm_is_larger_than_what_is_there_before_it(has: int, to: int, made: list[int]) -> None:
    assert dimms(has, to) == made


def test_there_are_slots_enough_for_whatever_a_machine_may_grow_to() -> None:
    assert max(len(dimms(has, 1 << 20)) for has in (256, 512, 768, LARGE_MIB - 128)) <= SLOTS


@pytest.mark.parametrize(
    ("has", "largest", "node_mib", "most"),
    [
        ((1, 512), (8, 16384), 24000, (8, 16384)),
        ((1, 512), (8, 16384), 4000, (8, 4000)),
        ((16, 32768), (8, 16384), 24000, (16, 32768)),
        ((1, LARGE_MIB), (8, 2 * LARGE_MIB), 4 * LARGE_MIB, (8, LARGE_MIB)),
        ((1, 512), (0, 0), 0, (1, 512)),
    ],
)
def test_as_far_as_the_largest_size_and_the_node_go(
    has: tuple[int, int], largest: tuple[int, int], node_mib: int, most: tuple[int, int]
) -> None:
    assert ceilings(*has, largest, node_mib) == most


@pytest.mark.parametrize(
    ("used", "vcpus", "free"), [(0, 1, 62), (243_800_000, 1, 4), (258_490_995, 4, -2), (268_107_776, 1, -2)]
)
def test_what_is_left_of_an_emulators_regions(used: int, vcpus: int, free: int) -> None:
    """64 of 4 MiB; figures of QEMU 7.2, which ended itself in the third case."""
    assert free_regions(used, 268_107_776, 8, vcpus) == free


def test_what_guests_are_told_is_a_script() -> None:
    subprocess.run(["sh", "-n", "-c", use(4, 20)], check=True)
