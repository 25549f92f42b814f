"""What pages make of sites and links: two sites' links as one, who is accused of what, pages of a list."""

from __future__ import annotations

from garage.core.samples import Sample
from garage.services.site_views import LinkView, SiteView
from netd import wire
from netd.core import bgp_alarms, volume
from web import overlay_view
from web.overlay_view import Claim


def link(a: str, b: str, state: str = "up", rtt: float | None = 5.0, loss: float | None = 0.0) -> LinkView:
    return LinkView(1, a, "n", b, "n", "mesh", state, 0.0, rtt, 0.1, loss, 3, 1420)


def site(name: str, state: str = "up", alarms: tuple[str, ...] = ()) -> SiteView:
    number = sum(map(ord, name)) % 200
    prefixes = f"10.{number}.0.0/20", f"fd{number:02x}::/48"
    return SiteView(
        name,
        state,
        4_200_000_000 + number,
        *prefixes,
        *prefixes,
        False,
        False,
        False,
        True,
        None,
        None,
        0.0,
        list(alarms),
        [],
    )


def test_links_of_two_sites_are_one_told_by_the_best() -> None:
    found = overlay_view.ties(
        [link("b", "a", "down", None), link("a", "b", rtt=9.0), link("b", "a", rtt=4.0), link("a", "a")]
    )
    assert [(tie.a, tie.b, tie.state, tie.rtt_ms, tie.links, tie.links_up) for tie in found] == [
        ("a", "b", "up", 4.0, 3, 2)
    ]


def test_a_link_that_is_replaced_is_not_counted_twice() -> None:
    (tie,) = overlay_view.ties([link("a", "b", "draining"), link("a", "b")])
    assert (tie.state, tie.links, tie.links_up) == ("up", 1, 1)
    (tie,) = overlay_view.ties([link("a", "b", "draining"), link("a", "b", "waiting", None)])
    assert (tie.state, tie.links, tie.links_up) == ("draining", 1, 0)
    (tie,) = overlay_view.ties([link("a", "b", "down", 5.0, 0.5)])
    assert (tie.rtt_ms, tie.loss) == (None, None), "old figures of a dead link are not shown as if they were new"


def test_who_is_accused_of_what_by_whom() -> None:
    by_a = (
        "site c announces 10.1.0.0/20, which belongs to b",
        "site c announces 0.0.0.0/0, which belongs to nobody",
        "site c announces 10.1.4.0/24, a part of what belongs to b",
        "site c announces 10.2.0.0/20, by a way over 40 sites",
        "site c announces at least 95 more things that are wrong",
        "else",
    )
    sites = [site("a", alarms=by_a), site("b", alarms=by_a[:1]), site("c")]
    assert overlay_view.claims(sites) == [
        Claim("c", "0.0.0.0/0", "", "a", "nobody"),
        Claim("c", "10.1.0.0/20", "b", "a"),
        Claim("c", "10.1.0.0/20", "b", "b"),
        Claim("c", "10.1.4.0/24", "b", "a", "part"),
        Claim("c", "10.2.0.0/20", "", "a", "way"),
        Claim("c", "95", "", "a", "more"),
    ]
    assert overlay_view.others(sites[0]) == ["else"]
    places = {place.name: place for place in overlay_view.places(sites, ["c", "new"], {"c"})}
    assert [name for name, place in places.items() if place.accused] == ["c"], "who reports is not to blame"
    assert (places["new"].state, places["c"].state) == ("invited", "up")


def test_what_netd_says_is_understood() -> None:
    """Its very words, so that a change there is noticed here."""
    a, b = (wire.Allotment(site=name, asn=4_200_000_000 + number, ipv4=f"10.{number}.0.0/20", ipv6=f"fd00:{number}::/48",
                           dns4=f"10.{number}.0.1", dns6=f"fd00:{number}::1") for number, name in ((1, "a"), (2, "b")))  # fmt: skip
    table = wire.Table(version=1, domain="garage.internal", sites=(a, b))
    own, path = str(a.asn), str(b.asn)
    routes = {"0.0.0.0/0": path, "10.1.0.0/20": path, "10.1.4.0/24": own, "10.2.0.0/20": f"{own} {path}"}
    routes |= {f"10.9.{number}.0/24": path for number in range(5)}
    said = bgp_alarms.alarms(bgp_alarms.lies([bgp_alarms.Heard("b", b.asn, routes)], table, 0))
    speaker = site("a", alarms=said)
    assert overlay_view.others(speaker) == []
    assert {claim.kind for claim in overlay_view.claims([speaker])} == {"whole", "part", "way", "nobody", "more"}


def test_lines_that_near_their_volume_are_told_apart() -> None:
    gib = 2**30
    texts = [volume.told(f"line{used}", used * gib, 100 * gib, 1_800_000_000.0) for used in (10, 85, 97, 100)]
    found, rest = overlay_view.volumes([*filter(None, texts), "clock is off"])
    assert [(one.used, one.cap, one.level) for one in found][-1] == ("100.0", "100", "stop")
    assert [one.level for one in found] == sorted({one.level for one in found}, key=["warn", "spare", "stop"].index)
    assert rest == ["clock is off"]


def test_a_list_is_paged_with_trouble_first() -> None:
    sites = [site(f"s{number:02}", "silent" if number == 7 else "up") for number in range(12)]
    first, cursor = overlay_view.rows(sites, "", "", 5)
    second, cursor = overlay_view.rows(sites, "", cursor, 5)
    third, last = overlay_view.rows(sites, "", cursor, 5)
    names = [one.name for one in (*first, *second, *third)]
    assert names[0] == "s07"
    assert sorted(names) == [one.name for one in sites]
    assert last == ""
    assert [one.name for one in overlay_view.rows(sites, "S03", "", 5)[0]] == ["s03"]
    assert overlay_view.rows(sites, "10.", "", 50)[0]
    assert overlay_view.rows(sites, "nothing", "", 5) == ([], "")


def test_a_stretch_in_figures() -> None:
    samples = [Sample(float(number), 0.1, 0.1 if number == 3 else 0.0) for number in range(1, 21)] + [Sample()]
    found = overlay_view.stretch(samples)
    assert (found.least, found.middle, found.high, found.minutes) == (1.0, 11.0, 20.0, 20)
    assert found.loss is not None
    assert abs(found.loss - 0.005) < 1e-9
    assert overlay_view.stretch([Sample()]).middle is None


def test_thinning_keeps_peaks_and_gaps() -> None:
    values = [1.0, None, 9.0, 2.0, None, None]
    assert overlay_view.thinned(values, 3) == [1.0, 9.0, None]
    assert overlay_view.thinned(values, 100) == values
