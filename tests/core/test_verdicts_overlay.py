"""What `netd doctor` makes of registry, lines, names and links: every kind of trouble by its name, and what to do about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netd.core.doctor_lines import Echoes, Lines, Path, judge_mtu, judge_nat, judge_udp, kind_of
from netd.core.doctor_links import Asked, judge_links, judge_names
from netd.core.doctor_site import Registered, Site, Volume, judge_registry, judge_site, judge_volume
from netd.core.volume import GIB
from netd.wire import Outside
from tests.verdicts import by_check, only

# registry and membership

MEMBER = Registered("https://192.0.2.1:8443", certificate="ab" * 32, pinned="ab" * 32, status=204, applied=(3, 2))


def test_a_registry_that_is_well() -> None:
    assert [v.level for v in judge_registry(MEMBER)] == ["ok", "ok", "ok"]
    assert [v.check for v in judge_registry(replace(MEMBER, status=None))] == ["registry"], "before joining"


@pytest.mark.parametrize(
    ("change", "check", "level", "seen"),
    [
        ({"reached": False, "error": "timed out"}, "registry", "fail", "timed out"),
        ({"certificate": "cd" * 32, "status": None}, "registry", "fail", "shows the certificate cdcd"),
        ({"error": "404", "status": None}, "registry", "fail", "404"),
        ({"status": 401}, "credential", "fail", "does not know"),
        ({"status": 500}, "credential", "warn", "500"),
        ({"newer": (0, 5)}, "documents", "warn", "newer"),
        ({"refusal": "an office network"}, "documents", "fail", "an office network"),
    ],
)
def test_registry(change: dict[str, Any], check: str, level: str, seen: str) -> None:
    found = by_check(judge_registry(replace(MEMBER, **change)))
    assert (found[check].level, seen in found[check].seen, bool(found[check].todo)) == (level, True, True)
    assert [other for other in found if found[other].level == "fail"] in ([], [check])


def test_a_member() -> None:
    own = ("10.41.0.0/20", "fd41::/48")
    well = Site("nagoya", True, own=own, allotted=own)
    assert only(judge_site(well)).level == "ok"
    for change, check, level in (
        ({"running": False}, "netd", "fail"),
        ({"paused": True}, "pause", "warn"),
        ({"allotted": ("10.99.0.0/20", "fd99::/48")}, "prefixes", "fail"),
        ({"pending": ("ip link add",)}, "in force", "warn"),
        ({"alarms": ("site osaka announces 0.0.0.0/0",)}, "alarm", "warn"),
        ({"problems": ("no chronyd",)}, "problem", "warn"),
    ):
        found = only(judge_site(replace(well, **change)))
        assert (found.check, found.level, bool(found.todo)) == (check, level, True)
    assert "garage site renumber" in only(judge_site(replace(well, allotted=("10.99.0.0/20", own[1])))).todo


@pytest.mark.parametrize(("share", "level"), [(0.1, "ok"), (0.81, "warn"), (0.96, "warn"), (1.0, "fail")])
def test_volume(share: float, level: str) -> None:
    found = only(judge_volume([Volume("lte", round(share * 50 * GIB), 50 * GIB)], 1_795_000_000.0))
    assert (found.check, found.level, "of 50 GiB" in found.seen) == ("volume lte", level, True)
    assert bool(found.todo) == (level != "ok")


# lines

OWN, OUT = "192.168.1.5", "192.0.2.70"
CONE = ((40_001, 8443, OUT, 40_001), (40_001, 8444, OUT, 40_001), (40_002, 8443, OUT, 40_002))
SYMMETRIC = ((40_001, 8443, OUT, 51_000), (40_001, 8444, OUT, 51_877), (40_002, 8443, OUT, 53_999))
SHARED = ((40_001, 8443, OUT, 41_100), (40_001, 8444, OUT, 41_100), (40_002, 8443, OUT, 41_101))
PLAIN = ((40_001, 8443, OWN, 40_001), (40_001, 8444, OWN, 40_001))


@pytest.mark.parametrize(
    ("echo", "way", "kind"),
    [
        (Echoes(4, OWN, True, PLAIN), "", "none"),
        (Echoes(4, OWN, True, CONE), "", "cone"),
        (Echoes(4, OWN, True, SYMMETRIC), "", "symmetric"),
        (Echoes(4, OWN, True, SHARED), "", "shared"),
        (Echoes(4, OWN, True, CONE), "symmetric", "symmetric"),
        (Echoes(4, OWN, True), "", "silent"),
        (Echoes(4, OWN, True), "cone", "cone"),
        (Echoes(4, OWN), "symmetric", "symmetric"),
        (Echoes(4, OWN), "closed", "unknown"),
        (Echoes(4, OWN), "", "unknown"),
        (Echoes(6), "", "absent"),
    ],
)
def test_kind_of_nat(echo: Echoes, way: str, kind: str) -> None:
    assert kind_of(echo, way) == kind


def nat(lines: Lines) -> list[tuple[str, str]]:
    return [(v.check, v.level) for v in judge_nat(lines)]


def test_a_narrow_line_is_told_unless_ipv6_goes_round_it() -> None:
    for rows in (SYMMETRIC, SHARED):
        lines = Lines((Echoes(6), Echoes(4, OWN, True, rows)), "51820-51919")
        assert nat(lines) == [("nat ipv6", "ok"), ("nat ipv4", "warn")]
        assert nat(replace(lines, native6=True))[1] == ("nat ipv4", "ok")
    assert nat(Lines((Echoes(6), Echoes(4, OWN, True, CONE)), "51820-51919"))[1] == ("nat ipv4", "ok")


def test_what_peers_see_is_used_where_nobody_echoes() -> None:
    lines = Lines((Echoes(4, OWN),), "51820-51919", Outside(address4=OUT, way4="symmetric"))
    found = only(judge_nat(lines))
    assert (found.level, OUT in found.seen, "symmetric" in found.seen) == ("warn", True, True)


def test_a_server_without_any_way_out() -> None:
    assert nat(Lines((Echoes(6), Echoes(4)), "51820-51919")) == [("internet", "fail")]


@pytest.mark.parametrize(
    ("seen", "answers", "ages", "level", "words"),
    [
        (CONE, True, None, "ok", "echo answers"),
        (CONE, True, (3.0, None), "ok", "1 of 2 links"),
        ((), True, (3.0,), "ok", "1 of 1 links"),
        (CONE, True, (None, 999.0), "fail", "no link has a handshake"),
        ((), True, (None,), "fail", "seems blocked"),
        ((), True, None, "warn", "seems blocked"),
        ((), False, None, "ok", "not looked into"),
    ],
)
def test_udp(seen: Any, answers: bool, ages: Any, level: str, words: str) -> None:
    lines = Lines((Echoes(4, OWN, True, seen),), "51820-51919", registry_answers=answers, handshakes=ages)
    found = only(judge_udp(lines))
    assert (found.level, words in found.seen, bool(found.todo)) == (level, True, level != "ok")


@pytest.mark.parametrize(
    ("passed", "links", "level"),
    [
        ((1500, 1460, 1280), {"osaka": (1420, 4)}, "ok"),
        ((1460, 1280), {"osaka": (1400, 4)}, "ok"),
        ((1460, 1280), {"osaka": (1420, 4)}, "warn"),
        ((1460, 1280), {"osaka": (1420, 6)}, "ok"),
        ((1280,), {}, "warn"),
        ((), {"osaka": (1420, 4)}, "ok"),
    ],
)
def test_mtu(passed: tuple[int, ...], links: dict[str, tuple[int, int]], level: str) -> None:
    found = only(judge_mtu([Path(4, (1500, 1460, 1280), passed)], links))
    assert (found.level, bool(found.todo)) == (level, level != "ok")
    assert not passed or str(max(passed)) in found.seen
    assert not links or str(links["osaka"][0]) in found.seen


# names and links


def asked(site: str, rcode: int | None, **more: Any) -> Asked:
    return Asked(site, f"gateway.{site}.garage.internal", rcode, more.pop("seconds", 0.01), **more)


def test_names() -> None:
    own = asked("nagoya", 0)
    well = [asked("osaka", 0), asked("naha", 3)]
    assert only(judge_names(True, own, well)).level == "ok"
    away = only(judge_names(True, own, [*well, asked("kyoto", None, linked=False)]))
    assert (away.level, "away: kyoto" in away.seen) == ("ok", True)
    silent = only(judge_names(True, own, [*well, asked("kyoto", 2)]))
    assert (silent.level, "no answer from kyoto" in silent.seen) == ("warn", True)
    slow = only(judge_names(True, replace(own, seconds=2.5), well))
    assert (slow.level, "2.5 s" in slow.seen) == ("warn", True)
    assert only(judge_names(True, replace(own, rcode=3), [])).level == "fail"
    assert only(judge_names(True, replace(own, rcode=None), [])).level == "fail"
    assert only(judge_names(False, own, [])).level == "fail"
    assert only(judge_names(False, None, [])).level == "ok", "before the node has a network"


UP: dict[str, Any] = {
    **{"peer_site": "osaka", "state": "up", "draining": False, "loss": 0.0, "since": 10.0, "handshake_age": 5},
    **{"endpoint": "192.0.2.7:51820", "candidates": [], "mtu": 1420},
}
DOWN = UP | {"peer_site": "naha", "state": "down", "since": 40.0, "handshake_age": 300, "endpoint": "192.0.2.8:51821"}


def test_links() -> None:
    assert only(judge_links([], 100.0)).level == "ok"
    assert only(judge_links([UP], 100.0)).level == "ok"
    found = by_check(judge_links([UP, DOWN], 100.0))
    assert (found["links"].level, found["link naha"].level) == ("ok", "warn")
    for words in ("since 60 s", "last handshake 300 s ago", "192.0.2.8:51821"):
        assert words in found["link naha"].seen
    alone = by_check(judge_links([DOWN], 100.0))
    assert (alone["links"].level, alone["link naha"].level) == ("fail", "fail")
    waiting = DOWN | {"state": "waiting", "handshake_age": None, "endpoint": None, "candidates": ["192.0.2.8:1"]}
    assert "never a handshake, tried 192.0.2.8:1" in by_check(judge_links([UP, waiting], 100.0))["link naha"].seen
    assert "BGP" in by_check(judge_links([UP, DOWN | {"handshake_age": 3}], 100.0))["link naha"].todo
    assert by_check(judge_links([UP | {"loss": 0.2}], 100.0))["link osaka"].level == "warn"
    assert only(judge_links([UP, DOWN | {"draining": True}], 100.0)).level == "ok", "an old one that is to go"


def test_two_links_to_one_site_are_told_apart() -> None:
    links = [UP, DOWN | {"interface": "glabc1"}, DOWN | {"interface": "glabc2"}]
    assert len([v for v in judge_links(links, 100.0) if v.level == "warn"]) == 2
