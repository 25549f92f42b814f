"""`netd leave` where the registry answers, is away, knows nobody, or cannot even be named: it is left at once in each case."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from netd.errors import NetdError
from netd.leaving import leave, tell_registry
from netd.membership import FILE, Home, Membership, home
from netd.overlay import Overlay
from netd.shell import files
from tests.inproc.served import tcp_server

MEMBER = Membership(
    url="https://192.0.2.1:8443", certificate="00" * 32, registry_key="", site="kyoto", node="n", port=1, ports=1
)


class Parts:
    """An overlay whose tunnels, routes and filters only count how often they were ended."""

    def __init__(self, folder: Path) -> None:
        self.ended: list[str] = []
        part: Any = SimpleNamespace(stop=self.ended.append)
        node: Any = SimpleNamespace(lock=threading.RLock(), reapply=lambda: self.ended.append("filters"), spec=None)
        config: Any = SimpleNamespace(state_dir=folder, instance="tst")
        self.overlay = Overlay(config, node, part, part)
        self.home: Home = home(folder)
        self.home.make()
        self.home.save(MEMBER, "credential-of-a-test", b"{}", b"{}")

    def check_left(self) -> None:
        assert self.ended == ["tst", "tst", "filters"]
        assert not self.home.path.exists()


def test_the_registry_is_told_after_this_end_has_left(tmp_path: Path) -> None:
    parts, told = Parts(tmp_path), []

    def tell(member: Membership, credential: str) -> None:
        parts.check_left()
        told.append((member.site, credential))

    lines = list(leave(parts.overlay, tell))
    assert told == [("kyoto", "credential-of-a-test")]
    assert lines == ["left https://192.0.2.1:8443; this site's machines and their network stay as they are"]
    with pytest.raises(NetdError, match="has joined no overlay"):
        list(leave(parts.overlay, tell))


def test_a_registry_that_is_away_keeps_nobody(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    with tcp_server(lambda _peer: None) as port:
        pass
    gone = f"http://127.0.0.1:{port}"
    lines = list(leave(parts.overlay, lambda _m, c: tell_registry(member_at(gone), c)))
    parts.check_left()
    assert lines[0].startswith("left ")
    assert "could not be told" in lines[1]
    assert "garage site remove kyoto" in lines[2]


def test_a_membership_that_cannot_be_read_is_left(tmp_path: Path) -> None:
    """As what says so advises."""
    parts = Parts(tmp_path)
    files.write(parts.home.path / FILE, "{", 0o600)
    lines = list(leave(parts.overlay, lambda *_: pytest.fail("nobody is known who could be told")))
    parts.check_left()
    assert "its operator removes this site" in lines[1]


def member_at(url: str) -> Membership:
    return Membership(url=url, registry_key="", site="kyoto", node="n", port=1, ports=1)
