"""What `netd join` waits for at its end, so that "joined" means that machines reach each other by name: a link, an answer, the name."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from netd.core.wanted import Wanted
from netd.overlay import Overlay
from netd.shell.path_mtu import Echoes

WITHIN = 20.0
"""Seconds in all; whatever is still missing then is said, and netd goes on trying."""
LOOK = 0.1
SIZE = 84
"""Bytes of an echo as a packet, ping(8)'s own."""
ASKED = 8
"""Sites that are asked for an answer, linked ones first."""
FAMILIES = {4: "IPv4", 6: "IPv6"}
T = TypeVar("T")


class Arrival:
    """One wait, from the moment at which the registry's answer was written down."""

    def __init__(self, overlay: Overlay, echoes: Echoes) -> None:
        self._overlay, self._echoes = overlay, echoes
        self._began = time.monotonic()
        self._heard: dict[str, set[int]] = {}
        """By site: the families over which it has answered."""

    def wait(self, *, reached: bool) -> None:
        """Tell when BGP over the first link stands and, if this site may be `reached`, when another one answers and names are known.

        The first member that joins is there before the registry's own site: its links come some seconds later.
        """
        if (up := self._until(self._links)) is None:
            _warn("no link is up yet; netd goes on trying (netd status)")
            return
        self._say(up)
        if not reached:
            return
        if (answer := self._until(self._answer)) is None:
            _warn(f"no other site answers over {self._missing()} yet (netd status)")
        else:
            self._say(answer)
        if self._until(self._named) is None:
            _warn("machines here do not have the site's name yet: is this garage's controller up? (garage status)")

    def _until(self, look: Callable[[], T | None]) -> T | None:
        """What `look` finds first, or None when the time is over."""
        while (found := look()) is None and time.monotonic() - self._began < WITHIN:
            time.sleep(LOOK)
        return found

    def _say(self, what: str) -> None:
        if what:
            print(f"{what} after {time.monotonic() - self._began:.1f} s", flush=True)

    def _links(self) -> str | None:
        wanted = self._wanted()
        up = self._overlay.routes.established(wanted) if wanted is not None else frozenset()
        return f"{len(up)} of {len(wanted.spec.links)} links up" if wanted is not None and up else None

    def _answer(self) -> str | None:
        """Over both families, since their routes come one after the other, here and there; "" where there is nobody to answer."""
        if (wanted := self._wanted()) is None:
            return None
        gateways = _gateways(wanted)
        sites = list(gateways)
        for tag in self._echoes.answered(forget=False):
            self._heard.setdefault(sites[tag // 10], set()).add(tag % 10)
        for place, site in enumerate(sites):
            for family in FAMILIES.keys() - self._heard.get(site, set()):
                self._echoes.send(place * 10 + family, gateways[site][family], SIZE)
        found = next((site for site in sites if self._heard.get(site) == FAMILIES.keys()), None)
        return f"site {found} answers over IPv4 and IPv6" if found else None if sites else ""

    def _missing(self) -> str:
        heard = set().union(*self._heard.values())
        return " and ".join(name for family, name in FAMILIES.items() if family not in heard) or "both families"

    def _named(self) -> str | None:
        """The controller has taken the name that the invitation gave, and this node its new spec."""
        wanted, own = self._wanted(), self._overlay.node.spec
        known = wanted is not None and own is not None and own.domain == f"{wanted.spec.site}.{wanted.table.domain}"
        return "" if known else None

    def _wanted(self) -> Wanted | None:
        """By the documents in force now: the daemon beside us takes newer ones."""
        self._overlay.restore()
        self._overlay.node.adopt()
        return self._overlay.wanted()


def _gateways(wanted: Wanted) -> Mapping[str, dict[int, str]]:
    """Of other sites, those with a link to here first: their gateway's addresses by family."""
    near = {link.peer_site for link in wanted.spec.links}
    others = [site for site in wanted.table.sites if site.site != wanted.spec.site]
    others.sort(key=lambda site: site.site not in near)
    return {site.site: {4: site.dns4, 6: site.dns6} for site in others[:ASKED]}


def _warn(what: str) -> None:
    print(what, file=sys.stderr)
