"""Leases: warned before the end, stopped at the end, deleted after a grace period. Each once, whatever the clock does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Lease:
    """A machine's lease. Seconds since 1970."""

    until: float
    warned: bool
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class LeaseRules:
    """Seconds before the end, and after it."""

    warn: float
    grace: float


class Step(StrEnum):
    WARN = "warn"
    END = "end"
    DELETE = "delete"


def step(lease: Lease, now: float, rules: LeaseRules) -> Step | None:
    """What is due at `now`.

    Only flags decide what was done, so a clock that is set back repeats nothing. A lease that ended stays ended until it is
    renewed, and the grace counts from the later of its end and the moment the end was noticed: never early.
    """
    if lease.ended_at is not None:
        return Step.DELETE if now >= max(lease.until, lease.ended_at) + rules.grace else None
    if now >= lease.until:
        return Step.END
    return Step.WARN if not lease.warned and now >= lease.until - rules.warn else None
