"""Reports on their way to a registry: one that hangs stops nothing, the latest report wins, the connection is kept.

The overlay is a stand-in that counts what is asked of it; sockets are real.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from netd import told
from netd.core.wanted import Wanted
from netd.errors import NetdError
from netd.following import Following
from netd.membership import Home, Membership
from netd.reporting import Reporter
from netd.shell import files
from netd.wire import LinkReport
from tests.bgpwanted import wanted as make_wanted
from tests.inproc.served import tcp_server, wait_until


@pytest.fixture
def place(tmp_path: Path) -> Home:
    made = Home(tmp_path / "overlay")
    made.make()
    files.write(made.path / "credential", "credential-of-a-test", 0o600)
    return made


def member_of(port: int, joined_at: float = 1.0) -> Membership:
    url = f"http://127.0.0.1:{port}"
    values: dict[str, Any] = {"site": "tsukuba", "node": "node1", "port": 51_820, "ports": 100, "joined_at": joined_at}
    return Membership(url=url, certificate="", registry_key="", **values)


def said(version: int) -> LinkReport:
    return LinkReport(applied_version=version, table_version=1)


@dataclass
class Listener:
    """A registry as far as reports go; `silent`: it accepts and never answers."""

    silent: bool = False
    status: int = 204
    heard: list[int] = field(default_factory=list)
    """Versions that were reported."""
    connections: int = 0
    requests: int = 0
    close_after: int = 1000
    """Requests until a connection is closed."""

    def serve(self, connection: socket.socket) -> None:
        self.connections += 1
        with connection, connection.makefile("rb") as lines:
            for _ in range(self.close_after):
                length = 0
                while (line := lines.readline()) not in (b"\r\n", b""):
                    name, _colon, value = line.decode().partition(":")
                    length = int(value) if name.lower() == "content-length" else length
                if not line:
                    return
                body = lines.read(length)
                self.requests += 1
                if self.silent:
                    connection.recv(1)
                    return
                if self.status == 204:
                    self.heard.append(json.loads(body)["applied_version"])
                connection.sendall(f"HTTP/1.1 {self.status} said\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.fixture
def registry() -> Iterator[tuple[Listener, int]]:
    listener = Listener()
    with tcp_server(listener.serve) as port:
        yield listener, port


def test_the_connection_is_kept_and_opened_anew_when_the_registry_has_closed_it(
    place: Home, registry: tuple[Listener, int]
) -> None:
    listener, port = registry
    folders: list[Path] = []
    reporter = Reporter(folders.append)
    for version in (1, 2, 3):
        reporter.hand(place, member_of(port), said(version))
        reporter.turn()
    assert (listener.heard, listener.connections, folders) == ([1, 2, 3], 1, [place.path] * 3)
    listener.close_after = 1
    for version in (4, 5):  # a second membership has a connection of its own
        reporter.hand(place, member_of(port, 2.0), said(version))
        reporter.turn()
        time.sleep(0.05)
    assert (listener.heard, listener.connections) == ([1, 2, 3, 4, 5], 3)


def test_a_report_that_was_not_taken_is_sent_again_unless_there_is_a_newer_one(
    place: Home, registry: tuple[Listener, int]
) -> None:
    listener, port = registry
    reporter, member = Reporter(lambda _folder: None), member_of(port)
    listener.status = 503
    reporter.hand(place, member, said(1))
    with pytest.raises(NetdError, match="503"):
        reporter.turn()
    with pytest.raises(NetdError, match="503"):
        reporter.turn()
    reporter.hand(place, member, said(2))
    listener.status = 204
    reporter.turn()
    assert listener.heard == [2]


def test_leaving_ends_what_is_being_said_and_is_no_failure(place: Home, registry: tuple[Listener, int]) -> None:
    listener, port = registry
    listener.silent = True
    folders: list[Path] = []
    reporter = Reporter(folders.append)
    reporter.hand(place, member_of(port), said(1))
    failed: list[Exception] = []

    def turn() -> None:
        try:
            reporter.turn()
        except NetdError as error:
            failed.append(error)

    thread = threading.Thread(target=turn)
    thread.start()
    wait_until(lambda: listener.requests)
    reporter.forget()
    thread.join(2)
    assert (thread.is_alive(), failed, folders) == (False, [], [])


class Overlay:
    """What `Following` asks of an overlay whose links all stand; `mended` counts looks at tunnels, `unbound` changes of the filters."""

    def __init__(self, place: Home, member: Membership, wanted: Wanted) -> None:
        self.home, self.member, self.spec, self.table = place, member, wanted.spec, wanted.table
        self.config = SimpleNamespace(state_dir=place.path.parent)
        self.node = SimpleNamespace(lock=threading.RLock(), spec=None)
        self.classes: dict[int, int] = {}
        self.sure = self.sparing = frozenset[int]()
        self.paused, self.refused, self.versions = False, (), (1, 1)
        self.routed = self.mended = self.filtered = 0
        self._wanted = wanted
        self.tunnels = SimpleNamespace(follow=self._mend, observe=lambda _wanted: {})
        up = frozenset(link.number for link in wanted.spec.links)
        self.routes = SimpleNamespace(established=lambda _wanted: up, alarms=lambda _wanted: ())

    def wanted(self) -> Wanted | None:
        return self._wanted

    def restore(self) -> bool:
        return True

    def apply(self) -> list[str]:
        return []

    def _mend(self, _wanted: Wanted) -> list[str]:
        self.mended += 1
        return []

    def route(self) -> list[str]:
        self.routed += 1
        return []

    def filter(self) -> list[str]:
        self.filtered += 1
        return []

    def public_keys(self) -> tuple[Any, ...]:
        return ()

    def leave(self) -> None:
        self.member = None  # type: ignore[assignment]


class Measuring:
    """Probes that are counted; the first link is sure until `doubt`."""

    def __init__(self) -> None:
        self.probed = 0
        self.doubt = False

    def follow(self, _wanted: Wanted) -> None:
        self.probed += 1

    def measured(self) -> dict[int, Any]:
        return {}

    def classes(self) -> dict[int, int]:
        return {1: 0 if self.doubt else 3}

    def sure(self) -> frozenset[int]:
        return frozenset() if self.doubt else frozenset({1})


class Part:
    """E.g. the watch over a line's volume."""

    looks = 0

    def follow(self, _wanted: Wanted) -> None:
        self.looks += 1

    def problems(self) -> tuple[str, ...]:
        return ()


def test_probes_and_filters_go_on_while_the_registry_accepts_and_never_answers(
    place: Home, registry: tuple[Listener, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, port = registry
    listener.silent = True
    monkeypatch.setattr("netd.following.TEND", 0.05)
    member = member_of(port)
    place.save(member, "credential-of-a-test", b"", b"")
    overlay, measuring, part = Overlay(place, member, make_wanted("abc", ["osaka"], {1: "osaka"})), Measuring(), Part()
    following = Following(overlay, measuring, (part,))  # type: ignore[arg-type]
    following.start()
    try:
        wait_until(lambda: listener.requests >= 2, 8)  # the poll and a report
        probed, looked = measuring.probed, part.looks
        measuring.doubt = True
        wait_until(lambda: not overlay.sure and overlay.classes == {1: 0}, 1)
        assert overlay.filtered, "a link that is in doubt is unbound at once"
        wait_until(lambda: measuring.probed > probed + 10 and part.looks > looked + 10, 3)
        assert overlay.mended
        written = told.read(place.path)
        assert written is not None
        assert (written.heard_at, listener.heard) == (0.0, []), "nothing was answered meanwhile"
    finally:
        (place.path / "membership.json").unlink()
        wait_until(lambda: overlay.member is None, 3)
