"""What `netd join` says at its end: it waits for a link, an answer over both families and the name, and owns up to what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from netd import arrival
from netd.arrival import Arrival
from netd.core.wanted import Wanted
from tests.bgpwanted import OWN, wanted

BOTH = frozenset({4, 6})


@dataclass
class Net:
    """Stands for the overlay and for the echoes: which links are up, which sites answer over what, from which look on."""

    wanted_: Wanted
    up: frozenset[int] = frozenset({1})
    answering: dict[str, frozenset[int]] = field(default_factory=dict)
    domain: str = ""
    late: int = 0
    """Looks at the links before the first is up."""
    asked: list[str] = field(default_factory=list)
    _came: list[int] = field(default_factory=list)

    @property
    def overlay(self) -> Any:
        node = SimpleNamespace(adopt=lambda: None, spec=SimpleNamespace(domain=self.domain))
        routes = SimpleNamespace(established=self._established)
        return SimpleNamespace(restore=lambda: True, node=node, wanted=lambda: self.wanted_, routes=routes)

    def _established(self, _wanted: Wanted) -> frozenset[int]:
        self.late -= 1
        return self.up if self.late < 0 else frozenset()

    def send(self, tag: int, address: str, size: int) -> None:
        assert size == arrival.SIZE
        self.asked.append(address)
        site = next(one for one in self.wanted_.table.sites if address in (one.dns4, one.dns6))
        if (6 if ":" in address else 4) in self.answering.get(site.site, ()):
            self._came.append(tag)

    def answered(self, *, forget: bool) -> dict[int, set[int]]:
        assert not forget, "a slow answer counts, too"
        came, self._came = self._came, []
        return {tag: {arrival.SIZE} for tag in came}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "WITHIN", 0.2)
    monkeypatch.setattr(arrival, "LOOK", 0.005)


def said(capsys: pytest.CaptureFixture[str], net: Net, *, reached: bool = True) -> tuple[str, str]:
    net.domain = net.domain or f"{net.wanted_.spec.site}.{net.wanted_.table.domain}"
    Arrival(net.overlay, net).wait(reached=reached)  # type: ignore[arg-type]
    return tuple(capsys.readouterr())


def two() -> Wanted:
    return wanted("abc", ["liar", "tsukuba"], {1: "liar", 2: "tsukuba"})


def test_a_link_an_answer_and_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = said(capsys, Net(two(), late=3, answering={"tsukuba": BOTH}))
    assert (out.splitlines()[0][:18], err) == ("1 of 2 links up af", "")
    assert out.splitlines()[1].startswith("site tsukuba answers over IPv4 and IPv6 after ")


def test_one_family_is_not_enough_and_two_sites_do_not_make_up_for_each_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, err = said(capsys, Net(two(), answering={"tsukuba": frozenset({4}), "liar": frozenset({4})}))
    assert "answers" not in out
    assert "no other site answers over IPv6 yet" in err


def test_without_a_link_nobody_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    net = Net(two(), up=frozenset())
    assert "no link is up yet" in said(capsys, net)[1]
    assert net.asked == []


def test_a_site_that_renumbers_first_waits_for_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    net = Net(two())
    assert (said(capsys, net, reached=False)[1], net.asked) == ("", [])


def test_who_is_linked_to_its_own_site_alone_asks_the_others_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    inner = wanted("abc", ["tsukuba"], {1: OWN})
    out, err = said(capsys, Net(inner, answering={"tsukuba": BOTH}))
    assert "site tsukuba answers" in out
    assert err == ""


def test_the_first_of_all_waits_for_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = said(capsys, Net(wanted("abc", [], {1: OWN})))
    assert (len(out.splitlines()), err) == (1, "")


def test_a_controller_that_does_not_take_the_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    err = said(capsys, Net(two(), answering={"liar": BOTH}, domain="home.garage.internal"))[1]
    assert "do not have the site's name yet" in err
