"""Sets of networks and links: there for good, only their elements change. (Sets of machines: nft_text.SETS.)

A set that is flushed and filled with the same elements in one transaction matches none of them for a moment, on kernels before 6.17, so
that a packet would get past the floor. What stays is left alone, therefore, wherever it is known.
"""

from __future__ import annotations

from collections.abc import Set
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
        old, here = before or frozenset(), frozenset(self.elements)
        return gone + self._command("delete", table, old - here) + self._command("add", table, here - old)

    def _command(self, verb: str, table: str, elements: Set[str]) -> str:
        text = ", ".join(sorted(elements))
        return f"{verb} element inet {table} {self.name} {{ {text} }}\n" if text else ""
