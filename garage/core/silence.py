"""Which nodes are silent. Two ways must both have failed: libvirt's keep-alive, as the node's worker found it, and netd's reports.

Ages are measured by a clock that nobody can set, from the moment when a report was *seen* to be new: no clock of another server, and no
wall clock that jumps, can make a node silent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

SILENT_AFTER = 11.0
"""Seconds without a new report: netd sends one about every five, so two have been missed. Together with the second between two looks and
the two between two tries of a worker, a node is known to be silent after 14."""
SHARE = 0.2
"""Of the nodes: when more are silent at once, the fault is ours."""


class Silence(StrEnum):
    """How much of a node does not answer."""

    NONE = ""
    HYPERVISOR = "hypervisor"
    """Only libvirt is away: machines run on, and nothing can be done with them."""
    NETD = "netd"
    """Only netd is: machines run on, and their network stays as it is."""
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Contact:
    """What is known of one node now."""

    name: str
    hypervisor_away: bool
    netd_age: float
    """Seconds since a new report of its netd was seen; since the first look where none has come."""
    expected: bool = True
    """False while it is in maintenance: it may be switched off, and says nothing of our own network."""


def silence(hypervisor_away: bool, netd_away: bool) -> Silence:
    if hypervisor_away and netd_away:
        return Silence.BOTH
    if hypervisor_away:
        return Silence.HYPERVISOR
    return Silence.NETD if netd_away else Silence.NONE


def silent(contacts: Iterable[Contact]) -> frozenset[str]:
    """The nodes that neither way reaches."""
    both = (c for c in contacts if silence(c.hypervisor_away, c.netd_age > SILENT_AFTER) is Silence.BOTH)
    return frozenset(contact.name for contact in both)


def ours(expected: int, silent: int) -> bool:
    """Whether so many silent ones among the `expected` nodes tell of us rather than of them: then nothing is moved or declared dead.

    More than a fifth, and more than one. A single silent node is never our fault: with two nodes it is half of them, and yet the other
    one, which answers, is the evidence that our side works; with one node there is nothing to move to, and that its machines cannot be
    reached is true whosever fault it is. From the second on a common cause on our side (a switch, a cable, this server) is likelier than
    two failures within seconds, below ten nodes; from there on the share decides: 2 of 10 are theirs, 3 of 10 ours.
    """
    return silent > 1 and silent > SHARE * expected


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from everybody's facts at one moment."""

    silent: frozenset[str]
    ours: bool

    def lost(self, node: str) -> bool:
        """Its machines cannot be reached, and that is not because of us."""
        return node in self.silent and not self.ours


def judge(contacts: Collection[Contact]) -> Verdict:
    """Nodes in maintenance count neither among the silent nor among all, but may well be silent."""
    found = silent(contacts)
    expected = [contact.name for contact in contacts if contact.expected]
    return Verdict(found, ours(len(expected), sum(name in found for name in expected)))


class Ages:
    """How long each node's report has been the same, by a clock that nobody sets. Used by one thread."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float | None, float]] = {}

    def look(self, reported_at: Mapping[str, float | None], now: float) -> dict[str, float]:
        """Name → seconds since its `reported_at`, whatever that says, was first seen; `now` is monotonic."""
        self._seen = {
            name: seen if (seen := self._seen.get(name)) is not None and seen[0] == at else (at, now)
            for name, at in reported_at.items()
        }
        return {name: now - since for name, (_, since) in self._seen.items()}
