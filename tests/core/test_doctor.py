"""What `netd doctor` makes of what it has seen: every kind of trouble by its name, and what to do about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netd.core.doctor import (
    Clock,
    Disk,
    Kernel,
    Ports,
    Verdict,
    doctor_text,
    judge_clock,
    judge_disk,
    judge_kernel,
    judge_ports,
    version,
    worst,
)
from netd.core.doctor_lines import Echoes, Lines, Path, judge_mtu, judge_nat, judge_udp, kind_of
from netd.core.doctor_links import Asked, judge_links, judge_names
from netd.core.doctor_site import Registered, Site, Volume, judge_registry, judge_site, judge_volume
from netd.core.volume import GIB
from netd.wire import Outside

WELL = Kernel(module=True, frr="8.4.4", nft="1.0.6")


def by_check(verdicts: list[Verdict]) -> dict[str, Verdict]:
    found = {verdict.check: verdict for verdict in verdicts}
    assert len(found) == len(verdicts), "each name once"
    return found


def only(verdicts: list[Verdict]) -> Verdict:
    assert len(verdicts) == 1
    return verdicts[0]


# this server


def test_a_healthy_server() -> None:
    assert {verdict.level for verdict in judge_kernel(WELL)} == {"ok"}
    assert not any(verdict.todo for verdict in judge_kernel(WELL))


@pytest.mark.parametrize(
    ("change", "check", "level", "seen", "todo"),
    [
        ({"module": False}, "wireguard", "fail", "no WireGuard", "wireguard-go"),
        ({"module": False, "wireguard_go": "0.0.20230223"}, "wireguard", "ok", "wireguard-go", ""),
        ({"module": False, "wireguard_go": "0.0.2", "tun": False}, "wireguard", "fail", "/dev/net/tun", "modprobe tun"),
        ({"frr": ""}, "frr", "fail", "missing", "apt install frr"),
        ({"frr": "8.1"}, "frr", "fail", "8.4 or later", "upgrade"),
        ({"frr": "10.2.1-1ubuntu1"}, "frr", "ok", "10.2.1", ""),
        ({"nft": ""}, "nftables", "fail", "missing", "apt install nftables"),
        ({"nft_error": "Operation not permitted"}, "nftables", "fail", "not permitted", "root"),
        ({"missing": ("chronyd",)}, "programs", "warn", "chronyd", "apt install chrony"),
        ({"missing": ("wg", "chronyd")}, "programs", "fail", "wg", "wireguard-tools"),
        ({"sysctls": (("net/ipv4/ip_forward", "1", "0"),)}, "sysctls", "fail", "net.ipv4.ip_forward is 0", "sysctl -w"),
    ],
)
def test_kernel(change: dict[str, Any], check: str, level: str, seen: str, todo: str) -> None:
    found = by_check(judge_kernel(replace(WELL, **change)))
    assert (found[check].level, seen in found[check].seen, todo in found[check].todo) == (level, True, True)
    assert bool(found[check].todo) == (level != "ok"), "something to do where something is wrong, and only there"
    assert [other for other in found if found[other].level != "ok"] in ([], [check]), "nothing else is blamed"


def test_versions_are_compared_by_number() -> None:
    assert version("8.10-1~deb12u1") > (8, 4)
    assert version("FRR") == ()


@pytest.mark.parametrize(
    ("off", "level", "seen"),
    [(None, "ok", "not compared"), (0.9, "ok", "agrees"), (-30, "warn", "30 s behind"), (75, "fail", "75 s ahead")],
)
def test_clock(off: float | None, level: str, seen: str) -> None:
    found = by_check(judge_clock(Clock(off)))["clock"]
    assert found.level == level
    assert seen in found.seen


def test_time_service() -> None:
    for clock, level in (
        (Clock(0.0), "ok"),
        (Clock(0.0, synchronized=False), "warn"),
        (Clock(0.0, synchronized=False, service="chronyd"), "warn"),
    ):
        assert by_check(judge_clock(clock))["time service"].level == level


def test_ports() -> None:
    free = Ports(51_820, 51_829)
    assert [v.level for v in judge_ports(free)] == ["ok", "ok"]
    taken = replace(free, taken=((51_821, "openvpn"),), wanted=frozenset({51_820}))
    found = by_check(judge_ports(taken))["ports"]
    assert (found.level, "51821 is taken by openvpn" in found.seen) == ("warn", True)
    needed = by_check(judge_ports(replace(taken, wanted=frozenset({51_821}))))["ports"]
    assert (needed.level, "51821" in needed.todo) == ("fail", True)
    every = replace(free, taken=tuple((port, "x") for port in range(51_820, 51_830)))
    assert "none is left" in by_check(judge_ports(every))["ports"].seen


def test_firewall_of_others() -> None:
    closed = Ports(51_820, 51_829, dropping=(("ip filter INPUT", False),), forward=("ip filter FORWARD",))
    found = by_check(judge_ports(closed))["firewall"]
    assert (found.level, "ip filter INPUT" in found.seen) == ("warn", True)
    assert "nft insert rule ip filter INPUT udp dport 51820-51829 accept" in found.todo
    opened = replace(closed, dropping=(("ip filter INPUT", True),))
    assert "ip filter FORWARD" in by_check(judge_ports(opened))["firewall"].seen
    assert by_check(judge_ports(replace(opened, forward=())))["firewall"].level == "ok"


def test_disk() -> None:
    for disk, level in (
        (Disk("/s", 5e9), "ok"),
        (Disk("/s", 4e8), "warn"),
        (Disk("/s", 1e6), "fail"),
        (Disk("/s", 5e9, writable=False), "fail"),
    ):
        assert only(judge_disk(disk)).level == level


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
        ((1500, 1460, 1280), {"osaka": 1420}, "ok"),
        ((1460, 1280), {"osaka": 1380}, "ok"),
        ((1460, 1280), {"osaka": 1420}, "warn"),
        ((1280,), {}, "fail"),
        ((), {"osaka": 1420}, "ok"),
    ],
)
def test_mtu(passed: tuple[int, ...], links: dict[str, int], level: str) -> None:
    found = only(judge_mtu([Path(4, (1500, 1460, 1280), passed)], links))
    assert (found.level, bool(found.todo)) == (level, level != "ok")
    assert not passed or str(max(passed)) in found.seen


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


# the whole


def test_the_table_says_how_it_is_in_words_and_what_to_do_below() -> None:
    verdicts = [
        Verdict("frr", "ok", "FRR 8.4.4"),
        Verdict("ports", "fail", "51820 is taken by x", "end x"),
        Verdict("clock", "warn", "off", "set it"),
    ]
    text = doctor_text(verdicts).splitlines()
    assert text[1].split() == ["ok", "frr", "FRR", "8.4.4"]
    assert text[2].startswith("FAIL  ports")
    assert "FAIL ports: end x" in text
    assert text[-1] == "1 to mend, 1 to look at, 1 well"
    assert (worst(verdicts), worst(verdicts[:1]), worst(verdicts[2:]), worst([])) == ("fail", "ok", "warn", "ok")
