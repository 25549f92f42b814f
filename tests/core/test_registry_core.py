"""The registry's pure parts: endpoints and NATs, changing keys, samples of an hour."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from garage.core import endpoints, samples
from garage.core.endpoints import Outside, Sighting
from garage.core.rotation import DRAIN_SECONDS, PARALLEL, Step, Tunnel, steps
from garage.core.samples import EMPTY, Sample


def test_unusable_endpoints_are_left_out() -> None:
    given = [
        "127.0.0.1:5",
        "[fe80::1]:5",
        "224.0.0.1:5",
        "0.0.0.0:5",
        "1.2.3.4:0",
        "1.2.3.4:65536",
        "999.1.1.1:5",
        "[::1]:5",
    ]
    assert endpoints.addresses([*given, "192.0.2.1:5", "[2001:db8::1]:6", "192.0.2.1:7"]) == [
        "192.0.2.1",
        "2001:db8::1",
    ]


def test_an_address_that_is_seen_as_it_is_has_no_nat_before_it() -> None:
    seen = [Sighting(51_820, "10.0.0.5:51820")]
    assert endpoints.outside(["10.0.0.5"], seen, 4) == Outside("10.0.0.5", "open")


def test_a_nat_that_keeps_ports_can_be_met_half_way_and_another_cannot() -> None:
    kept = [Sighting(port, f"198.51.100.7:{port}") for port in (1000, 1001)]
    drawn = [Sighting(1000, "198.51.100.7:4711"), Sighting(1001, "198.51.100.7:1001"), Sighting(1002, "198.51.100.7:9")]
    assert endpoints.outside(["192.168.0.2"], kept, 4) == Outside("198.51.100.7", "cone")
    assert endpoints.outside(["192.168.0.2"], drawn, 4) == Outside("198.51.100.7", "symmetric")


def test_before_anybody_has_seen_a_node_its_addresses_say_what_may_be() -> None:
    assert endpoints.outside(["192.168.0.2", "2001:db8::1"], [], 4).way == "cone"
    assert endpoints.outside(["192.168.0.2", "2001:db8::1"], [], 6).way == "open"
    assert endpoints.outside(["fd00::1"], [], 6).way == "closed"
    assert endpoints.outside(["203.0.113.5"], [], 4).way == "open"
    assert endpoints.outside([], [], 4).way == "closed"


def test_a_peer_behind_the_same_nat_says_nothing_of_it() -> None:
    """Two sites of one carrier see each other's inner addresses; those beyond it cannot."""
    near = [Sighting(port, f"100.64.9.2:{port}") for port in (1, 2, 3)]
    assert endpoints.outside(["100.64.9.2"], near, 4) == Outside("100.64.9.2", "open")
    beyond = [*near, Sighting(4, "192.0.2.66:6433")]
    assert endpoints.outside(["100.64.9.2"], beyond, 4) == Outside("192.0.2.66", "symmetric")


def test_what_is_seen_now_counts_before_what_was_seen() -> None:
    """A site that moved; and a NAT that does not seem another one while some of its links are down."""
    before = [Sighting(port, f"198.51.100.7:{port + 1}", now=False) for port in (1000, 1001, 1002)]
    assert endpoints.outside(["10.0.0.5"], before, 4) == endpoints.Outside("198.51.100.7", "symmetric")
    moved = [*before, Sighting(1003, "198.51.100.8:1003")]
    assert endpoints.outside(["10.0.0.5"], moved, 4) == endpoints.Outside("198.51.100.8", "cone")
    same = [*before, Sighting(1003, "198.51.100.7:1003")]
    assert endpoints.outside(["10.0.0.5"], same, 4) == endpoints.Outside("198.51.100.7", "symmetric")


def test_the_majority_is_believed() -> None:
    seen = [Sighting(1, "198.51.100.66:1"), Sighting(2, "203.0.113.5:2"), Sighting(3, "203.0.113.5:3")]
    assert endpoints.outside(["203.0.113.5"], seen, 4).address == "203.0.113.5"
    assert endpoints.outside(["203.0.113.5"], seen[:2], 4).address == "203.0.113.5"


def test_native_ipv6_comes_first_and_private_addresses_last() -> None:
    own = ["10.0.0.5", "203.0.113.5", "2001:db8::1", "fd00::1"]
    seen = [Outside("198.51.100.7", "cone"), Outside("198.51.100.8", "symmetric")]
    found = endpoints.endpoints(own, seen, 7)
    assert found == ["[2001:db8::1]:7", "203.0.113.5:7", "198.51.100.7:7", "10.0.0.5:7", "[fd00::1]:7"]
    assert endpoints.endpoints(own, seen, 7, near=True)[0] == "10.0.0.5:7"


def tunnel(number: int, **more: object) -> Tunnel:
    values = {"a": "x", "b": f"y{number}", "outdated": False, "up": True} | more
    return Tunnel(number, **values)  # type: ignore[arg-type]


def test_nothing_happens_while_keys_are_the_newest() -> None:
    assert steps([tunnel(1), tunnel(2, up=False)], 0) == []


def test_the_whole_succession() -> None:
    old, heir = tunnel(1, outdated=True), tunnel(5, replaces=1, up=False)
    assert steps([old], 0) == [Step("replace", 1)]
    assert steps([old, heir], 0) == []
    heir = tunnel(5, replaces=1)
    assert steps([old, heir], 0) == [Step("drain", 1)]
    draining = tunnel(1, outdated=True, draining_since=0.0, known=True)
    assert steps([draining, heir], DRAIN_SECONDS - 1) == []
    assert steps([draining, heir], DRAIN_SECONDS) == [Step("remove", 1)]
    unknown = tunnel(1, outdated=True, draining_since=0.0, known=False)
    assert steps([unknown, heir], 1e6) == []
    assert steps([draining, tunnel(5, replaces=1, up=False)], 1e6) == [Step("restore", 1)]
    assert steps([replace(old, up=False, dead=True), tunnel(2, replaces=1, up=False)], 0) == [Step("remove", 1)]
    assert steps([heir], 0) == []


def test_few_links_of_a_node_change_at_a_time() -> None:
    many = [tunnel(n, outdated=True) for n in range(1, 31)]
    assert len(steps(many, 0)) == PARALLEL
    heirs = [tunnel(100 + n, b=f"y{n}", replaces=n, up=False) for n in range(1, PARALLEL)]
    assert steps([*many, *heirs], 0) == [Step("replace", PARALLEL)]


values = st.none() | st.floats(0, 6000)


@given(st.integers(0, 59), values, values, st.none() | st.floats(0, 1))
def test_a_sample_is_read_as_it_was_written(
    minute: int, rtt: float | None, jitter: float | None, loss: float | None
) -> None:
    hour = samples.put(EMPTY, minute, Sample(rtt, jitter, loss))
    found = samples.read(hour)
    assert len(hour) == 300
    assert all(sample == Sample() for n, sample in enumerate(found) if n != minute)
    for wrote, read, close in (
        (rtt, found[minute].rtt_ms, 0.06),
        (jitter, found[minute].jitter_ms, 0.06),
        (loss, found[minute].loss, 0.003),
    ):
        assert (wrote is None) == (read is None)
        assert wrote is None or read is None or abs(wrote - read) <= close
