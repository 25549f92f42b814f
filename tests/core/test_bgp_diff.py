"""The commands between two configurations lead from one to the other, whatever sites, links and classes come and go."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from netd.core.bgp_diff import Context, Tree, commands, parse
from netd.core.bgp_diff import _key as key_of
from netd.core.bgp_text import LONGEST_PATH, PREPENDED, bgp_config
from netd.core.wanted import Wanted
from tests.bgpwanted import OWN, wanted

NAMES = ("kyoto", "nagoya", "naha", "osaka", "otaru")
SITES = st.sets(st.sampled_from(NAMES)).map(sorted)


@st.composite
def configurations(draw: st.DrawFn) -> Wanted:
    sites = draw(SITES)
    linked = draw(st.dictionaries(st.integers(1, 9), st.sampled_from([*sites, OWN]), max_size=5))
    classes = draw(st.dictionaries(st.sampled_from(sorted(linked)), st.integers(0, 3))) if linked else {}
    draining = draw(st.sets(st.sampled_from(sorted(linked)))) if linked else set()
    sparing = draw(st.sets(st.sampled_from(sorted(linked)))) if linked else set()
    return wanted("abc", sites, linked, classes, sorted(draining), draw(st.sampled_from((300, 1000))), sorted(sparing))


def text(given: Wanted) -> str:
    return bgp_config(given, "node")


def tree(config: str) -> dict[Context, set[str]]:
    return {context: set(lines) for context, lines in parse(config).items() if lines or context}


@given(configurations(), configurations())
def test_the_commands_lead_to_what_is_wanted(before: Wanted, after: Wanted) -> None:
    shell = Shell(text(before))
    shell.read(commands(text(before), text(after)))
    assert shell.tree() == tree(text(after))


@given(configurations())
def test_what_is_there_already_needs_no_command(given: Wanted) -> None:
    assert commands(text(given), text(given)) == []


@given(configurations(), st.sampled_from(NAMES))
def test_a_site_more_touches_no_session_and_no_other_site(given: Wanted, name: str) -> None:
    others = [site.site for site in given.table.sites if site.site not in (OWN, name)]
    linked = {link.number: link.peer_site for link in given.spec.links if link.peer_site != name}
    before, after = (wanted("abc", sites, linked) for sites in (others, [*others, name]))
    lines = commands(text(before), text(after))
    assert not [line for line in lines if line.startswith(("neighbor", "no neighbor")) and "maximum-prefix" not in line]
    assert not [line for line in lines for other in others if line.endswith((f"S-{other}", f"D-{other}"))]


def test_a_line_that_is_nearly_used_up_changes_what_is_told_and_nothing_else() -> None:
    """No session ends, and nothing that was taken is dropped: one line per session. The longer way still passes at its neighbours."""
    linked = {1: "naha", 2: "otaru"}
    before, after = (wanted("abc", ["naha", "otaru"], linked, sparing=spared) for spared in ((), (2,)))
    peer = after.spec.links[1]
    assert [line for line in commands(text(before), text(after)) if "neighbor" in line] == [
        f"neighbor {peer.peer_ipv4} route-map SPARE4 out",
        f"neighbor {peer.peer_ipv6} route-map SPARE6 out",
    ]
    assert 1 + PREPENDED < LONGEST_PATH
    brief = next(line for line in text(after).splitlines() if " BRIEF " in line).rsplit(" permit ", 1)[1]
    longest = " ".join(["4200000009"] * (LONGEST_PATH - PREPENDED - 1))
    assert re.search(brief, longest)
    assert not re.search(brief, f"{longest} 4200000009"), "its neighbour would call it a lie"


def test_another_as_ends_the_old_router_first() -> None:
    before, after = text(wanted("abc", ["naha"], {1: "naha"})), text(wanted("abc", ["naha"], {1: "naha"}))
    after = after.replace("router bgp 4200000001", "router bgp 4200000777")
    assert commands(before, after)[0] == "no router bgp 4200000001"


class Shell:
    """As much of vtysh as the differ speaks to."""

    def __init__(self, config: str) -> None:
        self._tree: Tree = {context: list(lines) for context, lines in parse(config).items()}
        self._at: Context = ()

    def tree(self) -> dict[Context, set[str]]:
        return {context: set(lines) for context, lines in self._tree.items()}

    def read(self, lines: list[str]) -> None:
        for line in lines:
            self._line(line)

    def _line(self, line: str) -> None:
        words = line.split()
        if line in ("exit", "exit-address-family"):
            self._at = self._at[:-1]
        elif words[0] == "no":
            self._no(line.removeprefix("no "))
        elif words[0] in ("router", "route-map", "bfd") or words[0] in ("address-family", "profile"):
            inner = words[0] in ("address-family", "profile")
            self._at = (*self._at[:1], line) if inner else (line,)
            self._tree.setdefault(self._at, [])
        else:
            self._set(line)

    def _set(self, line: str) -> None:
        # a route map is left by the next command that it does not know
        if self._at[:1] and self._at[0].startswith("route-map") and not line.startswith(("match", "set", "call")):
            self._at = ()
        held = self._tree[self._at]
        held[:] = [other for other in held if other != line and (not key_of(line) or key_of(other) != key_of(line))]
        interval = line in ("transmit-interval 300", "receive-interval 300")  # the default is not shown
        held.extend([] if interval else [line])

    def _no(self, line: str) -> None:
        if line.split()[0] in ("router", "route-map"):
            self._at = ()
            self._tree = {context: lines for context, lines in self._tree.items() if context[:1] != (line,)}
        elif line.startswith("neighbor ") and len(line.split()) == 2:
            self._tree = {
                context: [held for held in lines if not held.startswith(f"{line} ")]
                if context[:1] == self._at
                else lines
                for context, lines in self._tree.items()
            }
        else:
            if self._at[:1] and self._at[0].startswith("route-map") and not line.startswith(("match", "set", "call")):
                self._at = ()
            self._tree[self._at].remove(line)
