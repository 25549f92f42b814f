"""Links by rule: whatever the sites, limits hold, what can hang together does, steps are small and end somewhere."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from garage.core.topology import End, Node, Plan, Rules, Site, Wire, linkable, plan, reachable, wire
from garage.core.topology_graph import components, cut_vertices

SMALL = Rules(mesh_sites=6)
"""So that networks of a dozen sites have hubs."""


def site(name: str, ipv4: str = "open", *, limit: int = 50, nodes: int = 1, **more: object) -> Site:
    return Site(name, tuple(Node(f"n{i}", limit) for i in range(nodes)), ipv4, **more)  # type: ignore[arg-type]


def many(count: int, *, seed: int = 1, ways: str = "open open open cone symmetric") -> list[Site]:
    rng = random.Random(seed)
    return [site(f"s{i:04}", rng.choice(ways.split())) for i in range(count)]


def distances(sites: Iterable[Site]) -> dict[tuple[str, str], float]:
    """Every pair's RTT, from places on a map that follow from the names."""
    at = {s.name: (random.Random(s.name).uniform(0, 50), random.Random(s.name + "y").uniform(0, 50)) for s in sites}
    return {(a, b): 1 + abs(complex(*at[a]) - complex(*at[b])) for a, b in combinations(sorted(at), 2)}


def graph(sites: Iterable[Site], links: Iterable[Wire]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {s.name: set() for s in sites}
    for link in links:
        if link.a.site != link.b.site:
            found[link.a.site].add(link.b.site)
            found[link.b.site].add(link.a.site)
    return found


def possible(sites: list[Site]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {s.name: set() for s in sites}
    for a, b in combinations(sites, 2):
        if linkable(a, b):
            found[a.name].add(b.name)
            found[b.name].add(a.name)
    return found


def following(sites: list[Site], done: Plan) -> tuple[list[Site], list[Wire]]:
    """Sites and links after a step: hubs stored, all links up."""
    return [replace(s, hub=s.name in done.hubs) for s in sites], [replace(link, up=True) for link in done.links]


def run(
    sites: list[Site],
    links: Iterable[Wire] = (),
    rtt: dict[tuple[str, str], float] | None = None,
    rules: Rules | None = None,
) -> tuple[list[Site], list[Wire], list[Plan]]:
    """Steps until nothing changes; each is checked."""
    links, steps = list(links), []
    while True:
        done = plan(sites, links, rtt, rules)
        check_step(sites, links, done, rules or Rules())
        if not done.add and not done.remove:
            return sites, links, steps
        steps.append(done)
        assert len(steps) < 120, "no end of steps"
        sites, links = following(sites, done)


def check_step(sites: list[Site], before: Iterable[Wire], done: Plan, rules: Rules) -> None:
    known = {s.name: s for s in sites}
    ends = [link.ends for link in done.links]
    assert len(set(ends)) == len(ends)
    assert all(a < b for a, b in ends)
    for link in done.add:
        one, other = known[link.a.site], known[link.b.site]
        assert one is other if link.reason == "site" else linkable(one, other)
    had = {link.ends for link in before}
    assert set(ends) == (had - {link.ends for link in done.remove}) | {link.ends for link in done.add}
    assert len(others(sites, before, done)) <= rules.others


def others(sites: Iterable[Site], before: Iterable[Wire], done: Plan) -> set[str]:
    """Sites that were on the network before and whose links the step changes; those that lost a gone site aside."""
    names = {s.name for s in sites}
    gone = {e.site for link in before if not names.issuperset(link.sites) for e in link.ends}
    established = {e.site for link in before for e in link.ends}
    changed = {e.site for link in (*done.add, *done.remove) for e in link.ends}
    return (changed & established & names) - gone


def check_limits(sites: Iterable[Site], links: Iterable[Wire]) -> None:
    load = Counter(end for link in links for end in link.ends)
    limit = {End(s.name, node.name): node.limit for s in sites for node in s.nodes}
    assert all(load[end] <= limit[end] for end in load)


WAYS = st.sampled_from(["open", "cone", "symmetric", "closed"])
SITES = st.lists(
    st.builds(
        lambda v4, v6, limit, nodes, willing: ((v4, v6), limit, nodes, willing),
        WAYS,
        WAYS,
        st.sampled_from([1, 2, 3, 5, 8, 50]),
        st.integers(1, 3),
        st.booleans(),
    ),
    max_size=14,
).map(
    lambda rows: [
        Site(f"s{i:02}", tuple(Node(f"n{k}", limit) for k in range(nodes)), v4, v6, willing)
        for i, ((v4, v6), limit, nodes, willing) in enumerate(rows)
    ]
)


@given(SITES, st.randoms(use_true_random=False))
def test_any_sites_end_in_a_plan_within_limits_that_changes_no_more(sites: list[Site], rng: random.Random) -> None:
    measured = {pair: rng.uniform(1, 100) for pair in combinations([s.name for s in sites], 2) if rng.random() < 0.3}
    after, links, _ = run(sites, rtt=measured, rules=SMALL)
    check_limits(after, links)
    last = plan(after, links, measured, SMALL)
    assert last.settled
    assert [link.ends for link in last.links] == [link.ends for link in links]


@given(SITES, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(sites: list[Site], rng: random.Random) -> None:
    measured = {pair: rng.uniform(1, 100) for pair in combinations([s.name for s in sites], 2) if rng.random() < 0.3}
    links = [w for w in plan(sites, [], measured, SMALL).links if rng.random() < 0.7]
    straight = plan(sites, links, measured, SMALL)
    turned = {(b, a): value for (a, b), value in reversed(measured.items())}
    shuffled = rng.sample(sites, len(sites)), [replace(w, a=w.b, b=w.a) for w in rng.sample(links, len(links))]
    assert plan(*shuffled, turned, SMALL) == straight


@given(SITES)
def test_with_room_for_all_that_can_hang_together_does(sites: list[Site]) -> None:
    """And no site holds two parts together, unless the ways of the lines force it to."""
    roomy = [replace(s, nodes=(Node("n"),)) for s in sites]
    _, links, _ = run(roomy, rules=SMALL)
    had, could = graph(roomy, links), possible(roomy)
    assert components(had) == components(could)
    assert cut_vertices(had) == cut_vertices(could)


@given(SITES, st.randoms(use_true_random=False))
def test_from_any_links_steps_lead_to_an_end(sites: list[Site], rng: random.Random) -> None:
    """Also from ones that no plan made, too many, impossible, of nodes that are gone, some of them down."""
    ends = [End(s.name, n.name) for s in sites for n in s.nodes] + [End("gone", "n0"), End("s00", "gone")]
    drawn = [wire(*rng.sample(ends, 2), up=rng.random() < 0.7) for _ in range(rng.randrange(40))]
    distinct = list({w.ends: w for w in drawn}.values())
    first = plan(sites, distinct, rules=SMALL)
    assert all(w in first.remove for w in distinct if "gone" in (*w.a, *w.b))
    after, links, _ = run(sites, distinct, rules=SMALL)
    check_limits(after, links)
    assert plan(after, links, rules=SMALL).settled


def test_few_sites_are_a_full_mesh() -> None:
    sites, links, steps = run(many(20, ways="open open cone"))
    assert len(links) == 190
    assert {link.reason for link in links} == {"mesh"}
    assert len(steps) == 1
    assert not any(s.hub for s in sites)


def test_what_cannot_be_linked_is_not() -> None:
    sites = [
        site("a"),
        site("b", "symmetric"),
        site("c", "symmetric"),
        site("d", "closed", ipv6="cone"),
        site("e", "closed"),
    ]
    _, links, _ = run(sites)
    assert {link.sites for link in links} == {("a", "b"), ("a", "c")}


@pytest.mark.parametrize(
    ("one", "other", "can"),
    [
        (("open", "closed"), ("symmetric", "closed"), True),
        (("cone", "closed"), ("cone", "closed"), True),
        (("symmetric", "closed"), ("symmetric", "closed"), False),
        (("symmetric", "cone"), ("symmetric", "cone"), True),
        (("open", "closed"), ("closed", "open"), False),
        (("closed", "closed"), ("open", "open"), False),
    ],
)
def test_a_pair_is_linked_where_one_family_allows_it(one: tuple[str, str], other: tuple[str, str], can: bool) -> None:
    a, b = (Site(name, (Node("n"),), *ways) for name, ways in (("a", one), ("b", other)))  # type: ignore[arg-type]
    assert linkable(a, b) is linkable(b, a) is can


def test_of_many_each_has_two_hubs_that_can_be_reached() -> None:
    sites, links, _ = run(many(200))
    hubs = {s.name for s in sites if s.hub}
    assert hubs <= {s.name for s in sites if reachable(s)}
    ways = Counter(name for link in links if link.reason == "hub" for name in link.sites if name not in hubs)
    assert set(ways.values()) == {2}
    assert len(ways) + len(hubs) == 200
    check_limits(sites, links)
    assert cut_vertices(graph(sites, links)) == []


def test_hubs_with_the_kernel_module_carry_the_more() -> None:
    sites = many(300)
    strong = {s.name for s in sites if reachable(s)} & {"s0000", "s0001", "s0002", "s0003", "s0004", "s0005"}
    after, _, _ = run([replace(s, nodes=(Node("n", 2000),)) if s.name in strong else s for s in sites])
    assert {s.name for s in after if s.hub} <= strong


def test_the_unwilling_are_no_hubs() -> None:
    sites, _, _ = run([replace(s, willing=i % 2 == 0) for i, s in enumerate(many(60))])
    assert any(s.hub for s in sites)
    assert all(s.willing for s in sites if s.hub)


def test_near_sites_are_linked_by_what_was_measured() -> None:
    """Each site's near links are short: under half of what strangers' links would be."""
    sites = many(120, ways="open")
    rtt = distances(sites)
    _, links, _ = run(sites, rtt=rtt)
    near = [rtt[link.sites] for link in links if link.reason == "near"]
    assert len(near) > 120
    assert sum(near) / len(near) < sum(rtt.values()) / len(rtt) / 2


def test_an_estimate_over_a_common_neighbour_finds_near_sites() -> None:
    sites = many(40, ways="open")
    names = [s.name for s in sites]
    centre, close = names[0], names[1:4]
    rtt = {(centre, name): 1.0 for name in close}
    _, links, _ = run(sites, rtt=rtt)
    pairs = {link.sites for link in links}
    assert pairs >= set(combinations(close, 2))


def test_a_measurement_that_changes_drops_no_link() -> None:
    sites = many(60, ways="open")
    rtt = distances(sites)
    sites, links, _ = run(sites, rtt=rtt)
    _, after, _ = run(sites, links, {pair: 100 - value for pair, value in rtt.items()})
    assert {link.ends for link in links} <= {link.ends for link in after}


def test_growing_from_one_site_to_sixty_changes_few_at_a_time() -> None:
    """Each step of each join: `run` counts. Within the mesh a join reaches all, ten at a time; past it, ten in all."""
    everyone = many(60, seed=3)
    rtt = distances(everyone)
    sites: list[Site] = []
    links: list[Wire] = []
    for newcomer in everyone:
        sites, links, _ = run([*sites, newcomer], links, rtt)
        check_limits(sites, links)
        assert cut_vertices(graph(sites, links)) == cut_vertices(possible(sites))
    assert not any(link.reason == "mesh" for link in links)


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.sampled_from([24, 40, 80, 160]))
def test_beyond_the_mesh_a_join_changes_ten_others_at_most_in_all(seed: int, count: int) -> None:
    everyone = many(count + 3, seed=seed)
    rtt = distances(everyone)
    sites, links, _ = run(everyone[:count], rtt=rtt)
    for newcomer in everyone[count:]:
        before = links
        sites, links, steps = run([*sites, newcomer], links, rtt)
        assert len(set.union(*(others(sites, before, step) for step in steps))) <= 10


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(12, 60))
def test_a_site_that_leaves_is_dropped_at_once_and_others_are_spared(seed: int, count: int) -> None:
    rng = random.Random(seed)
    sites, links, _ = run(many(count, seed=seed))
    gone = rng.choice(sites).name
    left = [s for s in sites if s.name != gone]
    first = plan(left, links)
    lost = [link for link in links if gone in link.sites]
    assert set(first.remove) == set(lost)
    after, end, steps = run(left, links)
    assert all(not step.remove for step in steps[1:])
    assert cut_vertices(graph(after, end)) == cut_vertices(possible(after))


def test_past_the_mesh_links_go_only_when_the_network_holds_without_them() -> None:
    sites, links, _ = run(many(20))
    sites = [*sites, site("newcomer")]
    parts = components(possible(sites))
    removed = 0
    for _ in range(100):
        done = plan(sites, links)
        check_step(sites, links, done, Rules())
        removed += len(done.remove)
        sites, links = [replace(s, hub=s.name in done.hubs) for s in sites], list(done.links)
        working = [link for link in links if link.up]
        assert components(graph(sites[:-1], [w for w in working if "newcomer" not in w.sites])) == components(
            possible(sites[:-1])
        )
        links = [replace(link, up=True) for link in links]
        if done.settled:
            break
    assert done.settled
    assert removed > 80
    assert components(graph(sites, links)) == parts


def test_what_replaces_a_link_has_to_be_up_first() -> None:
    """Two sites whose only common link became surplus keep it while their new ones are down."""
    sites = [site(f"s{i:02}") for i in range(5)] + [site(f"t{i:02}", "symmetric") for i in range(8)]
    sites = [replace(s, hub=s.name in ("s00", "s01", "s02")) for s in sites]
    old = [wire(End("t00", "n0"), End("s04", "n0"), "near")]
    rules = replace(SMALL, near_most=0)
    first = plan(sites, old, rules=rules)
    assert first.surplus
    assert not first.remove
    waiting = plan(sites, first.links, rules=rules)
    assert not waiting.remove
    done = plan(sites, [replace(link, up=True) for link in first.links], rules=rules)
    assert [link.ends for link in done.remove] == [old[0].ends]


def test_a_network_that_shrinks_a_little_does_not_turn_back() -> None:
    sites, links, _ = run(many(22))
    hubs = {s.name for s in sites if s.hub}
    leaf = [s for s in sites if s.name not in hubs][-1]
    _, after, steps = run([s for s in sites if s is not leaf], links)
    assert sum(len(step.add) for step in steps) <= 2
    assert not any(link.reason == "mesh" for link in after)


@pytest.mark.parametrize("mesh_sites", [2, 6, 12])
def test_whatever_figure_is_set_a_network_with_hubs_stays_one(mesh_sites: int) -> None:
    """The figure at which it would be a mesh again lies below the one at which it ceased to be one."""
    rules = Rules(mesh_sites=mesh_sites)
    sites, links, _ = run(many(mesh_sites + 1), rules=rules)
    hubs = {s.name for s in sites if s.hub}
    assert hubs
    again = plan(sites, links, rules=rules)
    assert again.settled
    assert again.hubs == hubs


def test_nodes_of_a_site_are_linked_and_share_its_links() -> None:
    sites, links, _ = run([site(f"s{i}", nodes=3) for i in range(7)])
    inner = [link for link in links if link.reason == "site"]
    assert len(inner) == 7 * 3
    load = Counter(end for link in links if link.reason != "site" for end in link.ends)
    assert set(load.values()) == {2}
    _, after, _ = run([replace(s, nodes=s.nodes[1:]) if s.name == "s3" else s for s in sites], links)
    assert len(graph(sites, after)["s3"]) == 6


def test_a_limit_that_sinks_is_kept_step_by_step() -> None:
    sites, links, _ = run(many(15, ways="open"))
    smaller = [replace(s, nodes=(Node("n0", 6),)) for s in sites]
    after, end, _ = run(smaller, links)
    check_limits(after, end)
    assert cut_vertices(graph(after, end)) == []
    assert len(components(graph(after, end))) == 1


def test_two_sites_of_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="twice"):
        plan([site("a"), site("a")], [])


@given(st.integers(1, 12), st.randoms(use_true_random=False))
def test_cut_vertices_are_those_whose_loss_tears_a_part(count: int, rng: random.Random) -> None:
    """The oracle: take each vertex out and count."""
    names = [f"v{i}" for i in range(count)]
    edges = [pair for pair in combinations(names, 2) if rng.random() < 0.3]
    drawn = {name: {a if b == name else b for a, b in edges if name in (a, b)} for name in names}
    alone = {name for name in names if not drawn[name]}
    whole = len(components(drawn))
    expected = [name for name in names if len(components(drawn, name)) > whole - (name in alone)]
    assert cut_vertices(drawn) == sorted(expected)
