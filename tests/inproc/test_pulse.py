"""What a worker knows of another one's death without waiting for its beat, on the same server."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from garage.services import crew
from garage.services.context import Context
from garage.worker.ownership import Pulse
from tests.inproc.rig import Monotonic


@pytest.fixture
def ctx(ctx: Context, tmp_path: Path) -> Context:
    return replace(ctx, config=replace(ctx.config, home=tmp_path))


def die(pulse: Pulse) -> None:
    """As the kernel ends a process: its lock is free, its file and its row stay."""
    assert pulse._line is not None
    os.close(pulse._line._file)


def ids(ctx: Context) -> set[str]:
    return {mate.id for mate in crew.mates(ctx)}


def test_a_dead_workers_nodes_are_free_as_soon_as_another_looks(ctx: Context) -> None:
    clock = Monotonic()
    dead, lives = Pulse(ctx, clock), Pulse(ctx, clock)
    dead.turn()
    lives.turn()
    assert set(lives.live) == {dead.id, lives.id}
    die(dead)
    lives.turn()
    assert set(lives.live) == ids(ctx) == {lives.id}


def test_one_that_starts_in_a_dead_ones_place_does_not_wait_for_its_beat(ctx: Context) -> None:
    clock = Monotonic()
    dead = Pulse(ctx, clock)
    dead.turn()
    die(dead)
    after = Pulse(ctx, clock)
    after.turn()
    assert set(after.live) == ids(ctx) == {after.id}


def test_one_that_lives_is_left_alone_until_its_beat_is_old(ctx: Context) -> None:
    clock = Monotonic()
    silent, other = Pulse(ctx, clock), Pulse(ctx, clock)
    silent.turn()
    other.turn()
    clock.now += 2.9
    other.turn()
    assert silent.id in other.live
    clock.now += 0.2
    other.turn()
    assert ids(ctx) == {other.id}
