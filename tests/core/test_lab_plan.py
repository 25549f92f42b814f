"""The laboratory's pure half: what a file says, which addresses and commands come of it, what a line does to packets."""

from __future__ import annotations

import json
import random
import re
from dataclasses import asdict
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.errors import NetdError
from netd.lab import units
from netd.lab.addresses import lay_out
from netd.lab.impair import BUFFER_SECONDS, Pipe
from netd.lab.lines import carried_by, in_force, netem, prefix
from netd.lab.model import Impairment, Line, Overlay
from netd.lab.parse import load, parse
from netd.lab.plan import plan
from netd.lab.state import restore

LABS = Path(__file__).parents[2] / "labs"
DOCUMENTATION = [
    ip_network(text)
    for text in (
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "2001:db8::/32",
    )
]
ALL = """
name: all
about: one of each
carriers: {isp: ds-lite, mobile: symmetric}
sites:
  a: {}
  b: {nodes: [b1, b2], lines: {b-line: {delay: 5ms, jitter: 1ms, loss: 0.1%, rate: 100Mb/s, mtu: 1454}}}
  c:
    lines:
      c-fibre: {nat: {kind: cone, filter: address, forward: {51820: c}}, block: [inbound]}
      c-lte: {delay: 30ms, carrier: mobile}
  d: {lines: {d-line: {carrier: isp, nat: cone, ipv6: false}}}
  e: {nodes: [e1, e2], lines: {e-line: {carrier: isp, block: [udp]}}}
overlay: {registry: b, mesh_sites: 3}
"""


def test_everything_that_can_be_said() -> None:
    found = parse(ALL)
    assert [site.name for site in found.sites] == ["a", "b", "c", "d", "e"]
    assert found.nodes == ("a", "b1", "b2", "c", "d", "e1", "e2")
    a, b, fibre, lte, d, _e = found.lines
    assert (a.name, a.shaped, a.impairment) == ("a-line", False, Impairment())
    assert (b.impairment, b.mtu) == (Impairment(0.005, 0.001, 0.001, 100e6), 1454)
    assert fibre.nat is not None
    assert (fibre.nat.filtering, fibre.nat.forward, fibre.block) == ("address", ((51820, "c"),), ("inbound",))
    assert (lte.carrier, lte.shaped, d.ipv6) == ("mobile", True, False)
    assert found.overlay == Overlay("b", mesh_sites=3)
    assert [site.name for site in found.sites if not site.speaks_udp] == ["e"]


@pytest.mark.parametrize("file", sorted(LABS.glob("*.yaml")), ids=lambda file: file.stem)
def test_ready_topologies(file: Path) -> None:
    found = load(file)
    assert found.name == file.stem
    assert found.about
    page = (LABS.parent / "docs" / "labs" / f"{file.stem}.md").exists()
    assert page == (file.stem != "twelve-sites"), "each but the one for tests alone is a lesson"


def test_there_are_five_lessons() -> None:
    lessons = {"two-sites", "nat", "dying-line", "hub", "liar"}
    assert {file.stem for file in LABS.glob("*.yaml")} == {*lessons, "twelve-sites"}


@pytest.mark.parametrize(
    ("text", "field", "hint"),
    [
        ("sites: {}", "sites: none is given", "tsukuba"),
        ("name: x", "sites: is missing", "key: value"),
        ("- a", "topology: ", "key: value"),
        ("site: {a: {}}", "site: is unknown", "did you mean sites?"),
        ("sites: {a: {lines: {l: {delya: 10ms}}}}", "sites.a.lines.l.delya", "did you mean delay?"),
        ("sites: {a: {lines: {l: {delay: 10}}}}", "sites.a.lines.l.delay: 10 is not a time", ""),
        ("sites: {a: {lines: {l: {delay: -1ms}}}}", "sites.a.lines.l.delay", ""),
        ("sites: {a: {lines: {l: {delay: 2s, jitter: 3s}}}}", "sites.a.lines.l.jitter", ""),
        ("sites: {a: {lines: {l: {loss: 0.1}}}}", "sites.a.lines.l.loss", ""),
        ("sites: {a: {lines: {l: {loss: 101%}}}}", "more than 100%", ""),
        ("sites: {a: {lines: {l: {rate: 1b/s}}}}", "sites.a.lines.l.rate", ""),
        ("sites: {a: {lines: {l: {rate: .inf}}}}", "sites.a.lines.l.rate", ""),
        ("sites: {a: {lines: {l: {mtu: 900}}}}", "sites.a.lines.l.mtu", ""),
        ("sites: {a: {lines: {l: {mtu: true}}}}", "sites.a.lines.l.mtu", ""),
        ("sites: {a: {lines: {l: {ipv4: false, ipv6: false}}}}", "neither IPv4 nor IPv6", ""),
        ("sites: {a: {lines: {l: {ipv4: 0}}}}", "sites.a.lines.l.ipv4", ""),
        ("sites: {a: {lines: {l: {nat: cones}}}}", "sites.a.lines.l.nat.kind", "one of cone"),
        ("sites: {a: {lines: {l: {nat: {kind: symmetric, filter: any}}}}}", "lines.l.nat.filter", "kind: cone"),
        ("sites: {a: {lines: {l: {nat: {kind: cone, ports: 1-2}}}}}", "lines.l.nat.ports", "map-e"),
        ("sites: {a: {lines: {l: {nat: {kind: map-e, ports: 9-5}}}}}", "lines.l.nat.ports", "40960"),
        ("sites: {a: {lines: {l: {nat: {kind: map-e, forward: {80: a}}}}}}", "nat.forward.80", ""),
        ("sites: {a: {lines: {l: {nat: {kind: cone, forward: {80: b}}}}}}", "nat.forward.80", "one of a"),
        ("sites: {a: {lines: {l: {nat: {kind: ds-lite, forward: {80: a}}}}}}", "nat.forward", ""),
        ("carriers: {i: {kind: cone, forward: {80: a}}}\nsites: {a: {}}", "carriers.i.forward", ""),
        ("sites: {a: {lines: {l: {carrier: isp}}}}", "sites.a.lines.l.carrier", "one of none"),
        ("sites: {a: {lines: {l: {block: [quic]}}}}", "sites.a.lines.l.block", "udp"),
        ("sites: {a: {lines: {l: {block: udp}}}}", "sites.a.lines.l.block", "[a, b]"),
        ("sites: {a: {lines: {much-too-long-name: {}}}}", "longer than 15", ""),
        ("sites: {a: {lines: {lan: {}}}}", "'lan'", "another"),
        ("sites: {a: {lines: {l: {}}}, b: {lines: {l: {}}}}", "'l' is used twice", ""),
        ("sites: {a: {nodes: [n]}, b: {nodes: [n]}}", "'n' is used twice", ""),
        ("sites: {internet: {}}", "'internet' is used twice", "own"),
        ("sites: {a: {nodes: []}}", "sites.a.nodes", "1 to"),
        ("sites: {A: {}}", "sites.A", "lower-case"),
        ("sites: {a b: {}}", "sites.a b", "lower-case"),
        ("sites: {../x: {}}", "sites.../x", "lower-case"),
        ("name: 'a\n\n  b'\nsites: {a: {}}", "name", "lower-case"),
        ("name: a.b\nsites: {a: {}}", "name", "hyphens"),
        ("sites: {a: {}, a: {}}", "'a' is given twice", ""),
        ("sites: {a: &x {}, b: *x}", "aliases", ""),
        ("sites: {[a]: {}}", "no word", ""),
        ("sites: {a: !!python/name:os.system {}}", "is no YAML", ""),
        ("sites: {a: ", "is no YAML", ""),
        (f"sites: {'{a: ' * 3000}", "is no YAML", ""),
    ],
)
def test_what_is_not_understood_is_refused_by_its_path(text: str, field: str, hint: str) -> None:
    with pytest.raises(NetdError) as error:
        parse(text)
    assert error.value.code == "config"
    assert field in error.value.text
    assert hint in error.value.hint


def test_an_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("sites: 3")
    with pytest.raises(NetdError, match=r"x\.yaml: sites"):
        load(tmp_path / "x.yaml")
    with pytest.raises(NetdError, match=r"none\.yaml"):
        load(tmp_path / "none.yaml")


def test_a_lab_survives_its_state_file() -> None:
    assert restore(json.loads(json.dumps(asdict(parse(ALL))))) == parse(ALL)


@given(st.floats(0.00001, 60), st.floats(0, 1), st.floats(1e3, 1e11))
def test_units_are_read_as_they_are_shown(delay: float, loss: float, rate: float) -> None:
    assert units.seconds(f"{delay * 1e3:.6f}ms") == pytest.approx(delay, abs=1e-8)
    assert units.share(f"{loss * 100:.7f}%") == pytest.approx(loss, abs=1e-8)
    assert units.bits_per_second(units.show_rate(rate)) == pytest.approx(rate, rel=1e-4)


# addresses and commands


@st.composite
def topologies(draw: st.DrawFn) -> str:
    """Some sites of every kind, as YAML (which JSON is)."""
    lines = 0
    sites = {}
    for site in range(draw(st.integers(1, 20))):
        own = {}
        for _ in range(draw(st.integers(1, 3))):
            line: dict[str, object] = {"ipv6": draw(st.booleans())}
            if nat := draw(st.sampled_from(["cone", "symmetric", "map-e", "ds-lite", None])):
                line["nat"] = nat
            if draw(st.booleans()):
                line["carrier"] = "isp"
            if draw(st.booleans()):
                line["delay"] = "1ms"
            own[f"l{lines}"] = line
            lines += 1
        nodes = [f"s{site}n{number}" for number in range(draw(st.integers(1, 2)))]
        sites[f"s{site}"] = {"nodes": nodes, "lines": own}
    return json.dumps({"name": "p", "carriers": {"isp": "ds-lite"}, "sites": sites})


@given(topologies())
def test_addresses_are_distinct_and_nobody_s(text: str) -> None:
    try:
        places = lay_out(parse(text))
    except NetdError as error:
        assert "without NAT" in error.text or "more than" in error.text
        return
    nets = [
        net
        for place in places
        for segment in (place.wire, place.lan)
        if segment
        for net in (segment.ipv4, segment.ipv6)
    ]
    given_nets = [net for net in nets if net]
    assert len(set(given_nets)) == len(given_nets)
    for one in given_nets:
        assert any(one.version == net.version and one.subnet_of(net) for net in DOCUMENTATION)  # type: ignore[arg-type]
        assert not any(one != other and one.overlaps(other) for other in given_nets)
    for place in places:
        addresses = [a for index in range(len(place.site.nodes)) for a in place.node(index)] + list(place.gateways())
        assert len(set(addresses)) == len(addresses)


@given(topologies())
def test_nothing_is_made_in_the_server_s_own_namespace(text: str) -> None:
    try:
        made = plan(parse(text), "p")
    except NetdError:
        return
    assert len(set(made.namespaces)) == len(made.namespaces)
    for stage in (*made.before, *made.after):
        for command in stage:
            if named := re.search(r"^(?:ip|tc)(?: -[46])? (?:netns exec|-n) (\S+)", " ".join(command.argv)):
                assert named[1] in made.namespaces
                continue
            assert command.argv == ("ip", "-batch", "-")
            for line in filter(None, command.input.split("\n")):
                one = re.fullmatch(
                    r"netns add (\S+)|link add \S+ netns (\S+) type veth peer name \S+ netns (\S+)", line
                )
                assert one, line
                assert set(filter(None, one.groups())) <= set(made.namespaces)
                assert all(len(name) <= 15 for name in re.findall(r"(?:link add|peer name) (\S+)", line))


def test_no_lab_s_prefix_begins_another_s() -> None:
    assert not prefix("a-b").startswith(prefix("a"))
    assert all(name.startswith(prefix("a")) for name in plan(parse(ALL), "a").namespaces)


def test_what_carries_a_line() -> None:
    plain, shaped = Line("l"), Line("l", Impairment(delay=0.01), shaped=True)
    jittery = Line("l", Impairment(delay=0.01, jitter=0.001), shaped=True)
    assert [carried_by(line, netem=False) for line in (plain, shaped, jittery)] == ["veth", "forwarder", "forwarder"]
    assert [carried_by(line, netem=True) for line in (plain, shaped, jittery)] == ["veth", "netem", "forwarder"]


def test_netem_s_words() -> None:
    wanted = Impairment(delay=0.01, loss=0.005, rate=1e6)
    assert netem("gl.x.a", "l", wanted).input == (
        "qdisc replace dev l root netem limit 5000 delay 10000us loss 0.5000% rate 1000000bit\n"
    )


def test_what_is_broken_stands_in_place_of_the_file_s() -> None:
    line = Line("l", Impairment(delay=0.01, loss=0.1), shaped=True)
    assert in_force(line, {"loss": 1.0}) == Impairment(delay=0.01, loss=1.0)
    assert in_force(line, {}) == line.impairment


# packets


@given(
    st.lists(st.tuples(st.floats(0, 0.05), st.integers(40, 1500)), min_size=1, max_size=60),
    st.floats(0, 0.3),
    st.floats(0, 0.1),
    st.sampled_from([0.0, 64e3, 1e6, 1e8]),
    st.randoms(use_true_random=False),
)
def test_packets_keep_their_order_and_their_time(
    packets: list[tuple[float, int]], delay: float, jitter: float, rate: float, chance: random.Random
) -> None:
    pipe = Pipe(Impairment(delay, min(jitter, delay), 0.0, rate), chance.random)
    now, left = 0.0, []
    for gap, size in packets:
        now += gap
        if (due := pipe.offer(now, size)) is not None:
            assert due >= now + delay - min(jitter, delay) + (8 * size / rate if rate else 0) - 1e-9
            left.append(due)
    assert left == sorted(left)
    assert pipe.counters.passed == len(left) >= 1
    assert pipe.counters.passed + pipe.counters.full == len(packets)


def test_a_share_is_lost() -> None:
    pipe = Pipe(Impairment(loss=0.2), random.Random(1).random)
    left = sum(pipe.offer(number / 1000, 100) is not None for number in range(10_000))
    assert 7_800 < left < 8_200
    pipe.change(Impairment(loss=1.0))
    assert all(pipe.offer(11.0, 100) is None for _ in range(100))
    pipe.change(Impairment())
    assert pipe.offer(12.0, 100) == 12.0


def test_a_slow_line_s_buffer_is_bounded() -> None:
    pipe = Pipe(Impairment(rate=10e6), random.Random(1).random)
    due = [pipe.offer(0.0, 1250) for _ in range(1000)]  # 1 ms each
    assert sum(when is not None for when in due) == pytest.approx(1000 * BUFFER_SECONDS, abs=5)
    assert pipe.counters.full == sum(when is None for when in due)


def test_a_shorter_delay_lets_nothing_overtake() -> None:
    pipe = Pipe(Impairment(delay=0.3), random.Random(1).random)
    first = pipe.offer(0.0, 100)
    pipe.change(Impairment(delay=0.01))
    assert first == 0.3
    assert pipe.offer(0.1, 100) == 0.3
    assert pipe.offer(1.0, 100) == 1.01
