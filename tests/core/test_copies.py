"""From whom a node copies an image, and what a machine does meanwhile."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from garage.core import changes as p
from garage.core import copies
from garage.core.copies import PER_SOURCE, percent, source
from garage.core.plan import IMAGE_LOOK, plan
from garage.services.history import boot_steps
from tests.core.test_plan import LIMITS, NOTHING, WANTED


def test_other_nodes_come_before_the_controllers() -> None:
    assert source("c", ["a", "b", "node1"], {}, "node1") == "a"
    assert source("c", ["node1"], {}, "node1") == "node1"
    assert source("c", ["a", "b"], {"a": 1}, "node1") == "b"
    assert source("c", ["a", "node1"], {"a": 1}, "node1") == "node1", "the least busy first"


def test_nobody_serves_itself_or_too_many() -> None:
    assert source("a", ["a"], {}, "node1") is None
    assert source("c", [], {}, "node1") is None
    assert source("c", ["a"], {"a": PER_SOURCE}, "node1") is None


@pytest.mark.parametrize("nodes", [2, 10, 100])
def test_it_fans_out_as_a_tree(nodes: int) -> None:
    """In rounds in which every copy that runs ends, all have it after log rounds, and the controller's line carried few of them."""
    have, rounds, from_controller = {"node1"}, 0, 0
    wanting = [f"n{number}" for number in range(nodes)]
    while wanting:
        serving: Counter[str] = Counter()
        arrived = []
        for name in wanting:
            if chosen := copies.source(name, have, serving, "node1"):
                serving[chosen] += 1
                arrived.append(name)
        assert max(serving.values()) <= PER_SOURCE
        from_controller += serving["node1"]
        have.update(arrived)
        wanting = [name for name in wanting if name not in have]
        rounds += 1
    assert (1 + PER_SOURCE) ** (rounds - 1) <= nodes
    assert from_controller <= PER_SOURCE * rounds


def test_percent_is_never_100_before_it_is_there() -> None:
    assert [percent(0, 0), percent(1, 2), percent(2, 2), percent(5, 2)] == [0, 50, 99, 99]


def test_a_machine_waits_for_its_image_and_says_how_far_it_is() -> None:
    waiting = plan(WANTED, replace(NOTHING, image=43), LIMITS)
    assert waiting == [p.Show("image 40"), p.Wait("image", IMAGE_LOOK)]
    assert p.MakeDisk() in plan(WANTED, NOTHING, LIMITS)


def test_figures_are_one_step_in_its_history() -> None:
    events = [
        ("preparing", "", 0.0),
        ("preparing", "image 0", 1.0),
        ("preparing", "image 50", 5.0),
        ("preparing", "disk", 9.0),
    ]
    assert [(step.name, step.seconds) for step in boot_steps(events)] == [
        ("preparing", 1.0),
        ("image 50", 8.0),
        ("disk", None),
    ]
