"""What `netd doctor` makes of this server: every kind of trouble by its name, and what to do about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netd.core.dns_query import query, rcode
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
from netd.core.firewall import closing
from tests.verdicts import by_check, only

WELL = Kernel(module=True, frr="8.4.4", nft="1.0.6")


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
        ({"nft_error": "nft list tables: ended by SIGSEGV"}, "nftables", "fail", "SIGSEGV", "newer nft"),
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
    assert [v.level for v in judge_ports(free)] == ["ok", "ok", "ok"]
    taken = replace(free, taken=((51_821, "openvpn"),), wanted=frozenset({51_820}))
    found = by_check(judge_ports(taken))["ports"]
    assert (found.level, "51821 is taken by openvpn" in found.seen) == ("warn", True)
    needed = by_check(judge_ports(replace(taken, wanted=frozenset({51_821}))))["ports"]
    assert (needed.level, "51821" in needed.todo) == ("fail", True)
    every = replace(free, taken=tuple((port, "x") for port in range(51_820, 51_830)))
    assert "none is left" in by_check(judge_ports(every))["ports"].seen
    other = by_check(judge_ports(replace(free, routing=(("UDP 3784", "bfdd (812)"),))))["routing ports"]
    assert (other.level, other.seen) == ("fail", "UDP 3784 is taken by bfdd (812)")
    assert "bfdd=no" in other.todo


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


def test_no_more_is_made_of_a_clock_than_is_known() -> None:
    """What the registry's clock says is exact to a second."""
    assert by_check(judge_clock(Clock(5.9, within=1.0)))["clock"].level == "ok"
    assert by_check(judge_clock(Clock(6.1, within=1.0)))["clock"].level == "warn"


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


# what is read of others


def table(*rules: dict[str, Any], policy: str = "accept") -> list[dict[str, Any]]:
    """Rows as nft -j prints them."""
    place = {"family": "inet", "table": "filter"}
    chain = place | {"name": "input", "hook": "input", "prio": 0, "policy": policy}
    return [{"table": place}, {"chain": chain}, *({"rule": place | {"chain": "input"} | rule} for rule in rules)]


def ports(right: Any, protocol: str = "udp", **more: Any) -> dict[str, Any]:
    left = {"payload": {"protocol": protocol, "field": "dport"}}
    return {"expr": [{"match": {"op": "==", "left": left, "right": right} | more}, {"accept": None}]}


REJECT_ALL = {"expr": [{"counter": {"packets": 0}}, {"reject": {"type": "icmpx"}}]}
ESTABLISHED = {
    "expr": [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "established"}}, {"accept": None}]
}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (table(), ()),
        (table(ESTABLISHED), ()),
        (table(policy="drop"), (("inet filter input", False),)),
        (table(ESTABLISHED, REJECT_ALL), (("inet filter input", False),)),
        (table(ports(22, "tcp"), policy="drop"), (("inet filter input", False),)),
        (table(ports({"range": [51_000, 52_000]}, "tcp"), policy="drop"), (("inet filter input", False),)),
        (table(ports({"range": [51_000, 52_000]}), policy="drop"), (("inet filter input", True),)),
        (table(ports({"set": [53, {"range": [51_820, 51_830]}]}), policy="drop"), (("inet filter input", True),)),
        (table(ports({"set": [53, 123]}), policy="drop"), (("inet filter input", False),)),
        (table(ports(51_820, "th"), policy="drop"), (("inet filter input", True),)),
        (table(ports(51_820, op="!="), policy="drop"), (("inet filter input", False),)),
        (table(ports("@vpn"), policy="drop"), (("inet filter input", True),)),
        (table({"expr": [{"vmap": {}}, {"drop": None}]}), ()),
    ],
)
def test_whose_rules_close_the_links_ports(rows: list[dict[str, Any]], found: Any) -> None:
    assert closing(rows, 51_820, 51_919) == found


def test_a_question_to_a_name_server() -> None:
    asked = query(0x1234, "gateway.osaka.garage.internal")
    assert asked[:12] == bytes.fromhex("123401000001000000000000")
    assert asked[12:] == b"\x07gateway\x05osaka\x06garage\x08internal\x00\x00\x01\x00\x01"
    assert rcode(bytes.fromhex("123481830001000000000000")) == (0x1234, 3)
    assert rcode(asked) is None, "a question is no answer"
    assert rcode(b"short") is None
