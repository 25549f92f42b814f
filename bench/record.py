"""What a benchmark is and what it leaves: one JSON object per figure, in the schema of DESIGN."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure. `ratio` above 1 means that ours is better than `baseline`; both are None without one."""

    name: str
    value: float
    unit: str
    n: int
    note: str = ""
    baseline: str | None = None
    baseline_value: float | None = None
    ratio: float | None = None


Benchmark = Callable[[], Figure]
BENCHMARKS: dict[str, Benchmark] = {}


def benchmark(name: str) -> Callable[[Benchmark], Benchmark]:
    """Register a function under the name of its figure."""

    def register(function: Benchmark) -> Benchmark:
        BENCHMARKS[name] = function
        return function

    return register


def line(figure: Figure) -> str:
    """As one line of JSON, numbers rounded to four significant digits."""
    fields = asdict(figure)
    order = ("name", "value", "unit", "baseline", "baseline_value", "ratio", "n", "note")
    return json.dumps({key: _rounded(fields[key]) for key in order}, ensure_ascii=False)


def _rounded(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value
