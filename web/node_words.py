"""How the nodes page tells of servers on their way: steps as words, findings and errors in the reader's language."""

from __future__ import annotations

from dataclasses import dataclass

from garage.errors import N_, GarageError
from garage.services.adding import TaskView
from web.i18n import Told, told

STEPS: dict[str, str] = {
    "": N_("waiting for a worker"),
    "connect": N_("connecting"),
    "check": N_("checking the server"),
    "copy": N_("copying netd"),
    "packages": N_("installing packages"),
    "certificate": N_("certificates"),
    "register": N_("registering"),
    "netd": N_("starting netd"),
    "report": N_("waiting for its report"),
}


@dataclass(frozen=True, slots=True)
class Coming:
    """A server on its way, as the page tells it."""

    task: TaskView
    step: str
    busy: bool
    faults: list[tuple[str, Told]]
    """(level, what is wrong and what mends it)."""
    error: Told | None


def coming(tasks: list[TaskView]) -> list[Coming]:
    """Those that are not done, and those that left something undone."""
    return [_coming(task) for task in tasks if task.state != "done" or task.said]


def _coming(task: TaskView) -> Coming:
    faults = [
        (one["level"], told(GarageError("unfit_node", one["text"], hint=one["hint"], **one["params"])))
        for one in task.findings
    ]
    error = told(GarageError.from_dict(task.error)) if task.error else None
    return Coming(task, STEPS.get(task.step, ""), task.state in ("waiting", "running"), faults, error)
