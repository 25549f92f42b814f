"""The steps between two sets of tunnels lead from one to the other, whatever links, keys and endpoints come and go."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from netd.core.overlay import interface
from netd.core.path_mtu import MOST
from netd.core.tunnel_plan import Interface, Step, parse_dump, plan_tunnels
from netd.shell.tunnels import Module
from netd.wire import LinkSpec
from tests.bgpwanted import wanted

INSTANCE = "abc"
NUMBERS = st.sets(st.integers(1, 9), max_size=5)
ENDPOINTS = st.sampled_from([None, "203.0.113.7:51820", "[2001:db8::7]:51821"])


def key(name: object) -> str:
    return base64.b64encode(hashlib.sha256(str(name).encode()).digest()).decode()


PRIVATE = {number: key(f"private {number}") for number in (1, 2)}
PUBLIC = {number: key(f"public {number}") for number in (1, 2)}


@st.composite
def specs(draw: st.DrawFn) -> LinkSpec:
    spec = wanted(INSTANCE, ["kyoto"], dict.fromkeys(draw(NUMBERS), "kyoto")).spec
    links = tuple(
        replace(
            link,
            own_key=draw(st.sampled_from((1, 2))),
            peer_key=key(draw(st.integers(1, 3))),
            psk=key(f"psk {draw(st.integers(1, 2))}"),
            port=draw(st.integers(51820, 51823)),
        )
        for link in spec.links
    )
    return replace(spec, links=links)


@st.composite
def states(draw: st.DrawFn) -> tuple[LinkSpec, dict[int, str | None], dict[int, int]]:
    """(spec, endpoints, measured MTUs)."""
    spec = draw(specs())
    numbers = [link.number for link in spec.links]
    endpoints = {number: draw(ENDPOINTS) for number in numbers}
    mtus = draw(st.dictionaries(st.sampled_from(numbers), st.integers(1280, MOST))) if numbers else {}
    return spec, endpoints, mtus


def steps(
    state: tuple[LinkSpec, dict[int, str | None], dict[int, int]], present: Mapping[str, Interface]
) -> list[Step]:
    spec, endpoints, mtus = state
    return plan_tunnels(INSTANCE, spec, present, PRIVATE, PUBLIC, endpoints, mtus)


def carried_out(done: list[Step], present: Mapping[str, Interface]) -> dict[str, Interface]:
    """What wg and ip would make of it."""
    found = dict(present)
    for step in done:
        if step.kind == "make":
            assert step.name not in found
            found[step.name] = Interface()
        elif step.kind == "remove":
            del found[step.name]
        elif step.kind == "configure":
            found[step.name] = configured(found[step.name], step.secret)
        elif step.kind == "endpoint":
            peer, endpoint = step.text.split(" ")
            assert peer == found[step.name].peer_key
            found[step.name] = changed(found[step.name], endpoint=endpoint)
        else:
            name = step.text.split(" dev ")[-1].split(" ")[0] if " dev " in step.text else step.text.split(" ")[2]
            found[name] = addressed(found[name], step.text)
    return found


def changed(before: Interface, **values: object) -> Interface:
    fields = {name: getattr(before, name) for name in before.__slots__}
    return Interface(**fields | values)  # type: ignore[arg-type]


def configured(before: Interface, text: str) -> Interface:
    said = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    own = next(number for number, secret in PRIVATE.items() if secret == said["PrivateKey"])
    values = {"public_key": PUBLIC[own], "port": int(said["ListenPort"]), "peer_key": said["PublicKey"]}
    return changed(before, **values, psk=said["PresharedKey"], endpoint=said.get("Endpoint"))


def addressed(before: Interface, line: str) -> Interface:
    words = line.split(" ")
    if words[0] == "link":
        return changed(before, mtu=int(words[4]), up=words[5] == "up")
    if words[1] == "add":
        assert words[2] not in before.addresses
        return changed(before, addresses=before.addresses | {words[2]})
    return changed(before, addresses=before.addresses - {words[2]})


@given(states(), states())
def test_the_steps_lead_to_what_is_wanted_and_a_second_plan_is_empty(
    before: tuple[LinkSpec, dict[int, str | None], dict[int, int]],
    after: tuple[LinkSpec, dict[int, str | None], dict[int, int]],
) -> None:
    first = carried_out(steps(before, {}), {})
    assert steps(before, first) == []
    second = carried_out(steps(after, first), first)
    assert steps(after, second) == []
    assert set(second) == {interface(INSTANCE, link.number) for link in after[0].links}
    for link in after[0].links:
        found = second[interface(INSTANCE, link.number)]
        assert (found.public_key, found.port) == (PUBLIC[link.own_key], link.port)
        assert (found.peer_key, found.psk, found.up) == (link.peer_key, link.psk, True)
        assert found.addresses == {f"{link.ipv4}/31", f"{link.ipv6}/127"}
        if measured := after[2].get(link.number):
            assert found.mtu == measured
        if endpoint := after[1][link.number]:
            assert found.endpoint == endpoint


@given(states())
def test_no_secret_can_be_printed(state: tuple[LinkSpec, dict[int, str | None], dict[int, int]]) -> None:
    made = steps(state, {})
    shown = "".join(f"{step} {step!r}" for step in made) + repr(carried_out(made, {}))
    assert not any(secret in shown for secret in (*PRIVATE.values(), *(link.psk for link in state[0].links)))


@given(states(), st.data())
def test_what_holds_a_links_port_or_address_and_is_not_wanted_goes_first(
    state: tuple[LinkSpec, dict[int, str | None], dict[int, int]], data: st.DataObject
) -> None:
    """A site that leaves and joins again may be given what its old link had, before this node has heard of either."""
    spec = state[0]
    assume(spec.links)
    link = data.draw(st.sampled_from(spec.links))
    held = data.draw(
        st.sampled_from([Interface(port=link.port), Interface(port=9, addresses=frozenset({f"{link.ipv4}/31"}))])
    )
    found = steps(state, {"glabczz": held})
    assert found[0] == Step("remove", "glabczz")
    assert [step.kind for step in found].count("remove") == 1


@given(states())
def test_what_is_not_wanted_any_more_is_removed_after_everything_else(
    state: tuple[LinkSpec, dict[int, str | None], dict[int, int]],
) -> None:
    kinds = [step.kind for step in steps(state, {"glabczz": Interface(up=True)})]
    assert kinds[-1] == "remove"
    assert kinds.count("remove") == 1


def test_a_dump_is_read_as_wg_prints_it() -> None:
    own, peer, psk = PUBLIC[1], key("peer"), key("psk")
    rows = (
        ("glabc1", PRIVATE[1], own, "51820", "off"),
        ("glabc1", peer, psk, "203.0.113.7:51820", "0.0.0.0/0,::/0", "1763700000", "10", "20", "25"),
        ("glabc2", PRIVATE[1], own, "51821", "off"),
        ("glabc2", peer, "(none)", "(none)", "(none)", "0", "0", "0", "off"),
        ("wg0", PRIVATE[2], PUBLIC[2], "1", "off"),
    )
    found = parse_dump("\n".join("\t".join(row) for row in rows), f"gl{INSTANCE}")
    assert set(found) == {"glabc1", "glabc2"}
    assert found["glabc1"].endpoint == "203.0.113.7:51820"
    assert (found["glabc1"].handshake, found["glabc1"].received, found["glabc1"].sent) == (1763700000, 10, 20)
    assert (found["glabc2"].psk, found["glabc2"].endpoint, found["glabc2"].handshake) == ("", None, 0)
    assert not re.search(re.escape(PRIVATE[1]), repr(found))


def test_a_module_that_is_loaded_later_is_noticed_and_then_believed_for_good() -> None:
    now, answers = [0.0], [False, False, True]
    module = Module(lambda: answers.pop(0), lambda: now[0])
    seen = []
    for now[0] in (0.0, 1.0, 59.0, 60.0, 61.0, 120.0, 121.0, 1000.0):
        seen.append(module.there())
    assert seen == [False] * 5 + [True] * 3
    assert not answers
