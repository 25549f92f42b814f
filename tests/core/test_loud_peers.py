"""A peer that announces too much is not listened to for a while: FRR by itself keeps all that it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netd.core.bgp_alarms import accused
from netd.core.bgp_text import COOL_OFF, most_sent
from netd.shell import routes
from netd.shell.routes import Frr
from tests.bgpwanted import OWN, wanted

WANTED = wanted("abc", ["liar", "tsukuba"], {1: "liar", 2: "tsukuba", 3: OWN})
LIAR, TSUKUBA = (WANTED.spec.links[n].peer_ipv4 for n in (0, 1))
LIMIT = most_sent(len(WANTED.table.sites))


class FakeVtysh:
    """Answers as FRR does; `asked` are the commands."""

    def __init__(self) -> None:
        self.messages, self.held = 1, {LIAR: 0, TSUKUBA: 0}
        self.asked: list[str] = []

    def __call__(self, instance: str, *commands: str) -> str:
        self.asked += commands
        return "\n".join(map(self._answer, commands))

    def _answer(self, command: str) -> str:
        if command == "show bgp summary json":
            peers = {peer: {"state": "Established", "msgRcvd": self.messages} for peer in self.held}
            return json.dumps({"ipv4Unicast": {"peers": peers}})
        if "prefix-counts" in command:
            return json.dumps({"ribTableWalkCounters": {"Adj-in": self.held.get(command.split()[5], 0)}})
        return "{}"


@pytest.fixture
def vtysh(monkeypatch: pytest.MonkeyPatch) -> FakeVtysh:
    made = FakeVtysh()
    monkeypatch.setattr(routes, "_said", made)
    return made


def look(frr: Frr) -> None:
    frr._seen = (-routes.CALM_EVERY, frozenset())
    frr.established(WANTED)


def listened(frr: Frr) -> set[int]:
    return {link.number for link in frr._listening(WANTED).spec.links}


def test_who_keeps_within_the_limit_is_listened_to(vtysh: FakeVtysh, tmp_path: Path) -> None:
    frr = Frr(tmp_path)
    vtysh.messages, vtysh.held[LIAR] = 100, LIMIT
    look(frr)
    assert [command for command in vtysh.asked if "prefix-counts" in command]
    assert listened(frr) == {1, 2, 3}


def test_who_sends_more_is_named_and_not_listened_to_for_a_while(
    vtysh: FakeVtysh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frr = Frr(tmp_path)
    look(frr)
    vtysh.messages, vtysh.held[LIAR] = 100, LIMIT + 1
    look(frr)
    assert listened(frr) == {2, 3}
    assert accused(frr.alarms(WANTED)) == {"liar"}
    assert not [command for command in vtysh.asked if f"{LIAR} filtered-routes" in command]
    later = routes.time.monotonic() + 60 * COOL_OFF + 1
    monkeypatch.setattr(routes.time, "monotonic", lambda: later)
    assert listened(frr) == {1, 2, 3}


def test_quiet_peers_are_not_counted(vtysh: FakeVtysh, tmp_path: Path) -> None:
    frr = Frr(tmp_path)
    vtysh.messages = 100
    look(frr)
    vtysh.asked.clear()
    look(frr)
    assert vtysh.asked == ["show bgp summary json"]
