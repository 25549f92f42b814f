"""A progress bar for a machine: it moves with time against what machines took lately, and is full only when this one is there."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from garage.client.words import state_word

ALMOST = 95.0
"""Per cent at which a bar waits for the truth."""


class Moving(Progress):
    """`expected` is in seconds."""

    def __init__(self, expected: float, console: Console) -> None:
        self._expected, self._there = max(expected, 0.1), False
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        super().__init__(*columns, console=console)
        self._machine = self.add_task("", total=100)

    def show(self, state: str, step: str) -> None:
        self._there = state in ("ready", "stopped", "gone")
        self.update(self._machine, description=state_word(state, step), completed=100 if self._there else None)

    def get_renderables(self) -> Iterable[RenderableType]:
        for task in self.tasks:
            if not self._there:
                task.completed = min(ALMOST, 100 * (task.elapsed or 0.0) / self._expected)
        yield from super().get_renderables()
