"""Who is accused of what, out of what the filters refused."""

from __future__ import annotations

import json
import random

import pytest

from netd.core.bgp_alarms import MOST, MOST_EACH, MOST_LIES, Heard, Lie, accused, alarms, lies, path_alone, routes
from netd.core.bgp_text import LONGEST_PATH
from netd.wire import Table
from tests.bgpwanted import OWN, allotment

SITES = {name: allotment(name, number) for number, name in enumerate((OWN, "liar", "nagoya", "tsukuba"), 1)}
TABLE = Table(version=1, domain="garage.internal", sites=tuple(SITES.values()))
ASN = {name: site.asn for name, site in SITES.items()}


def said(prefix: str, *path: str | int, by: str = "liar") -> tuple[str, ...]:
    """Alarms about one route; its path by site or number."""
    words = " ".join(str(ASN.get(str(hop), hop)) for hop in path)
    return alarms(lies([Heard(by, ASN[by], {prefix: words})], TABLE, ASN[OWN]))


@pytest.mark.parametrize(
    ("prefix", "path", "why"),
    [
        ("10.4.0.0/20", ["liar"], "which belongs to tsukuba"),
        ("fd00:4::/48", ["liar"], "which belongs to tsukuba"),
        ("10.4.0.0/20", [], "which belongs to tsukuba"),
        ("10.4.0.0/20", ["liar", "tsukuba", 4_200_009_999], "which belongs to tsukuba"),
        ("10.1.0.0/20", ["liar"], f"which belongs to {OWN}"),
        ("10.4.0.0/24", ["liar", "tsukuba"], "a part of what belongs to tsukuba"),
        ("fd00:4:0:1::/64", ["liar", "tsukuba"], "a part of what belongs to tsukuba"),
        ("10.1.0.16/28", ["liar"], f"a part of what belongs to {OWN}"),
        ("10.0.0.0/8", ["liar", "tsukuba"], "which belongs to nobody"),
        ("0.0.0.0/0", ["liar"], "which belongs to nobody"),
        ("::/0", ["liar"], "which belongs to nobody"),
        ("192.168.1.0/24", ["liar"], "which belongs to nobody"),
        ("10.4.0.0/20", ["tsukuba"], "by a way that does not begin with it"),
        ("10.4.0.0/20", [4_200_009_999, "tsukuba"], "by a way that does not begin with it"),
        ("10.4.0.0/20", ["liar"] * LONGEST_PATH + ["tsukuba"], f"by a way over {LONGEST_PATH + 1} sites"),
    ],
)
def test_a_lie_is_told_with_the_liars_name(prefix: str, path: list[str | int], why: str) -> None:
    assert said(prefix, *path) == (f"site liar announces {prefix}, {why}",)


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("10.2.0.0/20", ["liar"]),
        ("10.4.0.0/20", ["liar", "tsukuba"]),
        ("fd00:4::/48", ["liar", "nagoya", "tsukuba"]),
        ("10.4.0.0/20", ["liar", OWN, "tsukuba"]),
        ("10.4.0.0/20", ["liar"] * (LONGEST_PATH - 1) + ["tsukuba"]),
        ("no prefix", ["liar"]),
    ],
)
def test_what_is_true_or_cut_by_bgp_itself_is_no_lie(prefix: str, path: list[str | int]) -> None:
    """Also if it was refused: the lists of a moment ago did not know it."""
    assert said(prefix, *path) == ()


def test_a_liar_with_thousands_of_lies_hides_no_other_one() -> None:
    junk = {f"11.{n // 256}.{n % 256}.0/24": str(ASN["liar"]) for n in range(10_000)}
    heard = [Heard("liar", ASN["liar"], junk | {"10.4.0.0/20": str(ASN["liar"])})]
    heard.append(Heard("nagoya", ASN["nagoya"], {"0.0.0.0/0": str(ASN["nagoya"])}))
    texts = alarms(lies(heard, TABLE, ASN[OWN]))
    assert "site liar announces 10.4.0.0/20, which belongs to tsukuba" in texts
    assert "site nagoya announces 0.0.0.0/0, which belongs to nobody" in texts
    more = f"site liar announces at least {MOST_LIES - MOST_EACH} more things that are wrong"
    assert [text for text in texts if "more" in text] == [more]
    assert len(texts) == MOST_EACH + 2
    assert accused(texts) == {"liar", "nagoya"}
    assert all(len(text) <= 200 for text in texts)


def test_many_liars_are_all_named_before_their_second_lies() -> None:
    found = {
        Lie(f"site{n}", rank, 20, f"10.{n}.{rank}.0/24", "x") for n in range(MOST - 2) for rank in range(MOST_EACH + 3)
    }
    texts = alarms(found)
    assert len(texts) == MOST
    assert len(accused(texts)) == MOST - 2


def test_the_order_in_which_routes_are_heard_changes_nothing() -> None:
    words = [(f"11.0.{n}.0/24", str(ASN["liar"])) for n in range(200)]
    one = lies([Heard("liar", ASN["liar"], dict(words))], TABLE, ASN[OWN])
    random.Random(3).shuffle(words)
    assert lies([Heard("liar", ASN["liar"], dict(words))], TABLE, ASN[OWN]) == one
    assert len(one) == MOST_LIES


@pytest.mark.parametrize("text", ["site liar announces", "site a b c", "link 3 is slow", "", "Site liar announces 1 2"])
def test_other_texts_accuse_nobody(text: str) -> None:
    assert accused([text]) == frozenset()


@pytest.mark.parametrize("table", ["receivedRoutes", "filteredRoutes", "routes"])
def test_frrs_answers_are_read_whole_or_by_their_paths(table: str) -> None:
    """FRR names the table differently from version to version, and gives a route or a list of one."""
    route = {"network": "10.4.0.0/20", "path": "1 2", "bgpOriginCode": "i", "appliedStatusSymbols": {"*": True}}
    for entry in (route, [route]):
        text = json.dumps({"localAS": 1, "bgpOriginCodes": {"igp": "i"}, table: {"10.4.0.0/20": entry}})
        assert routes(json.loads(text)) == routes(json.loads(text, object_hook=path_alone)) == {"10.4.0.0/20": "1 2"}
    assert routes({"warning": "no such neighbour"}) == routes({table: {"10.0.0.0/8": []}}) == {}
