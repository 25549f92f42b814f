"""Where a link's peer is spoken to: the order of its endpoints, the next one when nobody answers, staying with what works. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace

PATIENCE = 15.0
"""Seconds without a handshake before the next candidate has its turn: three tries of WireGuard's (REKEY_TIMEOUT is 5 s)."""
FIRST_PATIENCE = 6.0
"""The same for a link that never had one: one try each, so that a join does not wait for an address that leads nowhere. A hole that was
opened in a NAT outlasts the round (RFC 4787, REQ-5: two minutes)."""
FRESH = 180.0
"""Seconds for which a handshake counts: WireGuard's REJECT_AFTER_TIME. A session older than that carries nothing."""
SILENT = 30.0
"""Seconds without a received byte after which a session is dead in spite of its handshake: a keepalive (25 s) is lost, and all of BFD's
packets."""
PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
"""RFC 1918, RFC 6598, RFC 4193: what says nothing outside of its own network."""
MOST = 8
"""Candidates; as many as a LinkSpec may name."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What WireGuard shows of the peer: where its last good packet came from; when the last handshake was; when its counter of received
    bytes last grew (None: not observed). Seconds on the clock of `now`."""

    endpoint: str | None = None
    handshake: float | None = None
    heard: float | None = None
    gone: bool = False
    """This node has lost the address family of `endpoint`: nothing more will come from there."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A link's state between two looks."""

    candidates: tuple[str, ...] = ()
    current: str | None = None
    """What this side has set, or what WireGuard found by itself (roaming); None: the peer has to begin."""
    since: float = 0.0
    """When `current` got its turn."""


def order(
    endpoints: Iterable[str], outside: Iterable[str] = (), *, own6: bool = True, own4: bool = True
) -> tuple[str, ...]:
    """Candidates, best first, without doubles or unusable ones, `MOST` at most.

    `endpoints`: what the peer says of itself; `outside`: what hubs see of it, for holes in NATs (ADDRESS:PORT, [ADDRESS]:PORT). IPv6
    before IPv4 (no NAT in between, and MAP-E and DS-Lite lines have it natively); what the peer says before what others see, since
    that may be another link's hole; private addresses last: they work in one LAN. `own6`, `own4`: this node has that family.
    """
    ranked: dict[str, tuple[int, int, int, str]] = {}
    for source, group in enumerate((endpoints, outside)):
        for place, text in enumerate(group):
            key = _rank(text, source, place)
            if key is not None and (own6 if text.startswith("[") else own4):
                ranked[text] = min(key, ranked.get(text, key))
    return tuple(sorted(ranked, key=lambda text: ranked[text]))[:MOST]


def _rank(text: str, source: int, place: int) -> tuple[int, int, int, str] | None:
    """Order of an endpoint; None for one that no peer can have."""
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    unusable = address.is_multicast or address.is_unspecified or address.is_loopback or address.is_link_local
    if unusable or not port.isdecimal() or not 0 < int(port) < 65_536:
        return None
    private = any(address.version == net.version and address in net for net in PRIVATE)
    return 2 * private + (address.version == 4), source, place, text


def look(trial: Trial, candidates: tuple[str, ...], seen: Seen, now: float) -> Trial:
    """The state after a look at the link; where `current` differs from `seen.endpoint`, it is to be set.

    A fresh handshake: the link works, and stays where WireGuard has it, wherever the peer moved to. None for `PATIENCE` (at first
    `FIRST_PATIENCE`) seconds: the next candidate in turn. New candidates (a hub saw the peer elsewhere) get their turn at once, if
    nothing works.
    """
    if _fresh(seen, now):
        return Trial(candidates, seen.endpoint or trial.current, now)
    if not candidates:
        return Trial((), seen.endpoint or trial.current, trial.since)
    if trial.current is None or _better_news(trial, candidates):
        return Trial(candidates, _first_new(trial, candidates), now)
    patience = FIRST_PATIENCE if seen.handshake is None else PATIENCE
    if (trial.current not in candidates and seen.gone) or now - trial.since >= patience or now < trial.since:
        return Trial(candidates, _next(candidates, trial.current), now)
    return replace(trial, candidates=candidates)


def _fresh(seen: Seen, now: float) -> bool:
    if seen.gone or seen.handshake is None or not 0 <= now - seen.handshake < FRESH:
        return False
    return seen.heard is None or now - max(seen.heard, seen.handshake) < SILENT


def _better_news(trial: Trial, candidates: tuple[str, ...]) -> bool:
    """There is a candidate that was not known before."""
    return not set(candidates) <= set(trial.candidates)


def _first_new(trial: Trial, candidates: tuple[str, ...]) -> str:
    return next((text for text in candidates if text not in trial.candidates), candidates[0])


def _next(candidates: tuple[str, ...], current: str) -> str:
    """The one after `current`, going round; the best when it is none of them."""
    if current not in candidates:
        return candidates[0]
    return candidates[(candidates.index(current) + 1) % len(candidates)]
