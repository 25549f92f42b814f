"""The daemon's part that measures packet sizes, with tunnels and ways that are values: whom it asks, when, and what it then wants."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from netd.core.path_mtu import EVERY, MOST
from netd.core.volume import OVERHEAD
from netd.core.wanted import Tunnel, Wanted
from netd.path_mtu import AT_ONCE, PathMtu
from tests.bgpwanted import wanted as make_wanted

NAGOYA, NAHA = "203.0.113.6", "2001:db8:3::2"


@dataclass
class Ways:
    """A world of ways: host → largest packet outside; link number → largest inside. Stands for tunnels, echoes, routes and clock."""

    outside: dict[str, int]
    inside: dict[str, int]
    seen: dict[int, Tunnel]
    routes: dict[str, int] = field(default_factory=dict)
    now: float = 1000.0
    mtus: dict[int, int] = field(default_factory=dict)
    asked: list[tuple[int, str, int]] = field(default_factory=list)
    _came: dict[int, set[int]] = field(default_factory=dict)

    @property
    def tunnels(self) -> Any:
        return SimpleNamespace(observe=lambda _wanted: self.seen)

    def send(self, tag: int, address: str, size: int) -> None:
        self.asked.append((tag, address, size))
        if size <= self.outside.get(address, self.inside.get(address, 0)):
            known = address in self.outside
            version = 6 if ":" in address else 4
            self._came.setdefault(tag, set()).add(size - (OVERHEAD[version] if known else 0))

    def answered(self) -> dict[int, set[int]]:
        came, self._came = self._came, {}
        return came

    def route_mtu(self, address: str) -> int | None:
        return self.routes.get(address, 1500)


def tunnel(endpoint: str | None, mtu: int = MOST, age: float | None = 5.0) -> Tunnel:
    return Tunnel(age, endpoint, 0, 0, mtu)


def run(ways: Ways, part: PathMtu, wanted: Wanted, seconds: float) -> None:
    """Rounds of a second; interfaces follow what is wanted."""
    until = ways.now + seconds
    while ways.now < until:
        part.follow(wanted)
        ways.seen = {
            number: Tunnel(t.handshake_age, t.seen_at, 0, 0, ways.mtus.get(number, t.mtu))
            for number, t in ways.seen.items()
        }
        ways.now += 1.0


@pytest.fixture
def wanted() -> Wanted:
    return make_wanted("abc", ["nagoya", "naha"], {1: "nagoya", 2: "naha"})


def part_of(ways: Ways) -> PathMtu:
    return PathMtu(ways, ways, ways.route_mtu, lambda: ways.now)  # type: ignore[arg-type]


def make(wanted: Wanted, *, first: int = 1500, second: int = 1500) -> Ways:
    inside = {link.peer_ipv4: MOST for link in wanted.spec.links}
    seen = {1: tunnel(f"{NAGOYA}:51820"), 2: tunnel(f"[{NAHA}]:51820")}
    return Ways({NAGOYA: first, NAHA: second}, inside, seen)


def test_each_link_gets_the_mtu_of_its_own_way(wanted: Wanted) -> None:
    ways = make(wanted, first=1454, second=1460)
    run(ways, part_of(ways), wanted, 40)
    assert ways.mtus == {1: 1394, 2: 1380}


def test_it_rests_when_it_knows_and_asks_again_after_ten_minutes(wanted: Wanted) -> None:
    ways = make(wanted)
    part = part_of(ways)
    run(ways, part, wanted, 20)
    assert ways.mtus == {1: 1420, 2: 1420}
    asked = len(ways.asked)
    run(ways, part, wanted, EVERY - 60)
    assert len(ways.asked) == asked
    ways.outside[NAGOYA] = 1454
    run(ways, part, wanted, 120)
    assert ways.mtus == {1: 1394, 2: 1420}


def test_a_peer_that_moves_is_measured_anew_at_once(wanted: Wanted) -> None:
    ways = make(wanted)
    part = part_of(ways)
    run(ways, part, wanted, 20)
    ways.outside["198.51.100.9"] = 1400
    ways.seen[1] = tunnel("198.51.100.9:4000")
    run(ways, part, wanted, 40)
    assert ways.mtus == {1: 1340, 2: 1420}


def test_a_link_without_a_handshake_is_not_measured_and_keeps_what_it_has(wanted: Wanted) -> None:
    ways = make(wanted)
    ways.seen = {1: tunnel(f"{NAGOYA}:51820", age=None), 2: tunnel(None)}
    run(ways, part_of(ways), wanted, 20)
    assert (ways.mtus, ways.asked) == ({}, [])


def test_what_the_own_line_says_is_wanted_before_anybody_answers(wanted: Wanted) -> None:
    ways = make(wanted)
    ways.routes = {NAGOYA: 1454}
    run(ways, part_of(ways), wanted, 1)
    assert ways.mtus == {1: 1394}


def test_where_nobody_answers_outside_the_inside_counts(wanted: Wanted) -> None:
    ways = make(wanted)
    ways.outside = {}
    ways.inside[wanted.spec.links[0].peer_ipv4] = 1350
    run(ways, part_of(ways), wanted, 60)
    assert ways.mtus == {1: 1350, 2: 1420}


def test_a_hub_with_hundreds_of_links_asks_a_few_at_a_time() -> None:
    wanted = make_wanted("abc", ["nagoya"], dict.fromkeys(range(1, 201), "nagoya"))
    ways = make(wanted)
    ways.seen = {number: tunnel(f"{NAGOYA}:{51820 + number}") for number in range(1, 201)}
    part, most, before = part_of(ways), 0, 0
    for _ in range(60):
        run(ways, part, wanted, 1)
        most, before = max(most, len(ways.asked) - before), len(ways.asked)
    assert most <= 2 * AT_ONCE
    assert len(ways.mtus) == 200


def test_a_link_that_is_gone_is_forgotten(wanted: Wanted) -> None:
    ways = make(wanted)
    part = part_of(ways)
    run(ways, part, wanted, 20)
    run(ways, part, make_wanted("abc", ["nagoya"], {1: "nagoya"}), 10)
    assert ways.mtus == {1: 1420}


def test_a_link_with_new_keys_begins_with_what_the_old_one_has(wanted: Wanted) -> None:
    ways = make(wanted, first=1454)
    part = part_of(ways)
    run(ways, part, wanted, 40)
    ways.seen[3] = tunnel(f"{NAGOYA}:51823")
    run(ways, part, make_wanted("abc", ["nagoya", "naha"], {1: "nagoya", 2: "naha", 3: "nagoya"}), 6)
    assert ways.mtus == {1: 1394, 2: 1420, 3: 1394}
