"""Sets of networks and links: of one type for good, their elements brought anew with each ruleset. (Sets of machines: nft_text.SETS.)"""

from __future__ import annotations

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

    def flushed(self, table: str) -> str:
        return f"flush set inet {table} {self.name}\n"

    def filled(self, table: str) -> str:
        return f"add element inet {table} {self.name} {{ {', '.join(self.elements)} }}\n" if self.elements else ""
