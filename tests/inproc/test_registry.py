"""The registry's services: joining, allotting, linking, leaving, keys that change, reports of honest and of lying nodes."""

from __future__ import annotations

import ipaddress
import threading
import time
from itertools import combinations

import pytest
from sqlalchemy import select, update

from garage.db.overlay_models import LinkEnd, NodeKey, PathHour, SiteInvitation, SiteNode
from garage.db.session import ChangeWatch
from garage.errors import GarageError
from garage.metrics import render
from garage.services import invitations, overlay_reports, registry, sites, tending
from garage.services.context import Caller, Context
from netd import wire
from tests.conftest import Clock, on_disk
from tests.inproc.overlay_nodes import FakeNode, agree, invite, key, member, request, settle
from tests.inproc.served import wait_until


def refused(code: str) -> pytest.RaisesExc[GarageError]:
    return pytest.raises(GarageError, check=lambda error: error.code == code)


def test_a_site_joins_with_its_own_prefixes(ctx: Context, admin: Caller) -> None:
    one = member(ctx, admin, "tsukuba", 1)
    entry = next(site for site in one.table.sites if site.site == "tsukuba")
    assert (entry.ipv4, entry.ipv6, entry.dns4, entry.dns6) == ("10.1.0.0/20", "fd00:1::/48", "10.1.0.1", "fd00:1::1")
    assert 4_200_000_000 <= entry.asn <= 4_294_967_294
    assert [site.site for site in one.table.sites] == ["origin", "tsukuba"]
    assert one.spec.links == ()
    assert one.table.domain == "garage.internal"
    assert not sites.get(ctx, admin, "tsukuba").renumber


def test_few_sites_are_all_linked_and_the_ends_agree(ctx: Context, admin: Caller) -> None:
    nodes = [member(ctx, admin, f"site{n}", n) for n in range(1, 6)]
    for node in nodes:
        node.poll()
    assert all(len(node.spec.links) == 4 for node in nodes)
    agree(nodes)


def test_a_join_changes_the_specs_of_its_peers_alone(ctx: Context, admin: Caller, clock: Clock) -> None:
    nodes = [member(ctx, admin, f"site{n}", n) for n in range(1, 4)]
    settle(ctx, clock, nodes)
    before = [node.versions for node in nodes]
    sites.configure(ctx, admin, mesh_sites=2)
    assert [registry.news(ctx, node.id, *node.versions) for node in nodes] == [None] * 3
    fourth = member(ctx, admin, "site4", 4)
    told = {link.peer_site for link in fourth.spec.links}
    for node, old in zip(nodes, before, strict=True):
        news = node.poll()
        assert news is not None
        assert node.versions[1] > old[1]
        assert (news.spec is not None) == (node.site in told)


def test_a_conflict_gives_other_prefixes_and_asks_to_renumber(ctx: Context, admin: Caller) -> None:
    member(ctx, admin, "first", 1)
    second = member(ctx, admin, "second", 2, ipv4="10.1.8.0/21")
    entry = next(site for site in second.table.sites if site.site == "second")
    assert not ipaddress.ip_network(entry.ipv4).overlaps(ipaddress.ip_network("10.1.0.0/20"))
    assert entry.ipv6 == "fd00:2::/48"
    view = sites.get(ctx, admin, "second")
    assert (view.renumber, view.proposed_ipv4) == (True, "10.1.8.0/21")


def test_the_registrys_own_site_is_a_member_before_others_and_keeps_its_prefixes(ctx: Context, admin: Caller) -> None:
    with refused("invalid_field"):
        invitations.invite(ctx, admin, "tsukuba")
    thief = member(ctx, admin, "thief", 1, ipv4=ctx.config.site_ipv4)
    own = sites.get(ctx, admin, "origin")
    assert (own.own, own.state, own.ipv4) == (True, "invited", ctx.config.site_ipv4)
    text = registry.own_invitation(ctx)
    assert text is not None
    wanted = request(
        ctx, text.split(".")[1], 9, ipv4=ctx.config.site_ipv4, ipv6=ctx.config.site_ipv6, endpoints=("192.0.2.1:51820",)
    )
    node = FakeNode(ctx, "origin", wanted, registry.join(ctx, wanted))
    thief.poll()
    assert [link.peer_site for link in node.spec.links] == ["thief"]
    assert registry.own_invitation(ctx) is None
    with refused("in_use"):
        sites.remove(ctx, admin, "origin")


def test_a_token_is_good_for_one_key(ctx: Context, admin: Caller) -> None:
    token = invite(ctx, admin, "tsukuba")
    wanted = request(ctx, token.secret, 1)
    first = registry.join(ctx, wanted)
    again = registry.join(ctx, wanted)
    assert (first.credential, first.site) == (again.credential, again.site)
    with refused("token_used"):
        registry.join(ctx, request(ctx, token.secret, 2))
    assert [view.state for view in invitations.listing(ctx, admin)] == ["used"]


def test_wrong_expired_and_withdrawn_tokens(ctx: Context, admin: Caller, clock: Clock) -> None:
    with refused("token_unknown"):
        registry.join(ctx, request(ctx, "x" * 43, 1))
    late = invite(ctx, admin, "late", ttl=60)
    used = invite(ctx, admin, "used", ttl=60)
    wanted = request(ctx, used.secret, 3)
    registry.join(ctx, wanted)
    clock.forward(61)
    for secret in (late.secret, used.secret):
        with refused("token_expired"):
            registry.join(ctx, again_now(wanted, ctx, secret))
    gone = invite(ctx, admin, "gone")
    invitations.withdraw(ctx, admin, "gone")
    with refused("token_withdrawn"):
        registry.join(ctx, request(ctx, gone.secret, 2))
    with refused("wrong_state"):
        invitations.withdraw(ctx, admin, next(v.id for v in invitations.listing(ctx, admin) if v.state == "used"))


def again_now(wanted: wire.JoinRequest, ctx: Context, secret: str) -> wire.JoinRequest:
    values = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
    return wire.JoinRequest(**values | {"time": ctx.clock(), "token": secret})


def test_no_secret_is_stored_in_clear(ctx: Context, admin: Caller) -> None:
    token = invite(ctx, admin, "tsukuba")
    other = member(ctx, admin, "other", 2)
    answer = registry.join(ctx, request(ctx, token.secret, 1))
    other.poll()
    kept = on_disk(ctx)
    assert b"tsukuba" in kept
    for secret in (token.secret, answer.credential, other.spec.links[0].psk):
        assert secret.encode() not in kept


@pytest.mark.parametrize(("off", "word"), [(61, "ahead"), (-61, "behind"), (-4e8, "behind")])
def test_a_clock_that_is_off_is_told_the_difference(ctx: Context, admin: Caller, off: float, word: str) -> None:
    token = invite(ctx, admin, "tsukuba")
    with pytest.raises(GarageError) as caught:
        registry.join(ctx, request(ctx, token.secret, 1, time=ctx.clock() + off))
    assert caught.value.code == "clock_off"
    assert word in caught.value.message
    assert str(round(abs(off))) in caught.value.message
    registry.join(ctx, request(ctx, token.secret, 1, time=ctx.clock() + 59))


@pytest.mark.parametrize(
    "more",
    [
        {"ipv4": "10.1.0.1/20"},
        {"ipv4": "192.0.2.0/24"},
        {"ipv4": "10.0.0.0/8"},
        {"ipv4": "10.1.2.0/28"},
        {"ipv4": "999.0.0.0/20"},
        {"ipv6": "2001:db8::/48"},
        {"ipv6": "fd00::/8"},
        {"ipv6": "::/0"},
        {"port": 65_500, "ports": 100},
    ],
)
def test_what_no_site_may_have_is_refused_and_leaves_nothing(
    ctx: Context, admin: Caller, more: dict[str, object]
) -> None:
    token = invite(ctx, admin, "tsukuba")
    with refused("invalid_field"):
        registry.join(ctx, request(ctx, token.secret, 1, **more))
    assert [site.name for site in sites.listing(ctx, admin)] == ["origin"]
    registry.join(ctx, request(ctx, token.secret, 1))


def test_one_key_on_two_nodes_is_refused(ctx: Context, admin: Caller) -> None:
    one = member(ctx, admin, "one", 1)
    token = invite(ctx, admin, "two")
    with refused("key_in_use"):
        registry.join(ctx, request(ctx, token.secret, 2, key=one.request.key))


def test_a_taken_name_is_refused_when_inviting_and_when_joining(ctx: Context, admin: Caller) -> None:
    token = invite(ctx, admin, "tsukuba")
    with refused("already_exists"):
        invite(ctx, admin, "tsukuba")
    with ctx.db.write() as session:
        session.execute(update(SiteInvitation).values(site="origin"))
    with refused("already_exists"):
        registry.join(ctx, request(ctx, token.secret, 1))
    for name in ("home", "Tsukuba", "a.b", ""):
        with refused("invalid_field"):
            invite(ctx, admin, name)


def test_members_may_do_nothing_of_this(ctx: Context, admin: Caller, alice: Caller) -> None:
    for act in (
        lambda: invitations.invite(ctx, alice, "tsukuba", own_name="origin"),
        lambda: invitations.listing(ctx, alice),
        lambda: invitations.withdraw(ctx, alice, "x"),
        lambda: sites.listing(ctx, alice),
        lambda: sites.remove(ctx, alice, "x"),
        lambda: sites.rotate(ctx, alice, "x"),
        lambda: sites.configure(ctx, alice, bfd_ms=300),
    ):
        with refused("forbidden"):
            act()


def test_twenty_joins_at_once_allot_nothing_twice(ctx: Context, admin: Caller) -> None:
    """All propose the same prefixes."""
    tokens = {f"site{n}": invite(ctx, admin, f"site{n}").secret for n in range(20)}
    answers: dict[str, wire.JoinAnswer] = {}
    wanted = {n: request(ctx, t, i, ipv4="10.9.0.0/20", ipv6="fd09::/48") for i, (n, t) in enumerate(tokens.items(), 1)}
    start = threading.Barrier(20)

    def join(name: str) -> None:
        start.wait()
        answers[name] = registry.join(ctx, wanted[name])

    threads = [threading.Thread(target=join, args=(name,)) for name in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    nodes = [FakeNode(ctx, name, wanted[name], answer) for name, answer in answers.items()]
    assert len(nodes) == 20
    for node in nodes:
        node.poll()
    agree(nodes)
    table = nodes[0].table.sites
    assert len(table) == 21
    for name in ("ipv4", "ipv6"):
        nets = [ipaddress.ip_network(getattr(site, name)) for site in table]
        assert not any(one.overlaps(other) for one, other in combinations(nets, 2))  # type: ignore[arg-type]
    assert sum(site.ipv4 == "10.9.0.0/20" for site in table) == 1
    links = {link.number: link for node in nodes for link in node.spec.links}
    addresses = [address for link in links.values() for address in (link.ipv4, link.peer_ipv4)]
    assert len(set(addresses)) == len(addresses) == 2 * len(links)
    assert len({node.answer.credential for node in nodes}) == 20


def test_two_joins_with_one_token_at_once_admit_one(ctx: Context, admin: Caller) -> None:
    secret = invite(ctx, admin, "tsukuba").secret
    results: list[str] = []

    def join(number: int) -> None:
        try:
            results.append(registry.join(ctx, request(ctx, secret, number)).site)
        except GarageError as error:
            results.append(error.code)

    threads = [threading.Thread(target=join, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == ["token_used"] * 7 + ["tsukuba"]


def test_a_removed_site_is_dropped_by_its_peers_and_its_name_is_free(ctx: Context, admin: Caller) -> None:
    nodes = [member(ctx, admin, f"site{n}", n) for n in range(1, 4)]
    number = max(link.number for node in nodes for link in node.spec.links)
    sites.remove(ctx, admin, "site3")
    assert registry.standing(ctx, nodes[2].answer.credential) is None
    for node in nodes[:2]:
        assert node.poll() is not None
        assert node.to("site3") == []
        assert "site3" not in {site.site for site in node.table.sites}
    again = member(ctx, admin, "site3", 3)
    assert min(link.number for link in again.spec.links) > number


def test_leaving_ends_the_membership(ctx: Context, admin: Caller) -> None:
    one, two = member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)
    registry.leave(ctx, two.id)
    one.poll()
    assert one.spec.links == ()
    assert [site.name for site in sites.listing(ctx, admin)] == ["one", "origin"]


def test_two_nodes_of_a_site_are_linked_inside_it(ctx: Context, admin: Caller) -> None:
    one, other = member(ctx, admin, "one", 1), member(ctx, admin, "other", 2)
    secret = parse(invitations.invite(ctx, admin, "one", node=True)[1])
    wanted = request(ctx, secret, 3, ipv4="10.1.0.0/20", ipv6="fd00:1::/48", node="node2")
    second = FakeNode(ctx, "one", wanted, registry.join(ctx, wanted))
    for node in (one, other):
        node.poll()
    inner = second.to("one")
    assert [(link.peer_node, link.peer_asn) for link in inner] == [("node1", one.spec.asn)]
    agree([one, other, second])
    secret = parse(invitations.invite(ctx, admin, "one", node=True)[1])
    with refused("invalid_field"):
        registry.join(ctx, request(ctx, secret, 4, node="node3"))


def parse(text: str) -> str:
    return text.split(".")[1]


def test_keys_change_by_a_second_link_that_takes_over(ctx: Context, admin: Caller, clock: Clock) -> None:
    one, two = member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)
    settle(ctx, clock, [one, two])
    (old,) = one.to("two")
    sites.rotate(ctx, admin, "one")
    one.poll()
    assert one.spec.want_key == 2
    one.report()
    tending.tend(ctx)
    for node in (one, two):
        node.poll()
    new = next(link for link in one.to("two") if link.number != old.number)
    assert (new.own_key, new.psk != old.psk, new.port != old.port, new.ipv4 != old.ipv4) == (2, True, True, True)
    assert {link.state for link in one.to("two")} == {"up"}
    agree([one, two])
    one.report()
    tending.tend(ctx)
    assert one.poll() is None, "the old link may not drain while one end has not seen the new one up"
    two.report()
    tending.tend(ctx)
    for node in (one, two):
        node.poll()
    assert {link.number: link.state for link in one.to("two")} == {old.number: "draining", new.number: "up"}
    tending.tend(ctx)
    assert one.poll() is None, "it drains for a while"
    settle(ctx, clock, [one, two])
    assert [link.number for link in one.to("two")] == [new.number]
    with ctx.db.read() as session:
        assert sorted((k.number, k.key) for k in session.scalars(select(NodeKey)) if k.key in one.keys.values()) == [
            (2, one.keys[2])
        ]


def test_a_successor_that_fails_brings_the_old_link_back(ctx: Context, admin: Caller, clock: Clock) -> None:
    one, two = member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)
    settle(ctx, clock, [one, two])
    (old,) = one.to("two")
    sites.rotate(ctx, admin, "two")
    for _ in range(2):
        for node in (one, two):
            node.poll()
            node.report()
        tending.tend(ctx)
    for node in (one, two):
        node.poll()
    assert next(link for link in one.to("two") if link.number == old.number).state == "draining"
    clock.forward(30)
    states = tuple(
        wire.LinkState(number=link.number, state="up" if link.number == old.number else "down")
        for link in one.to("two")
    )
    one.report(links=states)
    tending.tend(ctx)
    one.poll()
    assert next(link for link in one.to("two") if link.number == old.number).state == "up"
    assert len(one.to("two")) == 2


def test_a_report_about_somebody_elses_link_is_refused_whole(ctx: Context, admin: Caller) -> None:
    one, two, three = (member(ctx, admin, name, n) for n, name in enumerate(("one", "two", "three"), 1))
    one.poll()
    two.poll()
    foreign = two.to("three")[0].number
    with refused("forbidden"):
        one.report(links=(*one.said().links, wire.LinkState(number=foreign, state="down")), alarms=("kept?",))
    with ctx.db.read() as session:
        assert list(session.scalars(select(LinkEnd))) == []
        assert all(node.alarms == [] for node in session.scalars(select(SiteNode)))
    assert three.spec is not None


def test_a_report_about_a_link_that_is_gone_is_no_lie(ctx: Context, admin: Caller) -> None:
    one, _two = member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)
    one.poll()
    sites.remove(ctx, admin, "two")
    one.report()
    assert sites.get(ctx, admin, "one").state == "up"


def test_a_link_twice_and_keys_nobody_asked_for_are_refused(ctx: Context, admin: Caller) -> None:
    one, two = member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)
    one.poll()
    link = one.said().links[0]
    with refused("malformed_request"):
        one.report(links=(link, link))
    for keys in ((wire.PublicKey(number=2, key=key()),), (wire.PublicKey(number=1, key=key()),)):
        with refused("invalid_field"):
            one.report(keys=keys)
    sites.rotate(ctx, admin, "one")
    with refused("key_in_use"):
        one.report(keys=(wire.PublicKey(number=2, key=two.request.key),))


def test_a_report_claims_no_version_that_was_never_given(ctx: Context, admin: Caller) -> None:
    one, two = member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)
    two.report(applied_version=1 << 61, table_version=1 << 61)
    assert sites.get(ctx, admin, "two").nodes[0].applied_version == two.spec.version
    assert registry.news(ctx, two.id, *two.versions) is None
    one.poll()
    assert registry.news(ctx, one.id, *one.versions) is None


def test_a_registry_from_a_backup_says_something_newer(ctx: Context, admin: Caller, clock: Clock) -> None:
    """The node holds a version of an hour later than the database."""
    one, two = member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)
    one.poll()
    clock.forward(7200)
    held = one.spec.version + 3_600_000
    one.report(applied_version=held)
    found = registry.news(ctx, one.id, held, one.versions[1])
    assert found is not None
    one.take(found)
    assert one.spec.version > held
    assert registry.news(ctx, two.id, *two.versions) is None


def test_outside_endpoints_that_peers_see_reach_the_others(ctx: Context, admin: Caller) -> None:
    natted = member(ctx, admin, "natted", 1, endpoints=("192.168.1.5:51820",))
    hub, other = member(ctx, admin, "hub", 2), member(ctx, admin, "other", 3)
    natted.poll()
    hub.poll()
    (way,) = hub.to("natted")
    assert way.endpoints == (f"192.168.1.5:{natted.to('hub')[0].port}",)
    seen = wire.LinkState(number=way.number, state="up", seen_at=f"198.51.100.7:{natted.to('hub')[0].port}")
    quiet = [
        wire.LinkState(number=link.number, state="waiting") for link in hub.spec.links if link.number != way.number
    ]
    hub.report(links=(seen, *quiet))
    assert other.poll() is not None
    natted.poll()
    port = natted.to("other")[0].port
    assert other.to("natted")[0].endpoints == (f"198.51.100.7:{port}", f"192.168.1.5:{port}")
    with ctx.db.read() as session:
        row = session.scalars(select(SiteNode).where(SiteNode.id == natted.id)).one()
        assert (row.outside4, row.way4) == ("198.51.100.7", "cone")


def test_a_link_that_goes_down_takes_nothing_back_of_what_was_seen(ctx: Context, admin: Caller) -> None:
    natted = member(ctx, admin, "natted", 1, endpoints=("192.168.1.5:51820",))
    hub, other = member(ctx, admin, "hub", 2), member(ctx, admin, "other", 3)
    for node in (natted, hub, other):
        node.poll()
    (way,), (second,), port = hub.to("natted"), other.to("natted"), natted.to("hub")[0].port
    hub.report(links=(wire.LinkState(number=way.number, state="up", seen_at=f"198.51.100.7:{port}"),))
    hub.report(links=(wire.LinkState(number=way.number, state="down"),))
    other.poll()
    assert other.to("natted")[0].endpoints[0].startswith("198.51.100.7:")
    moved = wire.LinkState(number=second.number, state="up", seen_at=f"198.51.100.8:{natted.to('other')[0].port}")
    other.report(links=(moved,))
    hub.poll()
    assert hub.to("natted")[0].endpoints[0].startswith("198.51.100.8:"), "where it is heard now"


def test_one_liar_does_not_move_a_site(ctx: Context, admin: Caller) -> None:
    """It says that it sees the victim elsewhere; two honest peers see it where it is."""
    nodes = [member(ctx, admin, name, n) for n, name in enumerate(("victim", "liar", "honest1", "honest2"), 1)]
    for node in nodes:
        node.poll()
    for node in nodes[1:]:
        (link,) = node.to("victim")
        port = next(back.port for back in nodes[0].spec.links if back.number == link.number)
        where = "198.51.100.66" if node.site == "liar" else "203.0.113.1"
        node.report(links=(wire.LinkState(number=link.number, state="up", seen_at=f"{where}:{port}"),))
    with ctx.db.read() as session:
        row = session.scalars(select(SiteNode).where(SiteNode.id == nodes[0].id)).one()
        assert (row.outside4, row.way4) == ("203.0.113.1", "open")
    nodes[2].poll()
    assert nodes[2].to("victim")[0].endpoints[0].startswith("203.0.113.1:")


def test_a_moved_site_is_told_to_its_peers_alone(ctx: Context, admin: Caller, clock: Clock) -> None:
    one, two = member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)
    settle(ctx, clock, [one, two])
    held = one.versions
    one.report(endpoints=("[2001:db8::7]:51820", "203.0.113.99:51820", "127.0.0.1:1", "[fe80::1]:5"))
    port = one.to("two")[0].port
    assert two.poll() is not None
    assert two.to("one")[0].endpoints == (f"[2001:db8::7]:{port}", f"203.0.113.99:{port}")
    assert registry.news(ctx, one.id, *held) is None


def test_a_report_without_news_writes_nothing(ctx: Context, admin: Caller, clock: Clock) -> None:
    one, two = member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)
    settle(ctx, clock, [one, two])
    clock.forward(35)
    one.report()
    watch = ChangeWatch(ctx.db)
    clock.forward(10)
    one.report()
    time.sleep(0.05)  # PostgreSQL's news take a moment
    assert not watch.changed()
    clock.forward(20)
    one.report()
    wait_until(watch.changed)
    watch.close()


def test_measurements_are_kept_by_minute_for_a_day(ctx: Context, admin: Caller, clock: Clock) -> None:
    one, two = member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)
    one.poll()
    (link,) = one.to("two")
    for minute in range(90):
        one.report(
            links=(wire.LinkState(number=link.number, state="up", rtt_ms=minute + 0.5, jitter_ms=1.0, loss=0.5),)
        )
        clock.forward(60)
    found = sites.history(ctx, admin, "one", "two", hours=2)
    times = [sample.rtt_ms for sample in found.samples if sample.rtt_ms is not None]
    assert times == [minute + 0.5 for minute in range(90)][-len(times) :]
    assert len(times) >= 60
    assert found.samples[-1].rtt_ms is None or found.samples[-1].loss == 0.5
    clock.forward(25 * 3600)
    tending.forget(ctx)
    with ctx.db.read() as session:
        assert list(session.scalars(select(PathHour))) == []
    assert two.spec is not None


def test_alarms_name_the_liar_on_the_map(ctx: Context, admin: Caller) -> None:
    one = member(ctx, admin, "one", 1)
    one.report(alarms=("site nagoya announces 10.1.0.0/20, which is not its own",))
    assert sites.get(ctx, admin, "one").alarms == ["site nagoya announces 10.1.0.0/20, which is not its own"]
    assert sites.counts(ctx)["alarms"] == 1


def test_a_metric_names_who_is_accused_and_by_how_many(ctx: Context, admin: Caller) -> None:
    """A label is always a site's name: what a node says makes no series of its own."""
    one, two, _ = (member(ctx, admin, name, number) for number, name in enumerate(("one", "two", "liar"), 1))
    words = (
        "site liar announces 10.1.0.0/20, which belongs to one",
        "site liar announces 3 more things that are wrong",
    )
    one.report(alarms=words)
    two.report(alarms=(words[0], "site two announces ::/0, which belongs to nobody", 'site x"y announces z'))
    assert sites.get(ctx, admin, "liar").accusations == [f"{name}: {words[0]}" for name in ("one", "two")]
    assert sites.get(ctx, admin, "one").accusations == []
    text = render(ctx)[0].decode()
    lines = {line for line in text.splitlines() if line.startswith("garage_overlay_alarms{")}
    assert lines == {
        f'garage_overlay_alarms{{site="{name}"}} {n}.0'
        for name, n in {"liar": 2, "one": 0, "origin": 0, "two": 0}.items()
    }
    assert "garage_overlay_sites 4.0" in text


def test_what_was_said_a_moment_ago_is_not_looked_at_again(ctx: Context, admin: Caller, clock: Clock) -> None:
    one = member(ctx, admin, "one", 1)
    member(ctx, admin, "two", 2)
    one.poll()
    recently, standing = overlay_reports.Recently(), registry.standing(ctx, one.answer.credential)
    assert standing is not None
    assert not recently.again(standing, 0, one.said())
    recently.remember(standing, 0, one.said())
    assert recently.again(standing, 29, one.said())
    assert not recently.again(standing, 30, one.said())
    assert not recently.again(standing, 1, one.said("down"))
    sites.remove(ctx, admin, "two")
    later = registry.standing(ctx, one.answer.credential)
    assert later is not None
    assert not recently.again(later, 1, one.said())
