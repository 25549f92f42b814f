"""Watching how large packets each link's way carries, and giving its interface that MTU; the TCP clamp follows it (rt mtu)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from netd.core import path_mtu
from netd.core.path_mtu import Path
from netd.core.volume import OVERHEAD
from netd.core.wanted import Tunnel, Wanted
from netd.overlay import Overlay
from netd.shell import path_mtu as shell
from netd.wire import Link

log = logging.getLogger(__name__)
LOOK_EVERY = 5.0
"""Seconds between looks at where the peers are."""
TURN = 0.9
"""Seconds for which answers are waited for."""
AT_ONCE = 16
"""Searches side by side: each may send some KB a second."""


class Echoing(Protocol):
    """Sends packets of a size and says which came back; netd.shell.path_mtu.Echoes is the real one."""

    def send(self, tag: int, address: str, size: int) -> None: ...
    def answered(self) -> Mapping[int, set[int]]: ...


class PathMtu:
    """One per daemon; `netd.following.Part`."""

    def __init__(
        self,
        overlay: Overlay,
        echoes: Echoing | None = None,
        route_mtu: Callable[[str], int | None] = shell.route_mtu,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._overlay, self._echoes = overlay, echoes or shell.Echoes()
        self._route_mtu, self._clock = route_mtu, clock
        self._paths: dict[int, Path] = {}
        self._present: dict[int, int] = {}
        """Link number → MTU of its interface."""
        self._hosts: dict[int, str | None] = {}
        """Link number → where its peer is."""
        self._asked: set[int] = set()
        """Links whose answers are waited for."""
        self._looked = self._sent = -LOOK_EVERY

    def follow(self, wanted: Wanted) -> None:
        now = self._clock()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._look(wanted)
        if now - self._sent >= TURN:
            self._take(now)
            self._begin(now)
            self._ask(wanted)
            self._sent = now
        self._overlay.mtus = {number: path.mtu for number, path in self._paths.items() if path.mtu is not None}

    def problems(self) -> tuple[str, ...]:
        return ()

    def _look(self, wanted: Wanted) -> None:
        """At where each peer is now; a way begins with its first handshake."""
        seen = self._overlay.tunnels.observe(wanted)
        self._present = {number: tunnel.mtu for number, tunnel in seen.items()}
        self._hosts = {link.number: _host(seen.get(link.number)) for link in wanted.spec.links}
        self._paths = {number: path for number, path in self._paths.items() if number in self._hosts}

    def _begin(self, now: float) -> None:
        """Some of the searches that are due: each asks the kernel for its route first."""
        for number in [number for number in self._hosts if self._due(number, now)][:AT_ONCE]:
            path, host = self._paths.get(number), self._hosts[number]
            if host and (path is None or path.host != host):
                like = [other.mtu for other in self._paths.values() if other.host == host and other.mtu]
                self._paths[number] = path_mtu.begin(host, self._route_mtu(host), min(like, default=None))
            elif path is not None:
                self._paths[number] = path_mtu.again(path, self._route_mtu(path.host), now)

    def _due(self, number: int, now: float) -> bool:
        path, host = self._paths.get(number), self._hosts[number]
        if path is None or (host and path.host != host):
            return host is not None
        return path_mtu.due(path, now)

    def _take(self, now: float) -> None:
        answered = self._echoes.answered()
        for number in self._asked & set(self._paths):
            before, came = self._paths[number], answered.get(number, set())
            known = self._route_mtu(before.host) if path_mtu.ends(before, came) else None
            after = path_mtu.turn(before, came, self._present.get(number, path_mtu.MOST), known, now)
            if after.mtu != before.mtu:
                log.info("link %s: packets of %s bytes pass to %s", number, after.mtu, after.host)
            self._paths[number] = after
        self._asked.clear()

    def _ask(self, wanted: Wanted) -> None:
        searching = [link for link in wanted.spec.links if self._searches(link)]
        for link in searching[:AT_ONCE]:
            path = self._paths[link.number]
            for size in path.search.asked:
                if path.stage == "outside":
                    self._echoes.send(link.number, path.host, size + OVERHEAD[path.version])
                else:
                    self._echoes.send(link.number, link.peer_ipv4, size)
            self._asked.add(link.number)

    def _searches(self, link: Link) -> bool:
        path = self._paths.get(link.number)
        return path is not None and path.stage != "rest" and bool(path.search.asked)


def _host(tunnel: Tunnel | None) -> str | None:
    """Where the peer is spoken to, once it has answered."""
    if tunnel is None or tunnel.seen_at is None or tunnel.handshake_age is None:
        return None
    return tunnel.seen_at.rpartition(":")[0].strip("[]")
