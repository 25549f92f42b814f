"""Which fault comes next, drawn from a seed: the same seed and figures give the same faults. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

WEIGHTS = {"cut": 5, "lossy": 2, "netd": 3, "bgpd": 2, "wireguard-go": 3, "registry": 2, "rotate": 3, "leave": 2}
HELD = {"cut": (5.0, 30.0), "lossy": (5.0, 20.0), "registry": (5.0, 30.0), "leave": (3.0, 15.0)}
"""Seconds from the fault to its end, for those that have one."""
ROLES = ("netd", "bgpd", "wireguard-go")


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind`: cut or lossy (a line), netd, bgpd or wireguard-go (SIGKILL), registry (its web process is away), rotate, leave."""

    kind: str
    node: str
    seconds: float = 0.0
    pick: float = 0.0
    """0 to 1: which of several processes."""

    def __str__(self) -> str:
        what = {"cut": "cut the line of", "lossy": "30 % lost at", "registry": "no registry at", "leave": "leaves:"}
        held = f" for {self.seconds:.0f} s" if self.seconds else ""
        return f"{what.get(self.kind, 'new keys for' if self.kind == 'rotate' else f'kill {self.kind} at')} {self.node}{held}"


def draw(chance: Random, registry: str, others: Sequence[str]) -> Fault:
    """The next one. `others`: nodes besides the registry's."""
    kind = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    node = chance.choice([registry, *others] if kind not in ("leave", "rotate") else list(others))
    seconds = chance.uniform(*HELD[kind]) if kind in HELD else 0.0
    return Fault(kind, registry if kind == "registry" else node, seconds, chance.random())
