"""core.leases: each step once, whatever the clock does."""

from __future__ import annotations

import pytest

from garage.core.leases import Lease, LeaseRules, Step, step

RULES = LeaseRules(warn=24.0, grace=72.0)
FRESH, WARNED = Lease(100.0, False, None), Lease(100.0, True, None)


@pytest.mark.parametrize(
    ("lease", "now", "expected"),
    [
        (FRESH, 75.9, None),
        (FRESH, 76.0, Step.WARN),
        (WARNED, 99.9, None),
        (WARNED, 100.0, Step.END),
        (FRESH, 500.0, Step.END),  # the worker was away: end first, the grace counts from now
        (Lease(100.0, True, 500.0), 500.0, None),
        (Lease(100.0, True, 500.0), 571.9, None),
        (Lease(100.0, True, 500.0), 572.0, Step.DELETE),
        (Lease(100.0, True, 100.0), 50.0, None),  # the clock was set back: ended stays ended, nothing is early
        (WARNED, 10.0, None),  # and nobody is warned twice
        (Lease(1000.0, True, 100.0), 172.0, None),  # ended by a clock that ran ahead: grace counts from the later
        (Lease(1000.0, True, 100.0), 1072.0, Step.DELETE),
    ],
)
def test_step(lease: Lease, now: float, expected: Step | None) -> None:
    assert step(lease, now, RULES) is expected
