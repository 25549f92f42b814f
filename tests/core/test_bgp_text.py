"""What FRR is told: the policy as text, by what it permits and by what stands still."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec
import pytest

from netd.core.bgp_diff import commands, parse
from netd.core.bgp_text import LONGEST_PATH, MOST_SENT, bgp_config
from netd.core.wanted import Wanted
from tests.bgpwanted import OWN, allotment, wanted

SITES = ["nagoya", "tsukuba"]
LINKED = {1: "nagoya", 2: "tsukuba", 3: OWN}


def given(**more: object) -> Wanted:
    return replace(wanted("abc", SITES, LINKED), **more)  # type: ignore[arg-type]


def blocks(config: Wanted) -> dict[str, list[str]]:
    """Lines of route maps and address families, by their last word or words."""
    return {context[-1]: lines for context, lines in parse(bgp_config(config, "node")).items() if context}


def asn(config: Wanted, name: str) -> int:
    return next(site.asn for site in config.table.sites if site.site == name)


def lists(config: Wanted, kind: str) -> dict[str, str]:
    """Name → what an access list or prefix list permits."""
    found = re.findall(rf"^{kind} (\S+) seq \d+ permit (.+)$", bgp_config(config, "node"), re.M)
    return dict(found)


def permits(config: Wanted, name: str, path: str) -> bool:
    """As FRR reads a path: "_" is an end or a blank."""
    pattern = lists(config, "bgp as-path access-list")[name].replace("_", "(^|$| )")
    return re.search(pattern, path) is not None


def test_every_peer_has_its_filters_in_both_directions_and_both_families() -> None:
    found = blocks(given())
    for version in (4, 6):
        lines = found[f"address-family ipv{version} unicast"]
        peers = {line.split()[1] for line in lines if line.endswith(" activate")}
        assert len(peers) == 3
        for peer in peers:
            assert len([line for line in lines if re.fullmatch(rf"neighbor {peer} route-map \S+ (in|out)", line)]) == 2
            assert [line for line in lines if line.startswith(f"neighbor {peer} maximum-prefix ")]


def test_a_route_must_be_allotted_to_the_end_of_its_path_and_begin_with_the_neighbour() -> None:
    config = given()
    nagoya, tsukuba = asn(config, "nagoya"), asn(config, "tsukuba")
    assert permits(config, "S-tsukuba", f"{nagoya} {tsukuba}")
    assert not permits(config, "S-tsukuba", f"{tsukuba} {nagoya}")
    assert not permits(config, "S-tsukuba", f"{nagoya} 1{tsukuba}")
    assert not permits(config, "S-tsukuba", "")
    assert permits(config, "D-nagoya", f"{nagoya}")
    assert not permits(config, "D-nagoya", f"{nagoya} {tsukuba}")
    assert permits(config, "P-nagoya", f"{nagoya} {tsukuba}")
    assert not permits(config, "P-nagoya", f"{tsukuba} {nagoya}")
    assert not permits(config, "P-nagoya", f"{nagoya}1 {tsukuba}")
    found = blocks(config)
    for version, word in ((4, "ip"), (6, "ipv6")):
        for site in SITES:
            entry = next(lines for lines in found.values() if f"match {word} address prefix-list S-{site}" in lines)
            assert entry == [f"match {word} address prefix-list S-{site}", f"match as-path S-{site}"]
        for number, kind in ((10, "D"), (20, "P")):
            entry = found[f"route-map LINK1-{version} permit {number}"]
            assert entry[:2] == [f"match as-path {kind}-nagoya", f"call SITES{version}"]


@pytest.mark.parametrize("version", [4, 6])
def test_only_exactly_what_is_allotted_is_in_a_list(version: int) -> None:
    config = given()
    found = lists(config, "ip prefix-list" if version == 4 else "ipv6 prefix-list")
    for site in config.table.sites:
        net = site.ipv4 if version == 4 else site.ipv6
        assert found["OWN" if site.site == OWN else f"S-{site.site}"] == net
    ranges = [name for name, net in found.items() if " ge " in net or " le " in net]
    assert ranges == ["HOSTS"]


def test_paths_are_bounded_also_with_ourselves_on_them() -> None:
    config = given()
    nagoya = str(asn(config, "nagoya"))
    longest = " ".join([nagoya] * LONGEST_PATH)
    assert permits(config, "P-nagoya", longest)
    assert not permits(config, "P-nagoya", f"{longest} {nagoya}")
    assert not permits(config, "SHORT", longest)
    assert permits(config, "SHORT", " ".join([nagoya] * (LONGEST_PATH - 1)))
    for version in (4, 6):
        assert blocks(config)[f"route-map OUT{version} permit 20"] == ["match as-path SHORT", f"call SITES{version}"]


@pytest.mark.parametrize("number", [10, 20])
def test_nothing_of_what_others_prefer_is_kept(number: int) -> None:
    for version, word in ((4, "ip"), (6, "ipv6")):
        entry = blocks(given())[f"route-map LINK2-{version} permit {number}"]
        for line in ("community none", "extcommunity none", "large-community none", f"{word} next-hop peer-address"):
            assert f"set {line}" in entry
        assert [line for line in entry if line.startswith("set local-preference ")]


def test_what_is_closed_here_is_in_no_list_and_never_announced() -> None:
    config = given()
    nagoya, own = (next(site for site in config.table.sites if site.site == name) for name in ("nagoya", OWN))
    text = bgp_config(replace(config, closed=frozenset({nagoya.ipv4, own.ipv6})), "node")
    assert nagoya.ipv4 not in text
    assert own.ipv6 not in text
    assert nagoya.ipv6 in text
    assert f"network {own.ipv4}" in text
    assert "ip prefix-list S-nagoya" not in text
    assert "match ip address prefix-list S-nagoya" not in text


def test_without_other_sites_nothing_is_taken() -> None:
    found = blocks(wanted("abc", [], {}))
    for version, word in ((4, "ip"), (6, "ipv6")):
        assert found[f"route-map SITES{version} permit 10"] == [f"match {word} address prefix-list NONE"]
    assert "NONE seq" not in bgp_config(wanted("abc", [], {}), "node")


def test_a_peers_limit_is_far_above_all_that_is_allotted_and_ends_the_session_for_a_while() -> None:
    text = bgp_config(given(), "node")
    assert set(re.findall(r"neighbor 100\S+ maximum-prefix (.+)", text)) == {f"{MOST_SENT} restart 5 force", "70000"}
    config = given()
    many = (allotment(f"site{n}", n + 2500) for n in range(20_000))
    table = msgspec.structs.replace(config.table, sites=(*config.table.sites, *many))
    assert "maximum-prefix 65536 restart 5 force" in bgp_config(replace(config, table=table), "node")


def test_what_this_node_asks_a_machine_on_another_node_of_the_site_can_be_answered() -> None:
    """Not under the gateway's address, which that node has, too, and which other sites' answers come to."""
    alone = replace(given(), spec=wanted("abc", SITES, {1: "nagoya"}).spec)
    for version, word in ((4, "ip"), (6, "ipv6")):
        found = blocks(given())
        assert found[f"route-map SOURCE{version} permit 5"] == [f"match {word} address prefix-list HOSTS"]
        assert found[f"route-map SOURCE{version} permit 10"][0].startswith("set src ")
        assert f"route-map SOURCE{version} permit 5" not in blocks(alone)


def test_a_class_changes_a_preference_and_nothing_else() -> None:
    before, after = (bgp_config(given(classes={1: grade}), "node") for grade in (3, 1))
    lines = [line for line in commands(before, after) if not line.startswith(("route-map", "exit"))]
    assert len(lines) == 4
    assert all(line.startswith("set local-preference ") for line in lines)


def test_the_order_of_sites_and_links_changes_nothing() -> None:
    config = given()
    table = msgspec.structs.replace(config.table, sites=tuple(reversed(config.table.sites)))
    spec = msgspec.structs.replace(config.spec, links=tuple(reversed(config.spec.links)))
    assert commands(bgp_config(config, "node"), bgp_config(replace(config, table=table, spec=spec), "node")) == []
