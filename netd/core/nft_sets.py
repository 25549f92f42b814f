"""Sets of networks and links: there for good, only their elements change. (Sets of machines: nft_text.SETS.)

A set that is flushed and filled with the same elements in one transaction matches none of them for a moment, on kernels before 6.17, so
that a packet would get past the floor. What stays is left alone, therefore, wherever it is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FixedSet:
    """One of the inet table. `kind` as nft declares it, "type ipv4_addr; flags interval;"."""

    name: str
    kind: str
    elements: tuple[str, ...] = ()

    @property
    def declared(self) -> str:
        """Without elements: what is there stays."""
        return f"  set {self.name} {{ {self.kind} }}\n"

    def changed(self, table: str, before: frozenset[str] | None) -> str:
        """From `before`, None where that is not known."""
        gone = f"flush set inet {table} {self.name}\n" if before is None else ""
        old, here, place = before or frozenset(), frozenset(self.elements), f"inet {table} {self.name}"
        return gone + command("delete", place, sorted(old - here)) + command("add", place, sorted(here - old))


def command(verb: str, place: str, elements: Sequence[str]) -> str:
    """A line that adds elements or deletes them; `place`: FAMILY TABLE SET. Empty without elements."""
    return f"{verb} element {place} {{ {', '.join(elements)} }}\n" if elements else ""
