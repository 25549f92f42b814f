"""What people were told while things broke: every answer is a promise, and each is looked at again afterwards."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from garage.core.consistency import Kind, Row, Trouble
from garage.core.states import State


@dataclass(slots=True)
class Journal:
    """Kept by several threads. Names are never used twice."""

    made: dict[str, str] = field(default_factory=dict)
    """Machine id → name, of every creation that was acknowledged."""
    unsure: set[str] = field(default_factory=set)
    """Names whose creation was asked for and not answered: there is one such machine, or none."""
    deleted: set[str] = field(default_factory=set)
    """Ids whose deletion was acknowledged."""
    asked: set[str] = field(default_factory=set)
    """Ids whose deletion was asked for and not answered."""
    kept: set[str] = field(default_factory=set)
    """Ids that nobody at work touches."""
    wrong: list[Trouble] = field(default_factory=list)
    """What was seen to be wrong at once."""
    answers: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    """Error code → how often."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def refused(self, code: str) -> None:
        with self.lock:
            self.refusals[code] = self.refusals.get(code, 0) + 1

    def answered(self) -> None:
        with self.lock:
            self.answers += 1

    def alive(self) -> list[str]:
        """Ids that nobody has asked to delete, and that may be."""
        with self.lock:
            return sorted(self.made.keys() - self.deleted - self.asked - self.kept)


def broken_promises(journal: Journal, rows: Sequence[Row], audits: Mapping[str, Collection[str]]) -> list[Trouble]:
    """`rows`: of a garage at rest; `audits`: action → machine ids that the audit log has it of."""
    states = {row.id: row.state for row in rows}
    names = [row.name for row in rows if row.project is not None]
    lost = journal.made.keys() - states.keys()
    vanished = {key for key in journal.made.keys() - journal.deleted - journal.asked if states.get(key) is State.GONE}
    kept = {key for key in journal.deleted if states.get(key) not in (State.GONE, State.DELETING)}
    silent = journal.made.keys() - set(audits["machine.create"]) | journal.deleted - set(audits["machine.delete"])
    return [
        *journal.wrong,
        *(Trouble(Kind.PROMISE, key, "made, and not there") for key in sorted(lost | vanished)),
        *(Trouble(Kind.PROMISE, key, "deleted, and still there") for key in sorted(kept)),
        *(Trouble(Kind.NAME_TWICE, name) for name in sorted(journal.unsure) if names.count(name) > 1),
        *(Trouble(Kind.AUDIT_MISSING, key) for key in sorted(silent)),
    ]
