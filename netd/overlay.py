"""A node's part in the overlay: observe, plan, apply what its registry wants; the last good documents on disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Protocol, TypeVar

import msgspec

from netd.config import Config
from netd.core.floor import Floor
from netd.core.link_checks import check_asns, check_link_spec, check_table, without_closed, without_strangers
from netd.core.overlay import Overlay as View
from netd.core.overlay import make_overlay
from netd.core.wanted import Tunnel, Wanted
from netd.errors import NetdError
from netd.membership import Home, Membership, home
from netd.node import Node
from netd.shell import files, kernel, keys
from netd.shell.shaping import Tc
from netd.wire import LinkSpec, News, NodeSpec, PublicKey, SpecError, Table, decode, open_sealed
from netd.wire.envelope import Envelope

log = logging.getLogger(__name__)
UPLINK_FOR = 5.0
"""Seconds for which a look at the uplink is believed."""
Shape = TypeVar("Shape", bound=msgspec.Struct)


class Tunnels(Protocol):
    """WireGuard, or what takes its place; brought to what is wanted by changes that are values."""

    def plan(self, wanted: Wanted) -> list[str]: ...
    def follow(self, wanted: Wanted) -> list[str]: ...
    def stop(self, instance: str) -> None: ...
    def observe(self, wanted: Wanted) -> Mapping[int, Tunnel]: ...


class Routes(Protocol):
    """BGP and BFD over the tunnels."""

    def plan(self, wanted: Wanted) -> list[str]: ...
    def follow(self, wanted: Wanted) -> list[str]: ...
    def stop(self, instance: str) -> None: ...
    def established(self, wanted: Wanted) -> frozenset[int]: ...
    def alarms(self, wanted: Wanted) -> tuple[str, ...]: ...


class Overlay:
    """Holds the documents in force and makes tunnels, routes, filters and names follow them."""

    def __init__(self, config: Config, node: Node, tunnels: Tunnels, routes: Routes) -> None:
        self.config, self.node = config, node
        self.home: Home = home(config.state_dir)
        self.member: Membership | None = None
        self.spec: LinkSpec | None = None
        """Without links to nodes that only the registry calls this site's own."""
        self._signed: LinkSpec | None = None
        """As the registry signed it."""
        self.strangers: tuple[str, ...] = ()
        """What is to be said of those."""
        self.table: Table | None = None
        self.classes: dict[int, int] = {}
        self.mtus: dict[int, int] = {}
        self.sure: frozenset[int] = frozenset()
        """Links that neither end is in doubt of: their sites' packets come by no other."""
        self.sparing: frozenset[int] = frozenset()
        """See Wanted."""
        self.tunnels, self.routes = tunnels, routes
        self._viewed: tuple[LinkSpec | None, Table | None, View] = (None, None, View())
        self._near: tuple[float, tuple[str, ...]] = (-UPLINK_FOR, ())
        self._open: LinkSpec | None = None
        """The LinkSpec of the last view, without endpoints that are closed here."""
        node.overlay_of = self.view

    @property
    def versions(self) -> tuple[int, int]:
        """Of LinkSpec and Table in force; 0 without one."""
        return (self.spec.version if self.spec else 0, self.table.version if self.table else 0)

    def restore(self) -> bool:
        """Read the membership and the last good documents; False where there is none. Nothing is applied yet."""
        member = self.home.membership()
        if member != self.member:
            self._forget()
        self.member = member
        if member is None:
            return False
        try:
            spec, table = (files.read(path) for path in (self.home.spec, self.home.table))
            if spec and table:
                self.check(News(spec=spec.encode(), table=table.encode()))
        except SpecError as error:
            log.warning("the cached documents of the registry are not usable: %s", error.text)
        return True

    def take(self, news: News) -> list[str]:
        """Check, apply and remember; raises SpecError (refused, the last good ones stay) or NetdError (could not be applied)."""
        before = self.spec, self.table, self.strangers, self._signed
        self.check(news)
        try:
            changes = self.apply()
        except Exception:
            self.spec, self.table, self.strangers, self._signed = before
            raise
        for path, sealed in ((self.home.spec, news.spec), (self.home.table, news.table)):
            if sealed is not None:
                files.write(path, sealed.decode(), 0o600)
        return changes

    def check(self, news: News) -> None:
        """Make them the ones in force, nothing applied yet; both together, so that neither is without the other's agreement."""
        member, versions = self._membership(), self.versions
        spec, table = _opened(news.spec, member, LinkSpec), _opened(news.table, member, Table)
        if spec:
            ports, closed = range(member.port, member.port + member.ports), self._closed()
            check_link_spec(spec, site=member.site, node=member.node, in_force=versions[0], ports=ports, closed=closed)
        if table:
            domain = member.domain or (self.table or table).domain
            check_table(table, site=member.site, in_force=versions[1], domain=domain)
        if (newest := spec or self.spec) and (allotted := table or self.table):
            check_asns(newest, allotted)
        if spec:
            self._signed = spec
            self._admit(self.node.spec)
        self.table = table or self.table

    def _admit(self, own: NodeSpec | None) -> None:
        """Take of the registry's links to this very site's nodes those that this server's root or its controller has named."""
        if self._signed is None:
            return
        admitted = without_strangers(self._signed, {*self.config.peers, *(own.peers if own else ())})
        if (self.spec, self.strangers) != admitted:
            self.spec, self.strangers = admitted

    def _forget(self) -> None:
        self.spec = self.table = self._signed = None
        self.strangers = ()

    def _closed(self) -> dict[str, str]:
        """Networks into which no link's own addresses may be put: the floor's, those this server stands in, the site's own."""
        bridge = f"gb{self.config.instance}"
        found = dict.fromkeys(self.node.floor(bridge).networks, "closed on this server")
        found |= dict.fromkeys(self.node.connected(bridge), "this server's own network")
        if (spec := self.node.spec) is not None:
            found |= dict.fromkeys((spec.bridge.site_ipv4, spec.bridge.site_ipv6), "this site's own network")
        return found

    def _membership(self) -> Membership:
        if self.member is None:
            raise NetdError("registry", "this node has joined no overlay", hint="netd join URL")
        return self.member

    def view(self, own: NodeSpec, floor: Floor) -> View:
        """For the node's filters and names, and for routes, which take nothing that these leave out."""
        self._admit(own)
        if self.spec is None or self.table is None:
            return View()
        prefixes, made_of = (own.bridge.site_ipv4, own.bridge.site_ipv6), (self.spec, self.table)
        now = time.time()
        more = {"paused": self.paused, "now": now, "sure": self.sure}
        found = make_overlay(self.config.instance, *made_of, floor, prefixes, **more)  # type: ignore[arg-type]
        self._viewed = (*made_of, found)
        self._open = without_closed(self.spec, floor.networks, self._uplink(), self.node.office())
        return found

    def _uplink(self) -> tuple[str, ...]:
        """Networks of the device by which this server is in the internet, not older than `UPLINK_FOR`."""
        at, found = self._near
        if time.monotonic() - at > UPLINK_FOR:
            found = kernel.networks_of(kernel.default_device() or "")
            self._near = time.monotonic(), found
        return found

    def _seen(self, own: NodeSpec) -> View:
        """The last view, or a new one if the documents are others since."""
        spec, table, found = self._viewed
        if spec is self.spec and table is self.table:
            return found
        return self.view(own, self.node.floor(own.bridge.name))

    @property
    def refused(self) -> tuple[str, ...]:
        """What of the registry's documents is not let through here, and why."""
        return (*self.strangers, *(self._viewed[2].refused if self.table is not None else ()))

    @property
    def paused(self) -> bool:
        """By the operator, or since a line's volume is used up."""
        return self.home.paused.exists() or self.home.capped.exists()

    def wanted(self) -> Wanted | None:
        """None without documents, or without a network of the node's own."""
        if self.spec is None or self.table is None or self.node.spec is None:
            return None
        bridge, closed = self.node.spec.bridge, self._seen(self.node.spec).closed
        return Wanted(
            self.config.instance,
            self._open or self.spec,
            self.table,
            bridge.ipv4,
            bridge.ipv6,
            bridge.name,
            classes=dict(self.classes),
            closed=closed,
            sparing=self.sparing,
            mtus=dict(self.mtus),
        )

    def apply(self) -> list[str]:
        """Filters first, then tunnels: whoever sees a link may rely on its rules. Routes come after them, by `route`."""
        with self.node.lock:
            changes = self.filter()
            return changes + (self.tunnels.follow(wanted) if (wanted := self.wanted()) else [])

    def filter(self) -> list[str]:
        """Only the node's rules and names."""
        with self.node.lock:
            return [str(change) for change in self.node.reapply()]

    def route(self) -> list[str]:
        """Bring BGP to what is in force; it takes longer than all else, so neither news nor filters wait for it."""
        return self.routes.follow(wanted) if (wanted := self.wanted()) else []

    def plan(self, sealed: bytes | None = None) -> list[str]:
        """What applying the documents in force (`check` makes others so) and the node's own spec, or `sealed` in its place, would do."""
        changes = [str(change) for change in self.node.preview(sealed)]
        if (wanted := self.wanted()) is not None:
            for part in (self.tunnels, self.routes):
                changes += part.plan(wanted)
        return changes

    def public_keys(self) -> tuple[PublicKey, ...]:
        """Of the key pairs that links use and of the one that is wanted, which is made if it is missing."""
        if self.spec is None:
            return ()
        numbers = {self.spec.want_key, *(link.own_key for link in self.spec.links)}
        keys.forget(self.home.path, numbers)
        return tuple(PublicKey(number=n, key=keys.public(self.home.path, n)) for n in sorted(numbers))

    def leave(self) -> None:
        """Forget the membership (first: a daemon beside us then brings nothing back), end links and routes; machines stay."""
        with self.node.lock:
            self.home.forget()
            for part in (self.routes, self.tunnels):
                part.stop(self.config.instance)
            Tc(self.config.state_dir).stop()
            self.member = None
            self._forget()
            self.node.reapply()


def _opened(sealed: bytes | None, member: Membership, shape: type[Shape]) -> Shape | None:
    return open_sealed(sealed, member.key(), shape) if sealed is not None else None


def refused_version(sealed: bytes | None) -> int:
    """The version that a refused document claims, so that it is not asked for again at once; 0 when it cannot be read."""
    if sealed is None:
        return 0
    try:
        return decode(decode(sealed, Envelope).payload, Version).version
    except SpecError:
        return 0


class Version(msgspec.Struct):
    version: int = 0
