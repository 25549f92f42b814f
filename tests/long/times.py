"""How a long run's seconds are told."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence


def told(took: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """How many, median and longest, by what was waited for."""
    return {
        name: {"n": len(values), "median": round(statistics.median(values), 1), "most": round(max(values), 1)}
        for name, values in sorted(took.items())
    }
