"""From whom a node copies an image: a tree that fans out by itself, since every node that has it serves the next. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

PER_SOURCE = 2
"""Copies that one source serves at a time: more would share its line, and each would have to wait for all to serve others itself."""


def source(target: str, holders: Collection[str], serving: Mapping[str, int], controller: str) -> str | None:
    """The least busy of those that have the image and answer; other nodes before the controller's, whose line is everybody's. None: all
    are busy, or nobody has it: wait. `serving`: copies under way, by source."""
    free = [name for name in holders if name != target and serving.get(name, 0) < PER_SOURCE]
    return min(free, key=lambda name: (serving.get(name, 0), name == controller, name), default=None)


def percent(done: int, total: int) -> int:
    """Of a copy; 100 is for what is verified and in place."""
    return min(99, done * 100 // total) if total > 0 else 0
