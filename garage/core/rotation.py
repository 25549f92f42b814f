"""Changing a link's keys without losing a packet: a new link beside the old one, which drains and goes. Pure.

Lifecycle of the old link: `up` → (successor made) `up` → (successor up at both ends) `draining` → gone. A successor that fails while
the old one drains brings it back. A link that carries nothing anyway goes at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

DRAIN_SECONDS = 10.0
"""Between the order to prefer every other link and the removal: BGP has moved and packets on their way have arrived."""
PARALLEL = 8
"""Links of one node that are replaced at a time: each needs a port and, without the kernel module, a process more."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A link with what decides about it."""

    number: int
    a: str
    b: str
    outdated: bool
    """One of its ends has reported a newer key than the link uses."""
    up: bool
    """Both ends say so."""
    dead: bool = False
    """Neither end says so: nothing is lost with it."""
    replaces: int | None = None
    draining_since: float | None = None
    known: bool = False
    """Both ends have applied the spec that says `draining`."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done to link `number`."""

    act: Literal["replace", "drain", "restore", "remove"]
    number: int


def steps(tunnels: Iterable[Tunnel], now: float) -> list[Step]:
    """What to do now, in order of numbers; nothing when all keys are the newest."""
    found = {tunnel.number: tunnel for tunnel in sorted(tunnels, key=lambda tunnel: tunnel.number)}
    heirs = {t.replaces: t for t in found.values() if t.replaces in found}
    busy = Counter(end for t in found.values() if t.number in heirs for end in (t.a, t.b))
    done = []
    for tunnel in found.values():
        if (heir := heirs.get(tunnel.number)) is not None:
            done += _succession(tunnel, heir, now)
        elif tunnel.outdated and tunnel.replaces not in found and max(busy[tunnel.a], busy[tunnel.b]) < PARALLEL:
            busy.update((tunnel.a, tunnel.b))
            done.append(Step("replace", tunnel.number))
    return done


def _succession(old: Tunnel, heir: Tunnel, now: float) -> list[Step]:
    if old.dead:
        return [Step("remove", old.number)]
    if old.draining_since is None:
        return [Step("drain", old.number)] if heir.up else []
    if not heir.up:
        return [Step("restore", old.number)]
    return [Step("remove", old.number)] if old.known and now - old.draining_since >= DRAIN_SECONDS else []
